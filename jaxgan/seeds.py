"""Several seeds of one run, trained side by side in one compiled step.

Small networks leave a machine idle: under `vmap` a dozen of them take little longer than one. A
group's state is that of one run with a leading axis of seeds on every leaf but `step` and `images`,
which all seeds share: so a lazy phase stays a branch. Float32 bits are not those of single runs
(sums are taken in another order), so that the number of seeds is part of a run's identity.
"""

import functools
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import workdir
from jaxgan.checkpoint import Checkpoints
from jaxgan.errors import UserError
from jaxgan.state import TrainState


@jax.jit  # one program, not one for each shape
def stacked(states: Sequence[TrainState]) -> TrainState:
    """One state of several seeds'."""
    group = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    return group.replace(step=states[0].step, images=states[0].images)


@jax.jit
def one(group: TrainState, i: int) -> TrainState:
    """The state of the i-th seed."""
    shared = group.replace(step=None, images=None)
    state = jax.tree.map(lambda leaf: leaf[i], shared)
    return state.replace(step=group.step, images=group.images)


def side_by_side(update: Callable[..., TrainState]) -> Callable[..., TrainState]:
    """`update` (or a batch of rounds) of all seeds at once; batches have the axis of seeds first.

    A seed that meets a NaN stops alone: it keeps for good what it had before that step (or batch
    of rounds), and `first_bad` says since when.
    """

    @functools.wraps(update)
    def of_all(group: TrainState, batch: Any, constants: Any, *more: Any) -> TrainState:
        def of_one(state, batch):
            after = update(state, batch, constants, *more)
            bad = after.first_bad[0] >= 0
            kept = jax.tree.map(lambda old, new: jnp.where(bad, old, new), state, after)
            return kept.replace(step=after.step, images=after.images, first_bad=after.first_bad)

        axes = jax.tree.map(lambda _: 0, group).replace(step=None, images=None)
        return jax.vmap(of_one, in_axes=(axes, 0), out_axes=axes)(group, batch)

    return of_all


def good(group: TrainState) -> list[int]:
    """The seeds, by place in the group, that have met no NaN."""
    return np.flatnonzero(np.asarray(jax.device_get(group.first_bad))[:, 0] < 0).tolist()


class Streams:
    """The batches of several seeds, each seed's stream by itself, stacked.

    Args:
      streams: one `pipeline.Batches` a seed.
    """

    def __init__(self, streams: Sequence[Any]):
        self._streams = streams

    def __next__(self) -> dict[str, np.ndarray]:
        batches = [next(stream) for stream in self._streams]
        return {name: np.stack([batch[name] for batch in batches]) for name in batches[0]}

    @property
    def waited_seconds(self) -> float:
        """Of all streams together."""
        return sum(stream.waited_seconds for stream in self._streams)

    def get_state(self) -> Any:
        """All stand at the same place."""
        return self._streams[0].get_state()

    def set_state(self, state: Any) -> None:
        for stream in self._streams:
            stream.set_state(state)

    def close(self) -> None:
        for stream in self._streams:
            stream.close()


def scores(each: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
    """The scores of a group: `name`, the mean, `name_least`, and `seedN/name`.

    Args:
      each: seed -> its scores.
    """
    names = next(iter(each.values()), {})
    found: dict[str, float] = {}
    for name in names:
        values = [each[seed][name] for seed in each]
        found |= {name: float(np.mean(values)), f"{name}_least": float(min(values))}
        found |= {f"seed{seed}/{name}": float(each[seed][name]) for seed in each}
    return found


def split(
    folder: Path, record: Mapping[str, Any], group: TrainState, step: int, data_state: Any
) -> None:
    """Writes each seed as a run of its own, `seeds/seedN`, for the commands that use a run.

    A seed that met a NaN is left out. Its record says which group it was trained in, so that it
    isn't taken for the run of that seed alone.

    Args:
      folder: of the group's run.
      record: its config, as recorded.
      group: its state.
      step, data_state: as `Checkpoints.save` takes them.
    """
    shared = {"seed": record["seed"], "seeds": record["train"]["seeds"]}
    command = shlex.split(json.loads((folder / workdir.CONFIG).read_bytes())["command"])
    for i in good(group):
        config = {**record, "seed": record["seed"] + i, "group": shared}
        config["train"] = {**record["train"], "seeds": 1}
        place = folder / "seeds" / f"seed{config['seed']}"
        place.mkdir(parents=True, exist_ok=True)
        workdir.record(place, config, command)
        with Checkpoints(place, keep=1) as checkpoints:
            checkpoints.save(step, one(group, i), data_state, config, wait=True)


def require_one(folder: str | Path, record: Mapping[str, Any]) -> None:
    """Nothing, where a folder holds the run of one seed, or one seed of a group.

    Args:
      folder: of a run.
      record: its config, as recorded.

    Raises:
      UserError: it holds a group, naming the folder of a seed of it.
    """
    count = record["train"].get("seeds", 1)
    if count == 1:
        return
    places = Path(folder) / "seeds"
    there = [f"seed{record['seed'] + i}" for i in range(count)]
    there = [name for name in there if (places / name / workdir.CONFIG).exists()]
    where = (
        f"name the folder of one of them, such as {places / there[0]}"
        if there
        else f"they get folders of their own, such as {places}/seed{record['seed']}, when the run "
        "is finished: run its command again"
    )
    raise UserError(f"{folder} holds {count} seeds that were trained side by side; {where}")
