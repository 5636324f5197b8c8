"""What an ablation study is: a question, arms that differ in named ways, seeds, one deciding score.

A study is a small Python file with a `get_study()` that gives a `Study`; its docstring is the
question. See `jaxgan.ablate`.
"""

import contextlib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from jaxgan import commandline, experiment, fields, machine, scoring
from jaxgan.errors import UserError
from jaxgan.metrics.scores import better
from jaxgan.state import TrainState

Overrides = Mapping[str, Any]
COMMAND = "python -m jaxgan.ablate"


class Study(NamedTuple):
    """A question as a set of runs.

    Attributes:
      config: of all runs, as `--config` takes it: configs/toy.py:ring.
      arms: name -> fields and values in which it differs from the config.
      seeds: every arm is trained with each of them.
      metric: the score that decides, a name in scores.jsonl.
      base: the arm that others are compared with; "": the first.
      overrides: fields and values of all runs.
      shown: other scores that the report shows.
      budget: hours that the study may take on the machine at hand; a plan that takes longer is
        told, by exit code 1. 0: any.
    """

    config: str
    arms: Mapping[str, Overrides]
    seeds: Sequence[int]
    metric: str
    base: str = ""
    overrides: Overrides = MappingProxyType({})
    shown: Sequence[str] = ()
    budget: float = 0.0

    @property
    def scores(self) -> tuple[str, ...]:
        """The one that decides, and the others that are shown."""
        return (self.metric, *self.shown)


class Run(NamedTuple):
    """One of a study's runs: of one seed, or of several that are trained side by side.

    Attributes:
      arm: which one.
      seeds: one, or several in a row.
      overrides: all of its fields that differ from the config's, with the first seed.
      folder: its name in the study's folder.
    """

    arm: str
    seeds: tuple[int, ...]
    overrides: dict[str, Any]
    folder: str

    @property
    def title(self) -> str:
        """In words."""
        first, last = self.seeds[0], self.seeds[-1]
        return f"{self.arm}, " + (f"seed {first}" if first == last else f"seeds {first} to {last}")

    def score(self, name: str, seed: int) -> str:
        """What a score of one of its seeds is called in scores.jsonl."""
        return name if len(self.seeds) == 1 else f"seed{seed}/{name}"


class Arm(NamedTuple):
    """An arm that can be built: its resolved config (of the first seed), and what it makes.

    Attributes:
      config, built: those.
      template: shapes of its state, which take long to trace.
    """

    config: ConfigDict
    built: experiment.Experiment
    template: TrainState


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
    study = _require_sound(study)
    question = (module.__doc__ or "").strip().split("\n\n")[0]
    return " ".join(question.split()), study._replace(base=study.base or next(iter(study.arms)))


def runs(study: Study, groups: Sequence[Sequence[int]] = ()) -> list[Run]:
    """All runs.

    Args:
      study: a sound one.
      groups: seeds that are trained side by side, arm by arm; (): each seed by itself, and every
        arm has its first seed before another has its second.

    Raises:
      UserError: for two arms whose folders would be the same, or a config whose seeds can't be
        trained side by side.
    """
    folders: dict[str, str] = {}
    for arm in study.arms:
        folder = re.sub(r"[^A-Za-z0-9.=+-]+", "_", arm).strip("_")
        if folder in folders.values() or not folder:
            raise UserError(f"the arm {arm!r} needs another name: {folder!r} is a folder's already")
        folders[arm] = folder
    takes_groups = "seeds" in _parsed([f"--config={study.config}"]).config.train
    if groups and not takes_groups:
        raise UserError(
            f"{study.config} has no train.seeds: its seeds can't be trained side by side; leave "
            "out --vmap_seeds"
        )

    def made(arm: str, seeds: Sequence[int]) -> Run:
        counted = {"train.seeds": len(seeds)} if takes_groups else {}
        overrides = {**study.overrides, **study.arms[arm], **counted, "seed": seeds[0]}
        which = f"seed{seeds[0]}" if len(seeds) == 1 else f"seeds{seeds[0]}-{seeds[-1]}"
        return Run(arm, tuple(seeds), overrides, f"{folders[arm]}-{which}")

    if groups:
        return [made(arm, seeds) for arm in study.arms for seeds in groups]
    return [made(arm, [seed]) for seed in study.seeds for arm in study.arms]


def in_a_row(seeds: Iterable[int]) -> list[list[int]]:
    """Seeds as groups that follow each other without a gap."""
    groups: list[list[int]] = []
    for seed in sorted(seeds):
        if groups and groups[-1][-1] == seed - 1:
            groups[-1].append(seed)
        else:
            groups.append([seed])
    return groups


def words(study: Study, run: Run) -> list[str]:
    """A run's command line, behind `python -m jaxgan.main`."""
    given = [f"--config.{name}={_text(value)}" for name, value in run.overrides.items()]
    return [f"--config={study.config}", *given]


def resolved(study: Study, run: Run) -> ConfigDict:
    """A run's config, resolved.

    Raises:
      UserError: naming the arm whose fields don't fit.
    """
    with _told_of(run.arm):
        parsed = _parsed(words(study, run))
        return fields.resolve(parsed.config, parsed.overrides)


def require_buildable(study: Study, among: Sequence[Run]) -> dict[str, Arm]:
    """Builds every arm and traces its networks' shapes, without data or training.

    Args:
      study: a sound one.
      among: its runs.

    Raises:
      UserError: naming the arm whose fields don't fit, or for a score that no run logs.
    """
    arms: dict[str, Arm] = {}
    for run in among:
        if run.arm in arms:
            continue
        config = resolved(study, run)
        with _told_of(run.arm):
            machine.prepare(config.precision, False)
            built = experiment.build(config, 1)
            found = scoring.in_training(config)
            scoring.require_sense(config, built.task, found, built.game.classes)
            made = scoring.numbers(found, built.task.sides) if found else []
            for score in study.scores:
                if score not in made:
                    built.task.best_mode(score)
                elif not better(score):
                    raise UserError(f"{score!r} can't decide: neither more nor less is better")
            arms[run.arm] = Arm(config, built, built.template())
    return arms


def higher_is_better(study: Study, arms: Mapping[str, Arm]) -> dict[str, bool]:
    """Score -> whether a higher value is better, of all that are shown."""
    task = arms[study.base].built.task
    return {score: task.mode(score) == "max" for score in study.scores}


@contextlib.contextmanager
def _told_of(arm: str) -> Iterator[None]:
    """Mistakes inside name the arm."""
    try:
        yield
    except UserError as error:
        told = str(error).replace("checkpoint.best=", "")
        raise UserError(f"arm {arm!r}: {told}") from None


def _parsed(given: Sequence[str]) -> commandline.Command:
    return commandline.parse(given, {}, COMMAND)


def _require_sound(study: Study) -> Study:
    """The study with plain numbers and seeds.

    Raises:
      UserError: for a study that asks nothing, or asks it wrongly.
    """
    named = [study.overrides, *study.arms.values()] if isinstance(study.arms, Mapping) else []
    if not named or not all(_is_named(fields_) for fields_ in (study.arms, *named)):
        raise UserError('arms takes names and their fields, such as {"plain": {}, "R1": {...}}')
    try:
        seeds = tuple(_plain(seed) for seed in study.seeds)
    except TypeError:
        raise UserError(f"seeds={study.seeds!r} are no list of seeds; try range(5)") from None
    arms = {arm: {n: _plain(v) for n, v in of.items()} for arm, of in study.arms.items()}
    common = {name: _plain(value) for name, value in study.overrides.items()}
    study = study._replace(seeds=seeds, arms=arms, overrides=common)
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
    if isinstance(study.shown, str) or len(set(study.scores)) < len(study.scores):
        raise UserError(f"shown takes a list of other scores, each once, not {study.shown!r}")
    if not isinstance(study.budget, int | float) or not study.budget >= 0:
        raise UserError(f"budget={study.budget!r} doesn't fit: it takes hours, such as 1.5")
    seen: dict[str, str] = {}
    for name, overrides in study.arms.items():
        for field in ("seed", "train.seeds"):
            if field in overrides or field in study.overrides:
                raise UserError(f"arm {name!r} sets {field}; seeds are the study's own")
        key = repr(sorted({**study.overrides, **overrides}.items()))
        if key in seen:
            raise UserError(f"the arms {seen[key]!r} and {name!r} are the same runs")
        seen[key] = name
    return study


def _is_named(fields_: Any) -> bool:
    return isinstance(fields_, Mapping) and all(isinstance(name, str) for name in fields_)


def _plain(value: Any) -> Any:
    """A number of NumPy's as Python's."""
    return value.item() if hasattr(value, "item") else value


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
