"""What the runs of a study, or any others, have found: read from their folders alone."""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from jaxgan import checkpoint, experiment, logs, records, workdir
from jaxgan.errors import UserError

RECORD = "study.json"
FAILED = "failed.txt"
NOT_BEGUN, NOT_FINISHED = "not begun", "not finished"


class Trained(NamedTuple):
    """What one seed of one arm has become.

    Attributes:
      arm, seed: which one.
      folder: of its run, which may hold other seeds, too.
      alone: whether the folder holds this seed alone.
      record: config.json; {} where the run hasn't begun.
      scores, metrics: the lines of scores.jsonl and metrics.jsonl.
      failed: why it has no end; "" where it has one.
    """

    arm: str
    seed: int
    folder: Path
    alone: bool
    record: Mapping[str, Any]
    scores: Sequence[Mapping[str, Any]]
    metrics: Sequence[Mapping[str, Any]]
    failed: str

    @property
    def unfinished(self) -> bool:
        """Whether it has neither an end nor a reason that it can't have one."""
        return self.failed in (NOT_BEGUN, NOT_FINISHED)

    def key(self, name: str) -> str:
        """What a score or metric is called in its lines."""
        return name if self.alone else f"seed{self.seed}/{name}"

    def last(self, name: str) -> float:
        """A score after the last step; NaN of what failed or hasn't it."""
        if self.failed or not self.scores:
            return math.nan
        return float(self.scores[-1].get(self.key(name), math.nan))

    def curve(self, name: str, training: bool = False) -> dict[int, float]:
        """Images seen -> a score, or a mean of `training`: both may have the name, as l1 has."""
        per_step = self.images_per_step
        lines = self.metrics if training else self.scores
        there = [line for line in lines if self.key(name) in line]
        return {round(line["step"] * per_step): float(line[self.key(name)]) for line in there}

    @property
    def images_per_step(self) -> float:
        """Those of one seed."""
        lines = [line for line in self.metrics if line.get("images")]
        if lines:
            return lines[-1]["images"] / lines[-1]["step"]
        return self.record["config"]["data"]["batch_size"] if self.record else 1

    @property
    def seconds(self) -> float:
        """Spent in steps, this seed's share; NaN where nothing was timed."""
        total, timed, before = 0.0, 0, 0
        for line in self.metrics:
            if "seconds_per_step" in line:  # not where a line follows the first step of a start
                total += line["seconds_per_step"] * (line["step"] - before)
                timed += line["step"] - before
            before = line["step"]
        count = self.record["config"]["train"].get("seeds", 1) if self.record else 1
        return total * before / timed / count if timed else math.nan


class Results(NamedTuple):
    """Of several arms.

    Attributes:
      name: of the study's folder, or "runs".
      question: "" of runs that belong to no study.
      text: the study's file.
      metric: the score that decides.
      higher: score -> whether a higher value is better, of all that are shown.
      base: the arm that others are compared with.
      arms: name -> in which fields and values it differs, in words.
      trained: every seed of every arm.
      strangers: folders beside the study's runs that don't belong to it.
    """

    name: str
    question: str
    text: str
    metric: str
    higher: Mapping[str, bool]
    base: str
    arms: Mapping[str, str]
    trained: Sequence[Trained]
    strangers: Sequence[str] = ()

    def values(self, score: str) -> dict[str, dict[int, float]]:
        """arm -> seed -> the score after the last step; NaN of failures."""
        found: dict[str, dict[int, float]] = {arm: {} for arm in self.arms}
        for one in self.trained:
            found[one.arm][one.seed] = one.last(score)
        return found


def finished(folder: Path) -> bool:
    """Whether a run has all of its steps."""
    try:
        record = workdir.recorded_config(str(folder))
        steps = experiment.total_steps(ConfigDict(record), max(record["found"].values()))
        saved = [path.name for path in folder.glob("checkpoints/*") if path.name.isdecimal()]
        if not any(int(name) >= steps for name in saved):
            return False  # without reading what is under way
        reached = checkpoint.Checkpoints(str(folder), read_only=True).latest(warn=False)
    except UserError:  # nothing that is whole
        return False
    return (reached or 0) >= steps


def failure(folder: Path) -> str:
    """Why a run failed for good; "" where it didn't."""
    file = folder / FAILED
    return file.read_text().strip() if file.is_file() else ""


def recorded(folder: Path) -> dict[str, Any] | None:
    """What a study's folder says of itself; None where it doesn't yet.

    Raises:
      UserError: something else wrote it.
    """
    file = folder / RECORD
    if not file.is_file():
        return None
    try:
        before = json.loads(file.read_text())
        if not {"config", "arms", "groups", "seeds", "higher", "runs"} <= set(before):
            raise KeyError
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{file} is no study's record; move it away") from None
    return before


def of_study(folder: Path) -> Results:
    """Of the study whose runs are in a folder.

    Raises:
      UserError: there is none.
    """
    told = recorded(folder)
    if told is None:
        raise UserError(
            f"{folder} holds no study (no {RECORD}): name a folder in which a study was begun, or "
            "folders of runs"
        )
    trained = [one for run in told["runs"] for one in _read(folder, run)]
    words = {
        arm: ", ".join(f"{name}={value}" for name, value in overrides.items()) or "as it is"
        for arm, overrides in told["arms"].items()
    }
    mine = {run["folder"] for run in told["runs"]}
    others = [path.parent.name for path in sorted(folder.glob(f"*/{workdir.CONFIG}"))]
    return Results(
        name=folder.name,
        question=told["question"],
        text=told["text"],
        metric=told["metric"],
        higher=told["higher"],
        base=told["base"],
        arms=words,
        trained=sorted(trained, key=lambda one: (list(words).index(one.arm), one.seed)),
        strangers=[name for name in others if name not in mine],
    )


def of_runs(folders: Sequence[Path], metric: str) -> Results:
    """Of any runs: those that differ in their seed alone are one arm.

    Args:
      folders: of runs.
      metric: a score of theirs; "": the first one that all have.

    Raises:
      UserError: a folder holds no run, or no run has the score.
    """
    arms: dict[str, tuple[str, dict]] = {}
    trained: list[Trained] = []
    for folder in folders:
        record = workdir.recorded_config(str(folder))
        same = {**record, "seed": 0}
        key = json.dumps(same, sort_keys=True)
        name = re.sub(r"-seeds?\d+(-\d+)?$", "", folder.name) or folder.name
        if key not in arms:
            taken = [arm for arm, _ in arms.values()]
            arms[key] = (name if name not in taken else str(folder), same)
        count = record["train"].get("seeds", 1)
        seeds = [record["seed"] + i for i in range(count)]
        run = {"arm": arms[key][0], "seeds": seeds, "folder": folder.name}
        trained += _read(folder.parent, run)
    names = Counter(f"{one.arm}, seed {one.seed}" for one in trained)
    name, count = names.most_common(1)[0]
    if count > 1:
        raise UserError(f"{count} of the folders hold the same run ({name}); name one of them")
    first = next(iter(arms.values()))
    words = {}
    for name, config in arms.values():
        unlike = workdir.differences(first[1], config)
        shown = ", ".join(f"{field}={new}" for field, (_, new) in unlike.items())
        words[name] = shown or "as the first"
    higher = _shown(trained, metric)
    return Results(
        name="runs",
        question="",
        text="",
        metric=next(iter(higher)),
        higher=higher,
        base=first[0],
        arms=words,
        trained=sorted(trained, key=lambda one: (list(words).index(one.arm), one.seed)),
    )


def _shown(trained: Sequence[Trained], metric: str) -> dict[str, bool]:
    """Scores of runs, the deciding one first -> whether higher is better."""
    names: list[str] = []
    for one in trained:
        if one.scores:
            for key, value in one.scores[-1].items():
                name = key.removeprefix(one.key(""))
                number = isinstance(value, int | float) and one.key(name) == key
                if number and "/" not in name and name not in ("step", *names):
                    names.append(name)
    if metric and metric not in names:
        there = ", ".join(names) or "no score at all"
        raise UserError(f"no run has a score {metric!r}; there is {there}")
    ordered = [metric] * bool(metric) + [name for name in names if name != metric]
    config = next(one.record["config"] for one in trained if one.record)
    task, found = experiment.build(ConfigDict(config), 1).task, {}
    for name in ordered:
        try:
            found[name] = task.mode(name) == "max"
        except UserError:  # what is only told: counts, thresholds
            if name == metric:
                raise UserError(f"{name!r} can't decide: neither more nor less is better") from None
    if not found:
        raise UserError("no run has a score; evaluate.every sets when a run is tested")
    return found


def _read(folder: Path, run: Mapping[str, Any]) -> list[Trained]:
    place = folder / run["folder"]
    record = workdir.recorded(place) or {}
    scores, metrics = records.read(place / logs.SCORES), records.read(place / logs.METRICS)
    over = finished(place)
    why = "" if over else failure(place) or (NOT_FINISHED if record else NOT_BEGUN)
    made = []
    for seed in run["seeds"]:
        alone = len(run["seeds"]) == 1
        last = scores[-1] if scores else {}
        lost = not alone and over and not any(name.startswith(f"seed{seed}/") for name in last)
        reason = "a NaN or an infinite number" if lost else why
        made.append(Trained(run["arm"], seed, place, alone, record, scores, metrics, reason))
    return made
