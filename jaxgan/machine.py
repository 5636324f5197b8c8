"""What must be settled before JAX touches a device: precision, determinism, compilation cache, the
other processes; and that touch."""

import os
import platform
from pathlib import Path

import jax

from jaxgan import processes
from jaxgan.errors import UserError


def prepare(precision: str, deterministic: bool, distributed: bool = False) -> None:
    """Sets JAX up for a run.

    Args:
      precision: float64 switches 64-bit types on; any other leaves them off.
      deterministic: on a GPU, only kernels that give the same bits every time. It works only
        before the first use of a device.
      distributed: join the other processes of the run.

    Raises:
      UserError: there is no device of the kind that is asked for, or no other process.
    """
    jax.config.update("jax_enable_x64", precision == "float64")
    if deterministic and "xla_gpu_deterministic_ops" not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = (
            os.environ.get("XLA_FLAGS", "") + " --xla_gpu_deterministic_ops=true"
        ).strip()
    if not jax.config.jax_compilation_cache_dir and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    if distributed:
        processes.start()
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # JAX asserts that some platform was found
        reason = " ".join(str(error).partition(" (set JAX_PLATFORMS")[0].split())
        reason = f" ({reason[:200]})" if reason else ""
        asked = os.environ.get("JAX_PLATFORMS")
        what = f"the devices of JAX_PLATFORMS={asked}" if asked else "this machine's devices"
        raise UserError(
            f"JAX can't use {what}{reason}; what it needs for them comes with pip install "
            '-c constraints.txt -e ".[cuda12]" (or cuda13, or tpu), and JAX_PLATFORMS=cpu does '
            "without them"
        ) from None


def cache_folder() -> Path:
    """Where compiled programs are kept between runs: the user's cache folder."""
    if platform.system() == "Darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "jaxgan" / "compiled"
