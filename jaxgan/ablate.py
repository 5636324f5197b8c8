"""Runs a study, and answers with intervals:

    python -m jaxgan.ablate --study=studies/ring_losses.py

trains every arm with every seed, each an ordinary run in `runs/STUDY/ARM-seedN`, and prints the
deciding score of each arm: mean and 95 % interval over training seeds, and the difference from the
base, seed by seed. Runs that are complete are skipped and those that were begun go on, so that the
same command after any stop ends with the same table, which is also in `runs/STUDY/table.md`.

- `--plan`: builds every arm, prints what would be run, and ends.
- `--print_commands`: prints one command for each run that isn't complete, and ends.
- `--workdir=runs/STUDY`: another folder.

A run that meets a NaN is counted as failed, since it would meet it again; one that crashes is tried
a second time. The others go on.
"""

import json
import math
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxgan import checkpoint, commandline, experiment, logs, records, statistics, study, workdir
from jaxgan.errors import UserError
from jaxgan.files import write_atomically
from jaxgan.study import Run, Study

COMMAND = "python -m jaxgan.ablate"
RECORD = "study.json"
TRIES = 2
NOT_FINITE = 3  # how `jaxgan.main` ends after a NaN
FLAGS = {"study": "", "workdir": "", "plan": False, "print_commands": False}


def main(argv: Sequence[str]) -> int:
    """Runs the command; `argv` is without the program's name. Returns the exit code."""
    return commandline.run(_main, argv, __doc__)


def _main(argv: Sequence[str]) -> int:
    flags = commandline.parse_flags(argv, FLAGS)
    if not flags["study"]:
        raise UserError(f"--study is missing; try: {COMMAND} --study=studies/ring_losses.py")
    question, asked = study.load(flags["study"])
    folder = workdir.resolve(flags["workdir"] or f"runs/{Path(flags['study']).stem}")
    steps, runs = study.require_buildable(asked), study.runs(asked)
    _require_same(asked, folder)
    if flags["plan"]:
        _plan(question, asked, runs, folder, steps)
        return 0
    if flags["print_commands"]:
        for run in runs:
            if not finished(folder / run.folder):
                print(shlex.join(_command(asked, run, folder)))
        return 0
    _record(asked, folder)
    for i, run in enumerate(runs):
        print(f"[{i + 1}/{len(runs)}] {run.arm}, seed {run.seed}", flush=True)
        if not finished(folder / run.folder) and not failure(folder / run.folder):
            _train(asked, run, folder)
    found = results(asked, runs, folder)
    text = table(asked, found, study.higher_is_better(asked))
    write_atomically(folder / "table.md", f"{question}\n\n{text}\n".encode())
    print(f"\n{question}\n\n{text}")
    return 0


def _command(asked: Study, run: Run, folder: Path) -> list[str]:
    words = study.words(asked, run)
    return ["python", "-m", "jaxgan.main", *words, f"--workdir={folder / run.folder}"]


def _train(asked: Study, run: Run, folder: Path) -> None:
    """One run in a process of its own, whose words go to `ARM-seedN.log` beside its folder.

    Raises:
      UserError: where a config is refused: nothing else would be, either.
    """
    place = folder / run.folder
    place.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, *_command(asked, run, folder)[1:]]
    for _ in range(TRIES):
        with open(folder / f"{run.folder}.log", "ab") as log:
            code = subprocess.run(
                words, stdout=log, stderr=subprocess.STDOUT, check=False
            ).returncode
        if code == 0:
            return
        if code in (130, 143, -2, -15):
            raise UserError("interrupted; the same command goes on from here")
        reason = (folder / f"{run.folder}.log").read_text(errors="replace").strip().splitlines()[-1]
        if code == 2:
            raise UserError(f"arm {run.arm!r}, seed {run.seed}: {reason.removeprefix('error: ')}")
        if code == NOT_FINITE:
            write_atomically(place / "failed.txt", f"{reason}\n".encode())
            print(f"failed: {reason}")
            return
    print(f"crashed twice, see {folder / run.folder}.log: {reason}")


def finished(folder: Path) -> bool:
    """Whether a run has all of its steps."""
    try:
        record = workdir.recorded_config(str(folder))
    except UserError:
        return False
    steps = experiment.total_steps(ConfigDict(record), max(record["found"].values()))
    reached = checkpoint.Checkpoints(str(folder), read_only=True).latest(warn=False)
    return (reached or 0) >= steps


def failure(folder: Path) -> str:
    """Why a run failed for good; "" where it didn't."""
    file = folder / "failed.txt"
    return file.read_text().strip() if file.is_file() else ""


def results(asked: Study, runs: Sequence[Run], folder: Path) -> dict[str, dict[int, float]]:
    """arm -> seed -> the deciding score after the last step; NaN of runs that failed."""
    found: dict[str, dict[int, float]] = {arm: {} for arm in asked.arms}
    for run in runs:
        lines = records.read(folder / run.folder / logs.SCORES)
        lines = [line for line in lines if asked.metric in line]
        there = finished(folder / run.folder) and lines
        found[run.arm][run.seed] = float(lines[-1][asked.metric]) if there else math.nan
    return found


def table(asked: Study, found: Mapping[str, Mapping[int, float]], higher: bool) -> str:
    """The answer as a table of Markdown, and what may be said of it.

    Args:
      asked: the study.
      found: arm -> seed -> score; what isn't finite is a failure, counted and left out.
      higher: whether a higher score is better.
    """
    good = {
        arm: {seed: value for seed, value in of.items() if math.isfinite(value)}
        for arm, of in found.items()
    }
    apart: dict[str, statistics.Difference] = {}
    for arm, of in good.items():
        both = [seed for seed in of if seed in good[asked.base]]
        if arm != asked.base and both:
            pairs = ([side[seed] for seed in both] for side in (of, good[asked.base]))
            apart[arm] = statistics.difference(*pairs)
    corrected = dict(zip(apart, statistics.holm([d.p for d in apart.values()]), strict=True))
    best = "higher" if higher else "lower"
    rows = [
        f"| arm | {asked.metric} ({best} is better), 95 % over seeds | n | failed "
        f"| against {asked.base!r} | p (Holm) |",
        "|---|---|---|---|---|---|",
    ]
    ranked = sorted(good, key=lambda arm: _mean(good[arm]), reverse=higher)
    for arm in sorted(ranked, key=lambda arm: math.isnan(_mean(good[arm]))):
        values = list(good[arm].values())
        cells = [_interval(statistics.summary(values)) if values else "-"]
        cells += [str(len(values)), str(len(found[arm]) - len(values))]
        if arm in apart:
            cells += [
                _interval(apart[arm].summary, signed=True),
                _tested(apart[arm], corrected[arm]),
            ]
        else:
            cells += ["the base" if arm == asked.base else "-", ""]
        rows.append(f"| {arm} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _mean(values: Mapping[int, float]) -> float:
    return sum(values.values()) / len(values) if values else math.nan


def _interval(found: statistics.Summary, signed: bool = False) -> str:
    half = (found.high - found.low) / 2
    mean = statistics.rounded(found.mean, half)
    if signed and found.mean >= 0:
        mean = f"+{mean}"
    if not math.isfinite(half):
        return mean
    low, high = (statistics.rounded(x, half) for x in (found.low, found.high))
    return f"{mean} ({low} to {high})"


def _tested(found: statistics.Difference, p: float) -> str:
    count = found.summary.count
    if not math.isnan(p):
        return f"{p:.3g}" + (f"; about {found.needed} seeds would tell" if found.needed else "")
    would = f"about {found.needed}" if found.needed < 1000 else "far more"
    return f"{count} seed{'s' * (count > 1)} can't tell; {would} would"


def _plan(question: str, asked: Study, runs: Sequence[Run], folder: Path, steps: int) -> None:
    """Prints what would be run."""
    print(f"{question}\n")
    for arm, overrides in asked.arms.items():
        given = " ".join(f"{name}={value}" for name, value in overrides.items()) or "as it is"
        print(f"  {arm}: {given}" + " (base)" * (arm == asked.base))
    done = sum(finished(folder / run.folder) for run in runs)
    common = " ".join(f"{name}={value}" for name, value in asked.overrides.items())
    print(f"\nall of {asked.config} {common}".rstrip())
    print(
        f"{len(asked.arms)} arms x {len(asked.seeds)} seeds = {len(runs)} runs of at most {steps} "
        f"steps, {done} of them complete, in {folder}; {asked.metric} decides"
    )


def _described(asked: Study) -> dict[str, Any]:
    arms = {name: {**asked.overrides, **overrides} for name, overrides in asked.arms.items()}
    return {"config": asked.config, "metric": asked.metric, "base": asked.base, "arms": arms}


def _require_same(asked: Study, folder: Path) -> None:
    """
    Raises:
      UserError: for an arm whose runs were begun with other fields.
    """
    file = folder / RECORD
    if not file.is_file():
        return
    try:
        before = json.loads(file.read_text())
        arms, config = before["arms"], before["config"]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{file} is no study's record; move it away") from None
    now = json.loads(json.dumps(_described(asked)))
    advice = "give the arm another name, or the study another --workdir"
    if config != now["config"]:
        raise UserError(f"{folder} holds runs of {config}, and the study is of {now['config']} now")
    for arm in arms.keys() & now["arms"].keys():
        old, new = arms[arm], now["arms"][arm]
        unlike = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        if unlike:
            name = unlike[0]
            raise UserError(
                f"the arm {arm!r} was run with {name}={old.get(name, 'as in the config')} and has "
                f"{new.get(name, 'as in the config')} now; {advice}"
            )


def _record(asked: Study, folder: Path) -> None:
    """study.json: arms that were run stay in it, new ones are added."""
    file, now = folder / RECORD, _described(asked)
    if file.is_file():
        now["arms"] = json.loads(file.read_text())["arms"] | now["arms"]
    write_atomically(file, json.dumps(now, indent=2).encode())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
