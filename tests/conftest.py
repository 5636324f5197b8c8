"""What every test shares: eight virtual CPU devices, one compilation cache, and how to compile."""

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


def pytest_configure(config):
    """The quick tests compile without XLA's optimisations, which is most of what they'd take.

    What they promise holds for any program; the slow ones, `-m slow`, run what users run. Read by
    XLA when it compiles first, by processes that tests start, too.
    """
    if config.option.markexpr == "not slow":
        quickly = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
        if quickly not in os.environ["XLA_FLAGS"]:
            os.environ["XLA_FLAGS"] += f" {quickly}"


@pytest.fixture
def x64():
    """float64 arithmetic for the length of one test."""
    with jax.enable_x64(True):
        yield
