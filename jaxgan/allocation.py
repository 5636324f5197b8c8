"""Memory that a step gives back is kept for the next one.

On a CPU, XLA asks the C library for a step's whole working memory, and gives it back at its end.
glibc returns blocks of that size to the system, so that every step begins with pages that the
system has to find and to clear, which can take a tenth of it. No result depends on it.
"""

import ctypes
import importlib.util
import os
import sys

# From glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def keep() -> bool:
    """From now on this process keeps the memory that it frees, up to the most that it ever used.

    To be called before JAX touches a device, since its threads keep the heaps that they begin with.

    Returns:
      Whether it does: only where the C library is glibc, and JAX has nothing but CPUs.
    """
    if sys.platform != "linux" or not _only_cpus():
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    # Blocks of any size come from one heap, which doesn't shrink. (A thread's own heaps would be
    # too small for them, and fall back on the system.)
    settings = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1))
    return all(libc.mallopt(name, value) for name, value in settings)


def _only_cpus() -> bool:
    asked = os.environ.get("JAX_PLATFORMS")
    if asked:
        return asked == "cpu"
    return not any(map(importlib.util.find_spec, ("jax_plugins", "libtpu")))
