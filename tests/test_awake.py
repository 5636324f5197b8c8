"""Cores are kept awake where it helps, by threads in nobody's way, and only for so long."""

import contextlib
import os
import resource
import sys
import time
from pathlib import Path

import pytest

from jaxgan import awake

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's SCHED_IDLE")
several = pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2, reason="needs two cores"
)


def idle_threads():
    """(cores, state) of this process's threads of the lowest priority; state R: they spin."""
    found = []
    for thread in map(int, os.listdir("/proc/self/task")):
        with contextlib.suppress(OSError):  # it has just ended
            if os.sched_getscheduler(thread) == os.SCHED_IDLE:
                state = Path(f"/proc/self/task/{thread}/stat").read_text().rsplit(")")[1].split()[0]
                found.append((sorted(os.sched_getaffinity(thread)), state))
    return sorted(found)


def eventually(condition):
    for _ in range(500):
        if condition():
            return True
        time.sleep(0.01)
    return False


@several
def test_one_thread_of_the_lowest_priority_on_each_core_until_the_end():
    mine = sorted(os.sched_getaffinity(0))
    with contextlib.suppress(KeyError), awake.cores("on", "cpu") as kept:
        assert kept == len(mine)
        assert eventually(lambda: idle_threads() == [([core], "R") for core in mine])
        raise KeyError  # whatever ends a run
    assert eventually(lambda: idle_threads() == [])
    assert os.sched_getscheduler(0) != os.SCHED_IDLE
    assert sorted(os.sched_getaffinity(0)) == mine


@pytest.mark.parametrize(
    ("mode", "platform", "virtual", "quota", "cores", "wanted"),
    [
        ("off", "cpu", True, False, 2, False),
        ("on", "gpu", True, False, 2, False),
        ("on", "cpu", True, False, 1, False),
        ("auto", "cpu", False, False, 2, False),
        ("auto", "cpu", True, True, 2, False),
        ("auto", "cpu", True, False, 2, True),
        ("on", "cpu", False, True, 2, True),
    ],
)
@several
def test_where_it_is_wanted(mode, platform, virtual, quota, cores, wanted, monkeypatch):
    mine = sorted(os.sched_getaffinity(0))[:cores]
    monkeypatch.setattr(awake, "in_virtual_machine", lambda: virtual)
    monkeypatch.setattr(awake, "has_quota", lambda: quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(mine))
    with awake.cores(mode, platform) as kept:
        assert kept == (len(mine) if wanted else 0)


@several
def test_what_the_system_refuses_is_done_without(monkeypatch):
    assert awake._spin(10_000) is None  # no such core
    assert eventually(lambda: idle_threads() == [])
    spin = awake._spin
    monkeypatch.setattr(awake, "_spin", lambda core: None if core else spin(core))
    with awake.cores("on", "cpu") as kept:
        assert kept == (min(os.sched_getaffinity(0)) == 0)


@several
def test_a_run_of_the_lowest_priority_is_left_alone(monkeypatch):
    monkeypatch.setattr(os, "sched_getscheduler", lambda _: os.SCHED_IDLE)
    with awake.cores("on", "cpu") as kept:
        assert kept == 0


@linux
def test_nothing_happens_on_other_systems(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with awake.cores("on", "cpu") as kept:
        assert kept == 0


def test_virtual_machines_are_told_by_their_processor(tmp_path):
    for flags, virtual in [("fpu hypervisor lahf_lm", True), ("fpu nohypervisor", False)]:
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
        assert awake.in_virtual_machine(tmp_path / "cpuinfo") == virtual
    assert not awake.in_virtual_machine(tmp_path / "absent")


@pytest.mark.parametrize(
    ("groups", "limits", "limited"),
    [
        ("0::/", {}, False),
        ("0::/", {"cpu.max": "max 100000"}, False),
        ("0::/", {"cpu.max": "150000 100000"}, True),
        ("0::/user/shell", {"user/cpu.max": "150000 100000"}, True),
        ("0::/user/shell", {"other/cpu.max": "150000 100000"}, False),
        ("3:cpu,cpuacct:/box\n2:memory:/", {"cpu/box/cpu.cfs_quota_us": "50000"}, True),
        ("3:cpu,cpuacct:/box\n2:memory:/", {"cpu/box/cpu.cfs_quota_us": "-1"}, False),
        ("2:memory:/box", {"cpu/box/cpu.cfs_quota_us": "50000"}, False),
    ],
)
def test_limits_on_time_are_seen(groups, limits, limited, tmp_path):
    (tmp_path / "groups").write_text(f"{groups}\n")
    for name, text in limits.items():
        file = tmp_path / "tree" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    assert awake.has_quota(tmp_path / "tree", tmp_path / "groups") == limited


def test_a_limit_of_the_shell_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (3600, 7200))
    assert awake.has_quota(tmp_path, tmp_path / "absent")


def test_no_control_groups_no_limit(tmp_path):
    assert not awake.has_quota(tmp_path, tmp_path / "absent")
