"""Runs a study, and answers with intervals:

    python -m jaxgan.ablate --study=studies/ring_losses.py

trains every arm with every seed, each an ordinary run in `runs/STUDY/ARM-seedN`, prints the score
that decides, with its interval over training seeds and its difference from the base, seed by seed,
and writes the report of `python -m jaxgan.report runs/STUDY`. Runs that are complete are
skipped and those that were begun go on, so that the same command after any stop ends with the same
tables.

- `--plan`: builds every arm, prints every run, in what it differs and what it costs, and ends. One
  arm of each size of networks is timed for some steps; `--measure` times every arm.
- `--jobs=K`: K runs at once, each with its share of the cores; `--threads=T`: T cores for each. How
  many cores a run has is part of what it is: a study has one number for all.
- `--vmap_seeds`: an arm's seeds are trained side by side in one compiled step, for small networks.
- `--print_commands`: prints one command for each run that isn't complete, for a cluster, and ends.
- `--workdir=runs/STUDY`: another folder.

The same command on several machines that share the folder divides the runs among them. A run that
meets a NaN is counted as failed, since it would meet it again; one that crashes, or finds the disk
full, is tried a second time when the others are done. Exit code 1: a run was given up, or the plan
is beyond the study's budget.
"""

import contextlib
import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxgan import (
    commandline,
    experiment,
    logs,
    plan,
    records,
    report,
    results,
    study,
    workdir,
    workers,
)
from jaxgan.errors import UserError
from jaxgan.files import write_atomically
from jaxgan.interrupts import Interrupts
from jaxgan.study import COMMAND, Arm, Run, Study

FLAGS = {
    "study": "",
    "workdir": "",
    "plan": False,
    "measure": False,
    "print_commands": False,
    "vmap_seeds": False,
    "jobs": 1,
    "threads": 0,
}
# Of these a complete run's scores don't depend.
UNLIKE = tuple(field for field in experiment.FREE_FIELDS if field != "evaluate")


def main(argv: Sequence[str]) -> int:
    """Runs the command; `argv` is without the program's name. Returns the exit code."""
    return commandline.run(_main, argv, __doc__)


def _main(argv: Sequence[str]) -> int:
    flags = commandline.parse_flags(argv, FLAGS)
    if not flags["study"]:
        raise UserError(f"--study is missing; try: {COMMAND} --study=studies/ring_losses.py")
    if flags["measure"] and not flags["plan"]:
        raise UserError("--measure belongs to --plan")
    environment = dict(os.environ)
    # This process looks at shapes alone; on a GPU, JAX would keep most of its memory from the runs.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    question, asked = study.load(flags["study"])
    folder = workdir.resolve(flags["workdir"] or f"runs/{Path(flags['study']).stem}")
    before = results.recorded(folder)
    _require_same_study(before, flags["study"], question, folder)
    groups = _groups(asked, before, folder, flags["vmap_seeds"])
    runs = study.runs(asked, groups)
    arms = study.require_buildable(asked, runs)
    for run in runs:
        _require_same_config(asked, run, folder)
    record = _record(flags["study"], question, asked, arms, groups, runs)
    if flags["print_commands"]:
        _write(record | {"threads": (before or {}).get("threads", 0)}, folder)
        for run in runs:
            if not _over(folder / run.folder):
                print(shlex.join(command(asked, run, folder)))
        return 0
    on = workers.slots(flags["jobs"], flags["threads"])
    _require_same_cores(before, runs, folder, len(on[0]))
    if flags["plan"]:
        every = flags["measure"]
        return plan.show(question, asked, runs, arms, folder, on, environment, every)
    _write(record | {"threads": len(on[0])}, folder)
    jobs = [_job(asked, run, folder) for run in runs]
    with Interrupts() as interrupts:
        interrupts.hold()
        ended = workers.work(jobs, on, interrupts, _say, environment)
    if ended.signal is not None:
        _say("interrupted; the same command goes on from here")
        return 128 + ended.signal
    return _answer(folder, ended.given_up)


def _say(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # `| head`: nobody listens, the study goes on
        print(line, flush=True)


def _answer(folder: Path, given_up: Mapping[str, str]) -> int:
    for title, words in given_up.items():
        _say(f"given up: {title}: {words}")
    found = results.of_study(folder)
    report.write(found, folder / report.FOLDER)
    _say(f"\n{report.summary(found)}\n\n{folder / report.FOLDER / report.PAGE} shows it")
    return 1 if given_up else 0


def command(asked: Study, run: Run, folder: Path) -> list[str]:
    """What trains a run, word by word."""
    words = study.words(asked, run)
    return ["python", "-m", "jaxgan.main", *words, f"--workdir={folder / run.folder}"]


def _job(asked: Study, run: Run, folder: Path) -> workers.Job:
    place = folder / run.folder

    def failed(words: str) -> None:
        write_atomically(place / results.FAILED, f"{words}\n".encode())

    def done() -> None:
        last = records.read(place / logs.SCORES)[-1:]
        if last and not any(run.score(asked.metric, seed) in last[0] for seed in run.seeds):
            raise UserError(
                f"{run.title} is done and has no score {asked.metric!r}: with these data and "
                "settings no run would have; its last line in scores.jsonl says what there is"
            )

    return workers.Job(
        title=run.title,
        command=[sys.executable, *command(asked, run, folder)[1:]],
        log=folder / f"{run.folder}.log",
        claim=folder / ".claims" / run.folder,
        over=lambda: _over(place),
        busy=lambda: workdir.in_use(place),
        done=done,
        failed=failed,
    )


def _over(place: Path) -> bool:
    """Whether nothing is left to do of a run."""
    return results.finished(place) or bool(results.failure(place))


def _begun(before: Mapping[str, Any] | None, folder: Path) -> bool:
    """Whether a study's folder has a run."""
    runs = before["runs"] if before else []
    return any((folder / run["folder"] / workdir.CONFIG).exists() for run in runs)


def _require_same_study(
    before: Mapping[str, Any] | None, file: str, question: str, folder: Path
) -> None:
    """
    Raises:
      UserError: the folder's runs are of another study of that name.
    """
    if not _begun(before, folder) or file == before["file"] or question == before["question"]:
        return
    raise UserError(
        f"{folder} holds the runs of {before['file']} ({before['question']}); give another "
        "--workdir"
    )


def _groups(
    asked: Study, before: Mapping[str, Any] | None, folder: Path, together: bool
) -> list[list[int]]:
    """Seeds that are trained side by side, those that were begun as they were; [] of none.

    Raises:
      UserError: the folder's runs were begun the other way.
    """
    begun = before["groups"] if _begun(before, folder) else []
    if _begun(before, folder) and bool(begun) != together:
        was = "side by side" if begun else "one by one"
        what = "add" if begun else "leave out"
        raise UserError(
            f"the seeds in {folder} were trained {was}: {what} --vmap_seeds, or give another "
            "--workdir"
        )
    if not together:
        return []
    begun = [group for group in begun if set(group) <= set(asked.seeds)]
    return begun + study.in_a_row(set(asked.seeds) - {seed for group in begun for seed in group})


def _require_same_cores(
    before: Mapping[str, Any] | None, runs: Sequence[Run], folder: Path, threads: int
) -> None:
    """
    Raises:
      UserError: the study was begun, or a run of it, with another number of cores for each run.
    """
    if jax.default_backend() != "cpu":
        return
    then = {"the study was begun": (before or {}).get("threads", 0)}
    for run in runs:
        recorded = workdir.recorded(folder / run.folder)
        if recorded is not None:
            device = (recorded["later"] or [recorded])[-1]["device"]
            then[f"{run.title} was trained"] = device.get("threads", 0)
    for what, count in then.items():
        if count not in (0, threads):
            raise UserError(
                f"{what} on {count} core{'s' * (count != 1)} a run, and a run would have "
                f"{threads} now, which may change its numbers; add --threads={count}, or give "
                "another --workdir"
            )


def _require_same_config(asked: Study, run: Run, folder: Path) -> None:
    """
    Raises:
      UserError: a run was begun with another config.
    """
    recorded = workdir.recorded(folder / run.folder)
    if recorded is None:
        return
    new = study.resolved(asked, run).to_dict()
    for name, (was, now) in workdir.unlike(recorded["config"], new, UNLIKE).items():
        found = name == "data.classes" and now == "0"  # told by the data
        if now != "absent" and not found:
            raise UserError(
                f"the arm {run.arm!r} was run with {name}={was} and has {now} now; give the arm "
                "another name, or the study another --workdir"
            )


def _record(
    file: str,
    question: str,
    asked: Study,
    arms: Mapping[str, Arm],
    groups: Sequence[Sequence[int]],
    runs: Sequence[Run],
) -> dict[str, Any]:
    """What the report needs of the study."""
    return {
        "file": file,
        "text": Path(file).read_text(),
        "question": question,
        "config": asked.config,
        "metric": asked.metric,
        "shown": list(asked.shown),
        "higher": study.higher_is_better(asked, arms),
        "base": asked.base,
        "overrides": dict(asked.overrides),
        "arms": {name: dict(overrides) for name, overrides in asked.arms.items()},
        "seeds": list(asked.seeds),
        "groups": [list(group) for group in groups],
        "runs": [{"arm": r.arm, "seeds": list(r.seeds), "folder": r.folder} for r in runs],
    }


def _write(record: Mapping[str, Any], folder: Path) -> None:
    """study.json, which other workers of the study write, too."""
    text = json.dumps(record, indent=2)
    write_atomically(folder / results.RECORD, text.encode(), shared=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
