"""Cores that don't fall asleep between the operations of a step.

A step on a CPU is thousands of short operations, divided between the cores anew each time. A core
that waits a moment for its next share is put to sleep by the system, and waking it can take longer
than the share itself, most of all in a virtual machine, where the host has to be asked. So, as
OpenMP does for PyTorch, idle cores spin: one thread on each, of the lowest priority (SCHED_IDLE),
which this program's other threads push aside at once. No result depends on it.
"""

import contextlib
import ctypes
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def cores(mode: str, platform: str) -> Iterator[int]:
    """Keeps the cores awake that this process may use.

    Args:
      mode: "on"; "off"; or "auto": in a virtual machine, unless the system limits this process's
        time on its cores, which spinning would use up.
      platform: of JAX's devices; for any but "cpu" no core is kept awake.

    Yields:
      How many cores are kept awake; 0 where it isn't wanted, one core has nothing to wait for, or
      the system doesn't let this process (only Linux has SCHED_IDLE).
    """
    spinning = []
    try:
        for core in _chosen(mode, platform):
            spinner = _spin(core)
            if spinner is None:
                break
            spinning.append(spinner)
        yield len(spinning)
    finally:
        _end(spinning)


def _chosen(mode: str, platform: str) -> list[int]:
    wanted = mode == "on" or (mode == "auto" and in_virtual_machine() and not has_quota())
    if platform != "cpu" or not wanted or sys.platform != "linux":
        return []
    mine = sorted(os.sched_getaffinity(0))
    # A run of the lowest priority itself would have its spinners for equals.
    return [] if len(mine) < 2 or os.sched_getscheduler(0) == os.SCHED_IDLE else mine


# The threads run nothing but the C library's `pthread_spin_lock`, which waits with the processor's
# own pause: a Python thread of this priority would sooner or later wait while it holds the GIL.


def _spin(core: int) -> tuple[ctypes.c_ulong, ctypes.c_int] | None:
    """A thread that spins on a core, and the lock that it waits for; None where that is refused."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "pthread_spin_lock"):
        return None
    thread, lock = ctypes.c_ulong(), ctypes.c_int()
    libc.pthread_spin_init(ctypes.byref(lock), 0)
    libc.pthread_spin_lock(ctypes.byref(lock))
    start = ctypes.cast(libc.pthread_spin_lock, ctypes.c_void_p)
    if libc.pthread_create(ctypes.byref(thread), None, start, ctypes.byref(lock)):
        return None
    words = (ctypes.c_ulong * (core // 64 + 1))()
    words[core // 64] = 1 << core % 64
    refused = libc.pthread_setaffinity_np(
        thread, ctypes.c_size_t(ctypes.sizeof(words)), ctypes.byref(words)
    ) or libc.pthread_setschedparam(thread, os.SCHED_IDLE, ctypes.byref(ctypes.c_int(0)))
    if refused:
        _end([(thread, lock)])
        return None
    return thread, lock


def _end(spinning: list[tuple[ctypes.c_ulong, ctypes.c_int]]) -> None:
    libc = ctypes.CDLL(None)
    for thread, lock in spinning:
        libc.pthread_spin_unlock(ctypes.byref(lock))
        # On a core that others use it would hardly ever come to see that. Where this is refused
        # (it takes a privilege), it is waited for as it is.
        libc.pthread_setschedparam(thread, os.SCHED_OTHER, ctypes.byref(ctypes.c_int(0)))
    for thread, _ in spinning:
        libc.pthread_join(thread, None)


def in_virtual_machine(cpuinfo: str | os.PathLike = "/proc/cpuinfo") -> bool:
    """Whether the processor says that a hypervisor runs below this system (x86 only)."""
    with contextlib.suppress(OSError), open(cpuinfo) as file:
        for line in file:
            if line.startswith("flags"):
                return "hypervisor" in line.split()
    return False


def has_quota(
    root: str | os.PathLike = "/sys/fs/cgroup", groups: str | os.PathLike = "/proc/self/cgroup"
) -> bool:
    """Whether this process, or a control group above it, has a limit on its time on the cores."""
    if resource.getrlimit(resource.RLIMIT_CPU)[0] != resource.RLIM_INFINITY:
        return True
    try:
        lines = Path(groups).read_text().splitlines()
    except OSError:
        return False
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        group = Path(root, *(["cpu"] if controllers else []), path.lstrip("/"))
        for folder in (group, *group.parents):
            if not folder.is_relative_to(root):
                break
            for name in ("cpu.max", "cpu.cfs_quota_us"):
                with contextlib.suppress(OSError):
                    if (folder / name).read_text().split()[0] not in ("max", "-1"):
                        return True
    return False
