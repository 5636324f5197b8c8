"""What a study will do, before anything is spent: its runs, their differences, their cost."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxgan import cost, experiment, results, study, workdir, workers
from jaxgan.errors import UserError
from jaxgan.study import Arm, Run, Study

Measure = Callable[[Run], cost.Cost]


def show(
    question: str,
    asked: Study,
    runs: Sequence[Run],
    arms: Mapping[str, Arm],
    folder: Path,
    on: Sequence[Sequence[int]],
    environment: Mapping[str, str],
    every_arm: bool,
) -> int:
    """Prints it.

    Args:
      question, asked, runs, arms: of the study.
      folder: its.
      on: the cores of each run that is trained at the same time.
      environment: of runs.
      every_arm: each is measured, not one for each size of networks.

    Returns:
      The exit code: 1 where it takes longer than the study's budget.

    Raises:
      UserError: a run's data aren't there.
    """
    print(f"{question}\n")
    base = arms[asked.base].config.to_dict()
    for name, arm in arms.items():
        differing = workdir.differences(base, arm.config.to_dict())
        shown = ", ".join(f"{field} {old} -> {new}" for field, (old, new) in differing.items())
        print(f"  {name}: {shown or 'as the base' if name != asked.base else 'the base'}")
    given = " ".join(f"{name}={value}" for name, value in asked.overrides.items())
    print(f"\nall of {asked.config} {given}".rstrip(), flush=True)

    def measure(run: Run) -> cost.Cost:
        return _measured(asked, run, on[0], environment)

    costs, measured = _costs(runs, arms, measure, every_arm)
    measured += _alone(asked, runs, costs, measure)
    print()
    seconds, compiled = 0.0, set()
    for i, run in enumerate(runs):
        state, key = _state(folder / run.folder), (run.arm, len(run.seeds))
        takes = costs[key].whole + costs[key].once * (key not in compiled)
        compiled.add(key)
        seconds += takes * (state in ("to do", "begun"))
        print(f"  [{i + 1}/{len(runs)}] {run.folder}: {state}, {readable(takes)}")
    for words in measured:
        print(words)
    jobs = len(on)
    print(
        f"\n{len(arms)} arms x {len(asked.seeds)} seeds = {len(runs)} runs of at most "
        f"{max(c.steps for c in costs.values())} steps in {folder}; {asked.metric} decides"
    )
    longest = max(costs[run.arm, len(run.seeds)].whole for run in runs)
    total = max(seconds / jobs, min(longest, seconds))
    at_once = f", {jobs} at once" if jobs > 1 else ""
    cores = len(on[0])
    print(
        f"what is to do takes about {readable(total)}{at_once}, each on {cores} "
        f"core{'s' * (cores != 1)}"
    )
    if asked.budget and total > asked.budget * 3600:
        print(f"that is more than the study's budget, {asked.budget:g} h")
        return 1
    return 0


def _state(folder: Path) -> str:
    if results.finished(folder):
        return "complete"
    if results.failure(folder):
        return "failed"
    return "begun" if (folder / workdir.CONFIG).is_file() else "to do"


def _costs(
    runs: Sequence[Run], arms: Mapping[str, Arm], measure: Measure, every_arm: bool
) -> tuple[dict[tuple[str, int], cost.Cost], list[str]]:
    """(arm, seeds) -> what a run of so many takes, and sentences on what was measured."""
    first = {(run.arm, len(run.seeds)): run for run in reversed(runs)}
    found: dict[object, cost.Cost] = {}
    ran: dict[object, Run] = {}
    costs, said = {}, []
    for name, count in sorted(first, key=lambda key: list(arms).index(key[0])):
        arm, run = arms[name], first[name, count]
        key = (name if every_arm else _size(arm), count)
        if key not in found:
            ran[key], found[key] = run, measure(run)
            said.append(f"measured {_words(run, arm, found[key])}")
        measured, own = found[key], arm.config
        steps = experiment.total_steps(own, measured.images)
        mine = run is ran[key]  # then its programs are compiled by now
        costs[name, count] = measured._replace(
            once=0.0 if mine else measured.once,
            steps=steps,
            samples=cost.times(steps, own.train.sample_every),
            evaluations=cost.times(steps, own.evaluate.every),
        )
    said[0] = f"\n{said[0]}"
    return costs, said


def _alone(
    asked: Study, runs: Sequence[Run], costs: Mapping[Any, cost.Cost], measure: Measure
) -> list[str]:
    """Whether seeds side by side are faster than one after another, of the first group."""
    group = next((run for run in runs if len(run.seeds) > 1), None)
    if group is None:
        return []
    alone = next(run for run in study.runs(asked) if run.arm == group.arm)
    found, count = measure(alone), len(group.seeds)
    times = count * found.whole / costs[group.arm, count].whole
    words = f"{times:.1f} times as fast as" if times > 1 else "no faster than"
    advice = "" if times > 1 else ": leave out --vmap_seeds"
    return [
        f"{count} seeds side by side are {words} {count} runs of one seed, {1000 * found.step:.3g} "
        f"ms a step and {readable(found.whole)} each{advice}"
    ]


def _size(arm: Arm) -> tuple:
    """Of the networks and a batch: arms of one size are taken to cost the same."""
    template = arm.template
    shapes = jax.tree.map(lambda x: (x.shape, str(x.dtype)), template.params)
    batch = jax.tree.map(lambda x: x.shape, arm.built.batch)
    data = {name: arm.config.data.get(name, None) for name in ("name", "path", "count")}
    return str(shapes), str(batch), arm.config.precision, str(data)


def _measured(
    asked: Study, run: Run, cores: Sequence[int], environment: Mapping[str, str]
) -> cost.Cost:
    """By a process with the cores that a run will have.

    Raises:
      UserError: naming the arm whose data aren't there, or lack a score.
    """
    scores = f"--scores={','.join(asked.scores)}"
    words = [sys.executable, "-m", "jaxgan.cost", *study.words(asked, run), scores]
    with workers.confined(cores, environment) as environment:
        done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    lines = (done.stdout if not done.returncode else done.stderr).strip().splitlines() or [""]
    if done.returncode:
        raise UserError(f"arm {run.arm!r}: {lines[-1].removeprefix('error: ')}")
    return cost.Cost(**json.loads(lines[-1]))


def _words(run: Run, arm: Arm, found: cost.Cost) -> str:
    weights = sum(x.size for x in jax.tree.leaves(arm.template.params))
    count = weights // len(run.seeds)
    side = f" for {len(run.seeds)} seeds side by side" if len(run.seeds) > 1 else ""
    size = f"{count / 1e6:.2g} M" if count >= 1e5 else str(count)
    return (
        f"{run.arm} ({size} weights{side}): {found.once:.1f} s of compiling, which a later run of "
        f"the same programs is spared, {found.start:.1f} s beside it to the first step, "
        f"{1000 * found.step:.3g} ms a step, {found.evaluation + found.loading:.2g} s for the "
        f"first test and {found.evaluation:.2g} s for each later one"
    )


def readable(seconds: float) -> str:
    """45 s, 12 min, 3.4 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
