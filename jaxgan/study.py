"""What an ablation study is: a question, arms that differ in named ways, seeds, one deciding score.

A study is a small Python file with a `get_study()` that gives a `Study`; its docstring is the
question. See `jaxgan.ablate`.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from jaxgan import commandline, experiment, fields, scoring
from jaxgan.errors import UserError

Overrides = Mapping[str, Any]


class Study(NamedTuple):
    """A question as a set of runs.

    Attributes:
      config: of all runs, as `--config` takes it: configs/toy.py:ring.
      arms: name -> fields and values in which it differs from the config.
      seeds: every arm is trained with each of them.
      metric: the score that decides, a name in scores.jsonl.
      base: the arm that others are compared with; "": the first.
      overrides: fields and values of all runs.
    """

    config: str
    arms: Mapping[str, Overrides]
    seeds: Sequence[int]
    metric: str
    base: str = ""
    overrides: Overrides = MappingProxyType({})


class Run(NamedTuple):
    """One of a study's runs.

    Attributes:
      arm, seed: which one.
      overrides: all of its fields that differ from the config's, with the seed.
      folder: its name in the study's folder.
    """

    arm: str
    seed: int
    overrides: dict[str, Any]
    folder: str


def product(**axes: Mapping[str, Overrides]) -> dict[str, Overrides]:
    """Every combination of one choice of each axis: "hinge, R1" -> the fields of both.

    A mapping: combinations can be left out of it, others added, before it becomes a study's arms.

    Raises:
      UserError: for an axis without choices, or two axes that set one field.
    """
    for name, choices in axes.items():
        if not choices:
            raise UserError(f"the axis {name!r} has no choices")
    arms = {}
    for chosen in itertools.product(*(choices.items() for choices in axes.values())):
        name = ", ".join(word for word, _ in chosen)
        together: dict[str, Any] = {}
        for _, fields_ in chosen:
            twice = sorted(set(together) & set(fields_))
            if twice:
                raise UserError(f"the arm {name!r} sets {twice[0]} on two axes")
            together |= fields_
        if name in arms:
            raise UserError(f"two arms are called {name!r}")
        arms[name] = together
    return arms


def load(path: str) -> tuple[str, Study]:
    """A study file's question and its study.

    Raises:
      UserError: where it isn't there, fails, or isn't a sound study.
    """
    if not Path(path).is_file():
        raise UserError(f"there is no study {path!r}; studies/ holds those that come with jaxgan")
    module = commandline.executed(path, "study", "studies/ring_losses.py")
    with commandline.faults_of(path, "study"):
        study = module.get_study()
    if not isinstance(study, Study):
        raise UserError(f"get_study() of {path!r} gives a {type(study).__name__} and no Study")
    _require_sound(study)
    question = " ".join((module.__doc__ or "").split())
    return question, study._replace(base=study.base or next(iter(study.arms)))


def runs(study: Study) -> list[Run]:
    """All runs, seed by seed, so that every arm has its first seed early.

    Raises:
      UserError: for two arms whose folders would be the same.
    """
    folders: dict[str, str] = {}
    for arm in study.arms:
        folder = re.sub(r"[^A-Za-z0-9.=+-]+", "_", arm).strip("_")
        if folder in folders.values() or not folder:
            raise UserError(f"the arm {arm!r} needs another name: {folder!r} is a folder's already")
        folders[arm] = folder
    return [
        Run(
            arm,
            seed,
            {**study.overrides, **study.arms[arm], "seed": seed},
            f"{folders[arm]}-seed{seed}",
        )
        for seed in study.seeds
        for arm in study.arms
    ]


def words(study: Study, run: Run) -> list[str]:
    """A run's command line, behind `python -m jaxgan.main`."""
    given = [f"--config.{name}={_text(value)}" for name, value in run.overrides.items()]
    return [f"--config={study.config}", *given]


def require_buildable(study: Study) -> int:
    """Builds every arm's experiment, without data or training.

    Returns:
      The steps of the longest arm.

    Raises:
      UserError: naming the arm whose fields don't fit, or for a metric that no run logs.
    """
    steps = 0
    for run in runs(study)[: len(study.arms)]:
        try:
            parsed = commandline.parse(words(study, run), {}, "python -m jaxgan.ablate")
            config = fields.resolve(parsed.config, parsed.overrides)
            if config.train.get("seeds", 1) != 1:
                raise UserError(
                    "train.seeds is above 1; seeds are the study's: add train.seeds=1 to overrides"
                )
            built = experiment.build(config, 1)
            found = scoring.in_training(config)
            scoring.require_sense(config, built.task, found, built.game.classes)
            made = scoring.numbers(found, built.task.sides) if found else []
            if study.metric not in made:
                built.task.best_mode(study.metric)
            steps = max(steps, built.steps)
        except UserError as error:
            raise UserError(f"arm {run.arm!r}: {error}".replace("checkpoint.best=", "")) from None
    return steps


def higher_is_better(study: Study) -> bool:
    """Whether a higher value of the deciding score is better."""
    parsed = commandline.parse(words(study, runs(study)[0]), {}, "python -m jaxgan.ablate")
    task = experiment.build(fields.resolve(parsed.config, parsed.overrides), 1).task
    return task.mode(study.metric) == "max"


def _require_sound(study: Study) -> None:
    """
    Raises:
      UserError: for a study that asks nothing, or asks it wrongly.
    """
    if not study.arms:
        raise UserError("the study has no arms")
    if study.base and study.base not in study.arms:
        hint = commandline.nearest(study.base, list(study.arms))
        raise UserError(f"the study's base {study.base!r} is no arm; {hint}")
    if not study.seeds:
        raise UserError("the study has no seeds; try seeds=range(5)")
    for seed in study.seeds:
        if type(seed) is not int or seed < 0:
            raise UserError(f"seeds are whole numbers from 0, and {seed!r} is none")
    if len(set(study.seeds)) < len(study.seeds):
        raise UserError(f"a seed is given twice: {list(study.seeds)}")
    if not study.metric:
        raise UserError("the study has no metric that decides")
    seen: dict[str, str] = {}
    for name, overrides in study.arms.items():
        if "seed" in overrides or "seed" in study.overrides:
            raise UserError(f"arm {name!r} sets seed; seeds are the study's own")
        key = repr(sorted({**study.overrides, **overrides}.items()))
        if key in seen:
            raise UserError(f"the arms {seen[key]!r} and {name!r} are the same runs")
        seen[key] = name


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
