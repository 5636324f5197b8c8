import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from jaxgan.interrupts import Interrupts


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_held_signal_is_a_flag_and_handlers_come_back(number, code, capfd):
    before = signal.getsignal(number)
    threads = threading.active_count()
    with Interrupts() as interrupts:
        interrupts.hold()
        assert interrupts.requested is None
        assert interrupts.exit_code == 0
        os.kill(os.getpid(), number)
        assert interrupts.requested == number
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupts.requested == number
        assert interrupts.exit_code == code
        time.sleep(0.05)
    assert signal.getsignal(number) is before
    assert signal.set_wakeup_fd(-1) == -1
    assert threading.active_count() == threads
    assert capfd.readouterr().err.count("saving, then stopping") == 1


def test_outside_the_main_thread_nothing_is_caught():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def run():
        with Interrupts() as interrupts:
            interrupts.hold()
            seen.append((interrupts.requested, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [(None, before)]


BUSY = """
import ctypes, sys
from jaxgan.interrupts import Interrupts
with Interrupts() as interrupts:
    if sys.argv[1] == "hold":
        interrupts.hold()
    print("ready", flush=True)
    # Like a compilation: the main thread runs no Python, so no handler of Python either.
    for _ in range(3):
        ctypes.CDLL(None).sleep(30)
"""


def busy(hold):
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", BUSY, "hold" if hold else "begin"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    assert process.stdout.readline() == "ready\n"
    return process


def end(process, number):
    begun = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert time.monotonic() - begun < 5
    assert "Traceback" not in errors
    return process.returncode, errors.strip()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_before_anything_is_held_a_signal_ends_the_process_at_once(number, code):
    assert end(busy(hold=False), number) == (
        code,
        "stopped before the first step; the same command goes on",
    )


def test_a_second_ctrl_c_ends_the_process_at_once():
    process = busy(hold=True)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    code, errors = end(process, signal.SIGINT)
    assert code == 130
    assert "saving, then stopping" in errors
