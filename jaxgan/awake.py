"""Cores that don't fall asleep between the operations of a step.

A step on a CPU is thousands of short operations, divided between the cores anew each time. A core
that waits a moment for its next share is put to sleep by the system, and waking it can take longer
than the share itself, most of all in a virtual machine, where the host has to be asked. So, as
OpenMP does for PyTorch, idle cores spin: one thread for each, of the lowest priority (SCHED_IDLE),
which any other thread of this or another program pushes aside at once. No result depends on it.
"""

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def cores(mode: str, platform: str) -> Iterator[int]:
    """Keeps the cores awake that this process may use.

    Args:
      mode: "on"; "off"; or "auto": in a virtual machine, unless the system limits this process to
        a share of its cores' time, which spinning would use up.
      platform: of JAX's devices; for any but "cpu" no core is kept awake.

    Yields:
      How many cores are kept awake; 0 where it isn't wanted, one core has nothing to wait for, or
      the system has no SCHED_IDLE (any but Linux).
    """
    able = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "pthread_spin_lock")
    mine = sorted(os.sched_getaffinity(0)) if able else []
    wanted = mode == "on" or (mode == "auto" and in_virtual_machine() and not has_quota())
    if platform != "cpu" or not wanted or len(mine) < 2:
        yield 0
        return
    libc, lock = ctypes.CDLL(None), ctypes.c_int()
    address = ctypes.byref(lock)

    def spin(core: int) -> None:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))  # 0: this thread
        os.sched_setaffinity(0, {core})
        libc.pthread_spin_lock(address)  # waits with the processor's own pause, without the GIL
        libc.pthread_spin_unlock(address)

    libc.pthread_spin_init(address, 0)
    libc.pthread_spin_lock(address)
    threads = [
        threading.Thread(target=spin, args=(core,), name=f"awake-{core}", daemon=True)
        for core in mine
    ]
    for thread in threads:
        thread.start()
    try:
        yield len(threads)
    finally:
        libc.pthread_spin_unlock(address)
        for thread in threads:
            thread.join(0.1)  # on a machine under load they may still wait for their turn to end


def in_virtual_machine(cpuinfo: str = "/proc/cpuinfo") -> bool:
    """Whether the processor says that a hypervisor runs below this system (x86 only)."""
    with contextlib.suppress(OSError), open(cpuinfo) as file:
        for line in file:
            if line.startswith("flags"):
                return "hypervisor" in line.split()
    return False


def has_quota(root: str = "/sys/fs/cgroup", groups: str = "/proc/self/cgroup") -> bool:
    """Whether a control group of this process, or one above it, limits its time on the cores."""
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
                    limit = (folder / name).read_text().split()[0]
                    if limit not in ("max", "-1"):
                        return True
    return False
