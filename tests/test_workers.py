"""Jobs at once: cores, claims, retries, kills."""

import fcntl
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from jaxgan import workers
from jaxgan.errors import UserError
from jaxgan.interrupts import Interrupts

CORES = workers.cores_here()


def job(tmp_path, name, code, over=None, busy=lambda: False, failures=None):
    """A job of a Python program, over when it has made the file of its name."""
    done = tmp_path / f"{name}.done"
    program = f"from pathlib import Path\nhere = Path({str(tmp_path)!r})\n" + textwrap.dedent(code)
    return workers.Job(
        title=name,
        command=[sys.executable, "-c", program],
        log=tmp_path / f"{name}.log",
        claim=tmp_path / "claims" / name,
        over=over or done.exists,
        busy=busy,
        done=lambda: None,
        failed=lambda words: failures.append(words),
    )


def make(name):
    return f"(here / '{name}.done').touch()"


def work(jobs, on=None):
    said = []
    with Interrupts() as interrupts:
        interrupts.hold()
        ended = workers.work(jobs, on or [CORES[:1]], interrupts, said.append)
    return ended, said


def test_cores_are_dealt_out():
    if len(CORES) > 1:
        first, second = workers.slots(2, 1)
        assert first != second
    assert workers.slots(1, 0) == [CORES]
    with pytest.raises(UserError, match=f"cores, and there are {len(CORES)} core"):
        workers.slots(len(CORES) + 1, 0)
    with pytest.raises(UserError, match="at least 1 job"):
        workers.slots(1, -1)


def test_a_job_has_its_cores_and_is_told_so(tmp_path):
    code = """
    import os
    words = f"{sorted(os.sched_getaffinity(0))} {os.environ['NPROC']}"
    (here / "a.done").write_text(words)
    """
    before = os.sched_getaffinity(0)
    ended, said = work([job(tmp_path, "a", code)], [CORES[-1:]])
    assert ended == workers.Ended(None, {})
    assert (tmp_path / "a.done").read_text() == f"{CORES[-1:]} 1"
    assert os.sched_getaffinity(0) == before
    assert said[0] == f"a: on core {CORES[-1]}"
    assert said[1].startswith("a: done in ")


def test_what_is_over_is_skipped_and_what_crashes_comes_again_later(tmp_path):
    crash = """
    import sys
    first = here / "b.tried"
    if not first.exists():
        first.touch()
        sys.exit("boom")
    (here / "b.done").touch()
    """
    (tmp_path / "a.done").touch()
    jobs = [job(tmp_path, "a", "1 / 0"), job(tmp_path, "b", crash), job(tmp_path, "c", make("c"))]
    ended, said = work(jobs)
    assert ended == workers.Ended(None, {})
    told = [line.partition(":")[0] for line in said]
    assert told == ["b", "b", "c", "c", "b", "b"], "the others first"
    assert "crashed with exit code 1 (boom); it will be tried again" in said[1]


def test_what_crashes_twice_is_given_up_and_the_others_go_on(tmp_path):
    killed = "import os, signal\nprint('far', flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    ended, said = work([job(tmp_path, "a", killed), job(tmp_path, "b", make("b"))])
    assert ended == workers.Ended(None, {"a": "far"})
    assert any("crashed with exit code -9 2 times (far); given up" in line for line in said)
    assert (tmp_path / "b.done").exists()


def test_a_nan_is_recorded_and_not_tried_again(tmp_path):
    failures = []
    code = "import sys\nprint('error: NaN')\nsys.exit(3)"
    ended, said = work([job(tmp_path, "a", code, failures=failures)])
    assert ended == workers.Ended(None, {})
    assert failures == ["NaN"]
    assert len(said) == 2


def test_a_full_disk_is_tried_again_when_others_are_done(tmp_path):
    full = """
    import sys
    if not (here / "b.done").exists():
        print("error: no space left on the disk of a")
        sys.exit(2)
    (here / "a.done").touch()
    """
    ended, _ = work([job(tmp_path, "a", full), job(tmp_path, "b", make("b"))])
    assert ended == workers.Ended(None, {})
    assert (tmp_path / "a.done").exists()


def test_what_all_are_refused_for_ends_the_work(tmp_path):
    code = "import sys\nprint('error: there is no data')\nsys.exit(2)"
    jobs = [job(tmp_path, name, code) for name in "abcdefgh"]
    with pytest.raises(UserError, match="c and 2 others before it: there is no data"):
        work(jobs)
    assert not (tmp_path / "d.log").exists()


def test_refusals_after_a_job_is_done_stop_nobody(tmp_path):
    code = "import sys\nprint('error: there is no data')\nsys.exit(2)"
    jobs = [job(tmp_path, "z", make("z")), *(job(tmp_path, name, code) for name in "abcd")]
    ended, _ = work(jobs)
    assert ended == workers.Ended(None, dict.fromkeys("abcd", "there is no data"))


def test_what_others_have_claimed_is_left_to_them(tmp_path):
    (tmp_path / "claims").mkdir()
    claim = os.open(tmp_path / "claims" / "a", os.O_RDWR | os.O_CREAT)
    fcntl.flock(claim, fcntl.LOCK_EX)
    by_b = "import time\n(here / 'b.done').touch()\ntime.sleep(0.5)\n(here / 'a.done').touch()"
    jobs = [job(tmp_path, "a", "1 / 0"), job(tmp_path, "b", by_b)]
    ended, said = work(jobs)
    os.close(claim)
    assert ended == workers.Ended(None, {})
    assert not (tmp_path / "a.log").exists()
    assert [line.partition(":")[0] for line in said[:2]] == ["b", "b"]


def test_a_claim_lasts_as_long_as_its_process(tmp_path):
    """A worker is killed, its job isn't: another worker waits for that, and starts it no second
    time."""
    body = """
    import time
    (here / "a.began").open("a").write("x")
    time.sleep(3)
    (here / "a.done").touch()
    """
    (tmp_path / "body.py").write_text(
        f"from pathlib import Path\nhere = Path({str(tmp_path)!r})\n" + textwrap.dedent(body)
    )
    worker = f"""
from pathlib import Path
import sys
from jaxgan import workers
from jaxgan.interrupts import Interrupts
here = Path({str(tmp_path)!r})
done = here / "a.done"
command = [sys.executable, str(here / "body.py")]
files = here / "a.log", here / "claims" / "a"
job = workers.Job("a", command, *files, done.exists, bool, bool, print)
with Interrupts() as interrupts:
    interrupts.hold()
    print(workers.work([job], [{CORES[:1]}], interrupts, print))
"""
    first = subprocess.Popen([sys.executable, "-c", worker], stdout=subprocess.DEVNULL)
    until(lambda: (tmp_path / "a.began").exists())
    first.send_signal(signal.SIGKILL)
    first.wait()
    again = subprocess.run(
        [sys.executable, "-c", worker], capture_output=True, text=True, timeout=60
    )
    assert "signal=None, given_up={}" in again.stdout
    assert (tmp_path / "a.began").read_text() == "x"


def until(there, seconds=30):
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_signal_ends_the_jobs_and_waits_for_them(tmp_path):
    code = """
    import signal, sys, time
    def save(*_):
        time.sleep(0.3)
        (here / "a.saved").touch()
        sys.exit(143)
    signal.signal(signal.SIGTERM, save)
    (here / "a.began").touch()
    time.sleep(60)
    """
    one = job(tmp_path, "a", code)
    with Interrupts() as interrupts:
        interrupts.hold()

        def say(line):
            until((tmp_path / "a.began").exists)
            os.kill(os.getpid(), signal.SIGTERM)

        ended = workers.work([one, job(tmp_path, "b", make("b"))], [CORES[:1]], interrupts, say)
    assert ended == workers.Ended(signal.SIGTERM, {})
    assert (tmp_path / "a.saved").exists()
    assert not (tmp_path / "b.done").exists()
