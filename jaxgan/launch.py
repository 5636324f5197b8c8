"""Starts N processes on this machine that train one run together: launch/local.sh.

    python -m jaxgan.launch N --config=configs/cyclegan.py --config.data.batch_size=N ...

The words after N are those of `python -m jaxgan.main`. What the first process says is shown; what
another one said only where that one failed. Ctrl-C and SIGTERM reach them all: the run is saved,
and the same command goes on, as does `python -m jaxgan.main` with one process. On a machine with N
or more NVIDIA GPUs, each process takes one.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from jaxgan import commandline
from jaxgan.errors import UserError

LAUNCHER = "JAXGAN_LAUNCHER"  # its process number, for those that it starts
TOLD = (2, 3, 130, 143)  # exit codes of `main`; with the same one, processes said the same
GRACE = 20.0  # seconds after which the others of a process that failed are ended


def main(argv: Sequence[str]) -> int:
    """Runs the command; `argv` is without the program's name. Returns the exit code."""
    return commandline.run(_main, argv)


def _main(argv: Sequence[str]) -> int:
    if argv and argv[0] in commandline.HELP:
        print(__doc__.strip())
        return 0
    if not argv or not argv[0].isdecimal() or int(argv[0]) < 1:
        given = f", not {argv[0]!r}" if argv else ""
        raise UserError(
            f"the first word is the number of processes{given}; try: launch/local.sh 2 "
            "--config=configs/cyclegan.py --config.data.batch_size=2"
        )
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        words = [Path(folder) / f"process-{i}.txt" for i in range(int(argv[0]))]
        outputs = [None, *(stack.enter_context(open(path, "wb")) for path in words[1:])]
        processes: list[subprocess.Popen] = []
        stack.enter_context(_signals_for(processes))
        _start(processes, list(argv[1:]), outputs)
        failed = _wait(processes)
        codes = [_code(process) for process in processes]
        if failed is None or (len(set(codes)) == 1 and codes[0] in TOLD):
            return codes[0]
        for i, path in enumerate(words[1:], 1):
            if codes[i]:
                last = path.read_text(errors="replace").strip().splitlines()[-20:]
                print(f"process {i} ended with {codes[i]}; its last lines:", file=sys.stderr)
                print(*last, sep="\n", file=sys.stderr)
        return next((code for code in codes if code in TOLD), codes[failed])


def _start(processes: list[subprocess.Popen], argv: list[str], outputs: Sequence) -> None:
    command = [sys.executable, "-m", "jaxgan.main", *argv, "--distributed"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    together = {
        "JAX_COORDINATOR_ADDRESS": address,
        "JAX_NUM_PROCESSES": str(len(outputs)),
        LAUNCHER: str(os.getpid()),
    }
    own_gpu = len(outputs) <= _gpus()
    try:
        for i, output in enumerate(outputs):
            gpu = {"JAX_LOCAL_DEVICE_IDS": str(i)} if own_gpu else {}
            processes.append(
                subprocess.Popen(
                    command,
                    stdout=output,
                    stderr=output,
                    env={**os.environ, **together, **gpu, "JAX_PROCESS_ID": str(i)},
                    start_new_session=True,  # signals come from here, one for each
                )
            )
    except OSError:
        for process in processes:
            process.kill()
        raise


def _gpus() -> int:
    if os.environ.get("JAX_PLATFORMS") == "cpu":
        return 0
    try:
        words = ["nvidia-smi", "--list-gpus"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return 0
    there = sum(line.startswith("GPU ") for line in done.stdout.splitlines())
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return there if visible is None else min(there, len(visible.split(",")) if visible else 0)


@contextlib.contextmanager
def _signals_for(processes: Sequence[subprocess.Popen]) -> Iterator[None]:
    """Ctrl-C and SIGTERM are those processes' own affair."""

    def pass_on(number, _):
        for process in processes:
            if process.poll() is None:
                process.send_signal(number)

    previous = {n: signal.signal(n, pass_on) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _wait(processes: Sequence[subprocess.Popen]) -> int | None:
    """Returns when all have ended: the number of the one that failed first, if any did."""
    failed, deadline = None, float("inf")
    while any(process.poll() is None for process in processes):
        if failed is None:
            failed = next((i for i, p in enumerate(processes) if p.poll()), None)
            # The others would wait for it for minutes.
            deadline = float("inf") if failed is None else time.monotonic() + GRACE
        if time.monotonic() > deadline:
            for process in processes:
                process.kill()
        time.sleep(0.05)
    if failed is None:
        failed = next((i for i, p in enumerate(processes) if p.returncode), None)
    return failed


def _code(process: subprocess.Popen) -> int:
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
