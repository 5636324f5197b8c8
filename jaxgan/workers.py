"""Runs commands, several at once, each on cores of its own, and survives what befalls them.

A job is claimed by a lock that its process holds, too: it ends with the last of both, however they
end, so that nothing has to be tidied up after a kill, and several workers (on several machines,
where the file system has locks) share one list of jobs.
"""

import contextlib
import fcntl
import os
import subprocess
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxgan.errors import UserError
from jaxgan.files import disk_error
from jaxgan.interrupts import Interrupts

TRIES = 2
ALIKE = 3  # jobs that are refused with the same words before any is done: all would be
REFUSED, NOT_FINITE = 2, 3  # how `jaxgan.main` ends after a mistake, and after a NaN
POLL = 0.1  # seconds
PATIENCE = 2.0  # seconds between looks at jobs that others do


class Job(NamedTuple):
    """A command to be run until nothing is left to do.

    Attributes:
      title: for people.
      command: its words.
      log: where its output goes, at the end of what is there.
      claim: the file that is locked while it runs.
      over: () -> whether nothing is left to do.
      busy: () -> whether somebody runs it without a claim.
      done: () -> None after exit code 0; raises where that can't be.
      failed: takes the last line of a run that met a NaN.
    """

    title: str
    command: list[str]
    log: Path
    claim: Path
    over: Callable[[], bool]
    busy: Callable[[], bool]
    done: Callable[[], None]
    failed: Callable[[str], None]


class Ended(NamedTuple):
    """How the work ended.

    Attributes:
      signal: the number of the signal that ended it, or None.
      given_up: title -> the last words of a job that was tried `TRIES` times.
    """

    signal: int | None
    given_up: dict[str, str]


def slots(jobs: int, threads: int) -> list[list[int]]:
    """Cores for each of `jobs` commands at once.

    Args:
      jobs: at least 1.
      threads: cores of each; 0: all there are, divided evenly.

    Raises:
      UserError: there aren't so many cores.
    """
    cores = cores_here()
    each = threads or len(cores) // max(1, jobs)
    if jobs < 1 or threads < 0:
        raise UserError(f"--jobs={jobs} --threads={threads}: there is at least 1 job of 1 thread")
    if not each or jobs * each > len(cores):
        there = f"{len(cores)} core" + "s" * (len(cores) != 1)
        words = f"--jobs={jobs}" + (f" --threads={threads}" if threads else "")
        raise UserError(f"{words} needs {jobs * max(each, 1)} cores, and there are {there}")
    return [cores[i * each : (i + 1) * each] for i in range(jobs)]


def cores_here() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


@contextlib.contextmanager
def confined(
    cores: Sequence[int], environment: Mapping[str, str] = os.environ
) -> Iterator[dict[str, str]]:
    """What is started inside has only these cores; yields the environment to start it in."""
    environment = {**environment, "NPROC": str(len(cores))}  # read by XLA
    if not hasattr(os, "sched_setaffinity"):
        yield environment
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield environment
    finally:
        os.sched_setaffinity(0, before)


def work(
    jobs: Sequence[Job],
    on: Sequence[Sequence[int]],
    interrupts: Interrupts,
    say: Callable[[str], None],
    environment: Mapping[str, str] = os.environ,
) -> Ended:
    """Runs jobs until each is over or given up, the first ones first.

    Args:
      jobs: what is to be done.
      on: the cores of each job that runs at the same time.
      interrupts: held; a signal ends all jobs as `kill` does, and waits for them.
      say: takes a line for people.
      environment: of the commands.

    Raises:
      UserError: the first jobs were all refused with the same words, or as a job's `done` raises.
    """
    waiting, tries, given_up = deque(jobs), Counter(), {}
    going: dict[int, _Going] = {}
    refusals: dict[str, str] | None = {}  # of each job; None once one is done
    told, looked = False, -PATIENCE
    try:
        while waiting or going:
            if interrupts.requested is not None:
                _end(going)
                return Ended(interrupts.requested, given_up)
            free = [i for i in range(len(on)) if i not in going]
            if free and waiting and time.monotonic() - looked > PATIENCE:
                for i in free:
                    started = _next(waiting, on[i], len(on), say, environment)
                    if started is None:
                        looked = time.monotonic()
                        break
                    going[i] = started
                if waiting and not going and not told:
                    many = "run is" if len(waiting) == 1 else "runs are"
                    say(f"{len(waiting)} {many} being trained by others; waiting")
                    told = True
            time.sleep(POLL)
            for i, one in list(going.items()):
                code = one.process.poll()
                if code is None:
                    continue
                del going[i]
                looked = -PATIENCE
                one.release()
                if code == 0:
                    refusals = None
                if _judged(one, code, tries, refusals, given_up, say):
                    waiting.append(one.job)
        return Ended(None, given_up)
    except BaseException:
        _end(going)
        raise


class _Going:
    """A job that runs."""

    def __init__(self, job: Job, process: subprocess.Popen, claim: int):
        self.job, self.process, self.claim = job, process, claim
        self.began = time.monotonic()

    def release(self) -> None:
        os.close(self.claim)


def _next(
    waiting: deque[Job], cores: Sequence[int], at_once: int, say, environment: Mapping[str, str]
) -> _Going | None:
    """Starts the first job that nobody else does; drops those that are over."""
    for job in list(waiting):
        if job.over():
            waiting.remove(job)
            continue
        claim = _claimed(job.claim)
        if claim is None:
            continue
        if job.over():  # since it was looked at
            waiting.remove(job)
            os.close(claim)
            continue
        if job.busy():
            os.close(claim)
            continue
        waiting.remove(job)
        going = _Going(job, _started(job, cores, at_once, claim, environment), claim)
        words = f"core {cores[0]}" if len(cores) == 1 else f"{len(cores)} cores"
        say(f"{job.title}: on {words}")
        return going
    return None


def _claimed(path: Path) -> int | None:
    """The open lock of a file, or None where somebody else has it.

    Raises:
      UserError: it can't be written, or the file system has no locks.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise disk_error(path, error) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    except OSError as error:
        os.close(file)
        raise UserError(
            f"{path.parent} lies on a file system without locks ({error.strerror}), which keep two "
            "workers off one run; name another folder with --workdir"
        ) from error
    return file


def _started(
    job: Job, cores: Sequence[int], at_once: int, claim: int, environment: Mapping[str, str]
) -> subprocess.Popen:
    try:
        job.log.parent.mkdir(parents=True, exist_ok=True)
        log = open(job.log, "ab")  # noqa: SIM115 - closed below
    except OSError as error:
        raise disk_error(job.log, error) from error
    with log, confined(cores, environment) as environment:
        if at_once > 1:  # JAX would take most of a GPU's memory for each
            share = f"{0.9 / at_once:.2f}"
            environment.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", share)
        return subprocess.Popen(
            job.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            pass_fds=(claim,),  # the claim lasts as long as the process does
            start_new_session=True,  # ctrl-C comes here alone
        )


def _judged(
    one: _Going, code: int, tries: Counter, refusals: dict | None, given_up: dict, say
) -> bool:
    """Whether a job that has ended is to be tried again.

    Raises:
      UserError: the first jobs were all refused with the same words.
    """
    job, took = one.job, time.monotonic() - one.began
    if code == 0:
        say(f"{job.title}: done in {took:.0f} s")
        job.done()
        return False
    if job.busy():
        return True
    lines = job.log.read_text(errors="replace").strip().splitlines()
    words = (lines[-1] if lines else f"exit code {code}").removeprefix("error: ")
    if code == NOT_FINITE:
        job.failed(words)
        say(f"{job.title}: failed: {words}")
        if refusals is not None:
            refusals[job.title] = words
        return False
    tries[job.title] += 1
    if refusals is not None:
        refusals[job.title] = words if code == REFUSED else f"{code} {job.title}"
        if len(refusals) >= ALIKE and len(set(refusals.values())) == 1:
            raise UserError(f"{job.title} and {len(refusals) - 1} others before it: {words}")
    what = "refused" if code == REFUSED else f"crashed with exit code {code}"
    if tries[job.title] < TRIES:
        say(f"{job.title}: {what} ({words}); it will be tried again")
        return True
    given_up[job.title] = words
    say(f"{job.title}: {what} {TRIES} times ({words}); given up, see {job.log}")
    return False


def _end(going: dict[int, _Going]) -> None:
    """Ends what runs, as `kill` does, and waits for it."""
    for one in going.values():
        with contextlib.suppress(ProcessLookupError):
            one.process.terminate()
    for one in going.values():
        one.process.wait()
        one.release()
    going.clear()
