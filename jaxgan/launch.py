"""Starts N processes on this machine that train one run together: launch/local.sh.

    python -m jaxgan.launch N --config=configs/cyclegan.py --config.data.batch_size=N ...

The words after N are those of `python -m jaxgan.main`. What the first process says is shown; what
another one said only where that one failed. Ctrl-C and SIGTERM reach them all: the run is saved,
and the same command goes on, as does `python -m jaxgan.main` with one process. On a machine with N
or more NVIDIA GPUs, each process takes one.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from jaxgan import commandline
from jaxgan.errors import UserError

GRACE = 20.0  # seconds after which the others of a process that failed are ended
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


def main(argv: Sequence[str]) -> int:
    """Runs the command; `argv` is without the program's name. Returns the exit code."""
    return commandline.run(_main, argv)


def _main(argv: Sequence[str]) -> int:
    if argv and argv[0] in commandline.HELP:
        print(__doc__.strip())
        return 0
    if not argv or not argv[0].isdigit() or int(argv[0]) < 1:
        given = f", not {argv[0]!r}" if argv else ""
        raise UserError(
            f"the first word is the number of processes{given}; try: launch/local.sh 2 "
            "--config=configs/cyclegan.py --config.data.batch_size=2"
        )
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as files:
        words = [Path(folder) / f"process-{i}.txt" for i in range(int(argv[0]))]
        outputs = [None, *(files.enter_context(open(path, "wb")) for path in words[1:])]
        processes = _start(list(argv[1:]), outputs)
        failed = _wait(processes)
        codes = [process.returncode for process in processes]
        if failed and codes[0] != codes[failed]:  # else the first one has said the same
            last = words[failed].read_text(errors="replace").strip().splitlines()[-20:]
            print(f"process {failed} failed; its last lines:", *last, sep="\n", file=sys.stderr)
        return _code(processes[failed or 0])


def _start(argv: list[str], outputs: Sequence) -> list[subprocess.Popen]:
    command = [sys.executable, "-m", "jaxgan.main", *argv, "--distributed"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    together = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": str(len(outputs))}
    own_gpu = len(outputs) <= _gpus()
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def die_with_parent():
        if libc is not None:
            libc.prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)

    processes = []
    for i, output in enumerate(outputs):
        mine = {"JAX_PROCESS_ID": str(i)} | ({"JAX_LOCAL_DEVICE_IDS": str(i)} if own_gpu else {})
        processes.append(
            subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                env={**os.environ, **together, **mine},
                start_new_session=True,  # signals come from here, one for each
                preexec_fn=die_with_parent,
            )
        )
    return processes


def _gpus() -> int:
    if os.environ.get("JAX_PLATFORMS") == "cpu":
        return 0
    try:
        words = ["nvidia-smi", "--list-gpus"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return 0
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines())


def _wait(processes: Sequence[subprocess.Popen]) -> int | None:
    """Returns when all have ended: the number of the one that failed first, if any did."""

    def pass_on(number, _):
        for process in processes:
            if process.poll() is None:
                process.send_signal(number)

    previous = {n: signal.signal(n, pass_on) for n in (signal.SIGINT, signal.SIGTERM)}
    failed, deadline = None, float("inf")
    try:
        while any(process.poll() is None for process in processes):
            if failed is None:
                failed = next((i for i, p in enumerate(processes) if p.poll()), None)
                # The others would wait for it for minutes.
                deadline = float("inf") if failed is None else time.monotonic() + GRACE
            if time.monotonic() > deadline:
                for process in processes:
                    process.kill()
            time.sleep(0.05)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if failed is None:
        failed = next((i for i, p in enumerate(processes) if p.returncode), None)
    return failed


def _code(process: subprocess.Popen) -> int:
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
