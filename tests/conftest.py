"""What every test shares: four virtual CPU devices and one compilation cache."""

import os
import tempfile
from pathlib import Path

# Before jax starts. Promises about several devices are tested on virtual ones.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

CACHE = Path(tempfile.gettempdir()) / f"jaxgan-test-cache-{os.getuid()}"
jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


@pytest.fixture
def x64():
    """float64 arithmetic for the length of one test."""
    with jax.enable_x64(True):
        yield
