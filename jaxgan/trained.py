"""A trained run's networks, for the commands that use them: a run's folder is all that it takes."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from jaxgan import experiment, machine, seeds, workdir
from jaxgan.checkpoint import Checkpoints, differing_shapes
from jaxgan.errors import UserError
from jaxgan.experiment import Experiment


class Run(NamedTuple):
    """A trained run, as far as using its networks needs it.

    Attributes:
      config: resolved, of the run.
      built: the experiment that it describes.
      weights: net -> variables.
      step: of the checkpoint that they are from.
      kind: "ema" where those that have an average are it, else "raw".
    """

    config: ConfigDict
    built: Experiment
    weights: dict[str, Any]
    step: int
    kind: str = "raw"


def open_run(folder: str, step: str = "latest", weights: str = "auto", prepare: bool = True) -> Run:
    """A run's networks from its checkpoint alone.

    Args:
      folder: of the run.
      step: "latest", "best" or a number.
      weights: "ema", "raw" or "auto".
      prepare: whether JAX shall compute as the run did; not where it is set up for another one.

    Raises:
      UserError: where there is no such run, checkpoint or average, or it is of several seeds.
    """
    if weights not in ("auto", "ema", "raw"):
        raise UserError(f"--weights={weights} doesn't fit: it takes auto, ema or raw")
    record = workdir.recorded_config(folder)
    seeds.require_one(folder, record)
    config = ConfigDict(record | {"devices": 1})  # one picture at a time
    if prepare:
        machine.prepare(config.precision, config.deterministic)
    built = experiment.build(config, max(config.found.values()))
    checkpoints = Checkpoints(
        folder,
        best=config.checkpoint.best or None,
        best_mode=built.task.mode(config.checkpoint.best),
        read_only=True,
    )
    number = _step(checkpoints, config, folder, step)
    arrays = checkpoints.arrays(number)
    stats, averages = _tree(arrays, "stats"), _tree(arrays, "ema")
    if weights == "ema" and not averages:
        raise UserError(
            f"{folder} has no averaged weights (it was trained with ema.half_life=0); "
            "try --weights=raw"
        )
    nets = {
        name: {"params": params, **stats.get(name, {})}
        for name, params in _tree(arrays, "params").items()
    }
    if weights == "raw" or not averages:
        return Run(config, built, nets, number)
    return Run(config, built, nets | averages, number, "ema")


def steps(folder: str) -> list[int]:
    """Those of a run's checkpoints.

    Raises:
      UserError: where there is no such run, or it has none.
    """
    workdir.recorded_config(folder)
    there = sorted(Checkpoints(folder, read_only=True).steps())
    if not there:
        raise UserError(f"{folder} has no checkpoint yet")
    return there


def require_images(run: Run, folder: str) -> None:
    """Refuses a run that makes no images.

    Raises:
      UserError: for a classifier's, saying what it is for.
    """
    if run.built.game.task == "classification":
        raise UserError(
            f"{folder} holds a classifier, which makes no images; "
            f"python -m jaxgan.evaluate --features=classifier:{folder} judges others' by it"
        )


def mixed(run: Run, other: Run, share: float) -> Run:
    """A run whose weights are `share` of its own and the rest of another's (ESRGAN, section 3.4).

    Only nets that both have are mixed, and at least a generator is.

    Raises:
      UserError: where the other's networks are of another architecture, or have no generator.
    """
    kinds = [(one.config.game, one.config.model.generator) for one in (run, other)]
    if kinds[0] != kinds[1]:
        raise UserError("the generator to mix with is of another architecture")
    nets = [name for name in run.weights if name in other.weights]
    if not any(name.startswith("generator") for name in nets):
        raise UserError("the two runs have no generator in common, so nothing can be mixed")
    for net in nets:
        wrong = differing_shapes(other.weights[net], run.weights[net])
        if wrong:
            raise UserError(f"the {net} to mix with is of another architecture: {wrong}")

    def mean(ours, theirs):
        return (share * ours + (1 - share) * theirs).astype(ours.dtype)

    made = {net: jax.tree.map(mean, run.weights[net], other.weights[net]) for net in nets}
    return run._replace(weights=run.weights | made)


def _step(checkpoints: Checkpoints, config: ConfigDict, folder: str, step: str) -> int:
    if step == "latest":
        found = checkpoints.latest()
        if found is None:
            raise UserError(f"{folder} has no checkpoint yet")
        return found
    if step == "best":
        if not config.checkpoint.best:
            raise UserError(
                f"{folder} kept no best checkpoint (it was trained without "
                "--config.checkpoint.best); try --step=latest"
            )
        found = checkpoints.best()
        if found is None:
            raise UserError(f"{folder} has no checkpoint with a score yet; try --step=latest")
        return found
    if not step.isdigit():
        raise UserError(
            f"--step={step} doesn't fit: it takes latest, best or a number (of evaluate: or all)"
        )
    if int(step) not in checkpoints.steps():
        there = ", ".join(map(str, checkpoints.steps())) or "none"
        raise UserError(f"{folder} has no checkpoint {step}; there is {there}")
    return int(step)


def _tree(arrays: Mapping[str, np.ndarray], group: str) -> dict[str, Any]:
    """`group/a/b/c` -> array as nested dicts a -> b -> c -> array."""
    root: dict[str, Any] = {}
    for name, array in arrays.items():
        first, *path = name.split("/")
        if first != group:
            continue
        *path, last = path
        place = root
        for part in path:
            place = place.setdefault(part, {})
        place[last] = array
    return root
