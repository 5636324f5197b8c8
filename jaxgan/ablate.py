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

import functools
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxgan import commandline, plan, report, results, study, workdir, workers
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
UNLIKE = ("devices", "awake", "train.log_every", "train.sample_every", "checkpoint")


def main(argv: Sequence[str]) -> int:
    """Runs the command; `argv` is without the program's name. Returns the exit code."""
    return commandline.run(_main, argv, __doc__)


def _main(argv: Sequence[str]) -> int:
    flags = commandline.parse_flags(argv, FLAGS)
    if not flags["study"]:
        raise UserError(f"--study is missing; try: {COMMAND} --study=studies/ring_losses.py")
    if flags["measure"] and not flags["plan"]:
        raise UserError("--measure belongs to --plan")
    on = workers.slots(flags["jobs"], flags["threads"])
    question, asked = study.load(flags["study"])
    folder = workdir.resolve(flags["workdir"] or f"runs/{Path(flags['study']).stem}")
    groups = _groups(asked, folder, flags["vmap_seeds"])
    runs = study.runs(asked, groups)
    arms = study.require_buildable(asked, runs)
    _require_same(asked, runs, folder, len(on[0]))
    if flags["plan"]:
        return plan.show(question, asked, runs, arms, folder, on, flags["measure"])
    _record(flags["study"], question, asked, arms, groups, runs, folder)
    if flags["print_commands"]:
        for run in runs:
            if not results.finished(folder / run.folder):
                print(shlex.join(command(asked, run, folder)))
        return 0
    jobs = [_job(asked, run, folder) for run in runs]
    with Interrupts() as interrupts:
        interrupts.hold()
        ended = workers.work(jobs, on, interrupts, functools.partial(print, flush=True))
    if ended.signal is not None:
        print("interrupted; the same command goes on from here")
        return 128 + ended.signal
    return _answer(folder, ended.given_up)


def _answer(folder: Path, given_up: Mapping[str, str]) -> int:
    for title, words in given_up.items():
        print(f"given up: {title}: {words}")
    found = results.of_study(folder)
    report.write(found, folder / report.FOLDER)
    print(f"\n{report.summary(found)}\n\n{folder / report.FOLDER}/index.html shows it")
    return 1 if given_up else 0


def command(asked: Study, run: Run, folder: Path) -> list[str]:
    """What trains a run, word by word."""
    words = study.words(asked, run)
    return ["python", "-m", "jaxgan.main", *words, f"--workdir={folder / run.folder}"]


def _job(asked: Study, run: Run, folder: Path) -> workers.Job:
    place = folder / run.folder

    def failed(words: str) -> None:
        write_atomically(place / results.FAILED, f"{words}\n".encode())

    return workers.Job(
        title=run.title,
        command=[sys.executable, *command(asked, run, folder)[1:]],
        log=folder / f"{run.folder}.log",
        claim=folder / ".claims" / run.folder,
        over=lambda: results.finished(place) or bool(results.failure(place)),
        busy=lambda: workdir.in_use(place),
        failed=failed,
    )


def _groups(asked: Study, folder: Path, together: bool) -> list[list[int]]:
    """Seeds that are trained side by side, those that were begun as they were; [] of none.

    Raises:
      UserError: the folder's runs were begun the other way.
    """
    before = results.recorded(folder)
    if before is not None and bool(before["groups"]) != together:
        was = "side by side" if before["groups"] else "one by one"
        what = "add" if before["groups"] else "leave out"
        raise UserError(
            f"the seeds in {folder} were trained {was}: {what} --vmap_seeds, or give another "
            "--workdir"
        )
    if not together:
        return []
    begun = before["groups"] if before else []
    begun = [group for group in begun if set(group) <= set(asked.seeds)]
    return begun + study.in_a_row(set(asked.seeds) - {seed for group in begun for seed in group})


def _require_same(asked: Study, runs: Sequence[Run], folder: Path, threads: int) -> None:
    """
    Raises:
      UserError: for runs that were begun with another config, or on another number of cores.
    """
    for run in runs:
        recorded = workdir.recorded(folder / run.folder)
        if recorded is None:
            continue
        _require_same_config(run, recorded["config"], study.resolved(asked, run).to_dict())
        device = (recorded["later"] or [recorded])[-1]["device"]
        then = device.get("threads", threads)
        if device["platform"] == "cpu" and then != threads:
            raise UserError(
                f"{run.title} was trained on {then} core{'s' * (then != 1)} and would have "
                f"{threads} now, which may change its numbers; add --threads={then}, or give "
                "another --workdir"
            )


def _require_same_config(run: Run, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    for name, (was, now) in workdir.differences(old, new).items():
        found = name == "data.classes" and now == "0"  # told by the data
        free = any(name == field or name.startswith(f"{field}.") for field in UNLIKE)
        if now == "absent" or found or free:
            continue
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
    folder: Path,
) -> None:
    """study.json: what the report needs of the study."""
    now = {
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
    write_atomically(folder / results.RECORD, json.dumps(now, indent=2).encode())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
