"""Starting from another run's networks: `init.workdir`, for fine-tuning and longer runs."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jaxgan import processes, seeds, workdir
from jaxgan.checkpoint import Checkpoints, differing
from jaxgan.errors import UserError
from jaxgan.games.game import Game
from jaxgan.state import TrainState


def chosen_nets(init: ConfigDict, game: Game) -> list[str]:
    """The nets that `init.nets` names, by player or by net.

    Raises:
      UserError: for a name that is neither.
    """
    nets = []
    for name in filter(None, init.nets.split(",")):
        if name not in game.players and name not in game.nets:
            there = ", ".join(dict.fromkeys([*game.players, *game.nets]))
            raise UserError(f"init.nets: there is no player or net {name!r}; there are {there}")
        nets += game.players.get(name, (name,))
    if not nets:
        raise UserError("init.nets names no net; try --config.init.nets=" + ",".join(game.players))
    return nets


def source(init: ConfigDict, game: Game, folder: Path) -> tuple[dict[str, np.ndarray] | None, str]:
    """What to start from, and its hash; in a folder that holds a checkpoint, the hash alone.

    A run with a checkpoint has taken what it needed: it goes on, even if the other one is gone by
    now. One that was killed before its first checkpoint begins again.

    Raises:
      UserError: where there is no such run, checkpoint or net.
    """
    begun = Checkpoints(folder, read_only=True).latest(warn=False) is not None
    try:
        digest = workdir.recorded_config(folder)["init"]["sha256"]
    except (UserError, KeyError):
        return read(init, game)
    return (None, digest) if begun else read(init, game)


def read(init: ConfigDict, game: Game) -> tuple[dict[str, np.ndarray], str]:
    """The chosen nets' arrays of another run's checkpoint, and their hash.

    Args:
      init: `workdir`, `step` ("latest" or a number) and `nets` of the config.
      game: whose nets they shall become.

    Returns:
      `params/NET/...` and `stats/NET/...` -> array; the hash for the record.

    Raises:
      UserError: where there is no such run, checkpoint or net.
    """
    record = processes.together(lambda: workdir.recorded_config(init.workdir))
    processes.together(lambda: seeds.require_one(init.workdir, record))
    checkpoints = Checkpoints(init.workdir, read_only=True)
    if init.step == "latest":
        step = checkpoints.latest()
        if step is None:
            raise UserError(f"init.workdir={init.workdir} has no checkpoint to start from")
    elif init.step.isdigit():
        step = int(init.step)
    else:
        raise UserError(f"init.step={init.step!r} doesn't fit: it takes latest or a number")
    nets = chosen_nets(init, game)
    found = {
        name: value
        for name, value in checkpoints.arrays(step).items()
        if name.startswith(("params/", "stats/")) and name.split("/")[1] in nets
    }
    digest = hashlib.sha256()
    for name in sorted(found):
        digest.update(name.encode() + found[name].tobytes())
    return found, digest.hexdigest()[:16]


def require_same(state: TrainState, arrays: Mapping[str, np.ndarray], nets: list[str]) -> None:
    """Nothing, where `replace` can do its work.

    Args:
      state: arrays or `jax.ShapeDtypeStruct`.
      arrays: as `read` gives them.
      nets: the nets to take.

    Raises:
      UserError: naming what is missing or of another shape.
    """
    here: dict[str, str] = {}
    _each(lambda name, leaf: here.setdefault(name, str(list(leaf.shape))), state, nets)
    there = {name: str(list(arrays[name].shape)) for name in here if name in arrays}
    wrong = differing(there, here)
    if wrong:
        raise UserError(
            f"init.workdir holds networks of another shape: {wrong}; "
            "give this run the same model fields, or name fewer nets in init.nets"
        )


def replace(state: TrainState, arrays: Mapping[str, np.ndarray], nets: list[str]) -> TrainState:
    """The state with the given nets' parameters and statistics, averages included.

    Raises:
      UserError: naming what is missing or of another shape.
    """
    require_same(state, arrays, nets)

    def take(name, leaf):
        return jax.device_put(jnp.asarray(arrays[name], leaf.dtype), leaf.sharding)

    params, stats = _each(take, state, nets)
    state = state.replace(params=params, stats=stats)
    averages = {name: jax.tree.map(jnp.copy, state.variables(name)) for name in state.ema}
    return state.replace(ema=averages)


def _each(change: Callable[[str, Any], Any], state: TrainState, nets: list[str]) -> tuple[Any, Any]:
    """Parameters and statistics with `change(name, leaf)` for every leaf of the given nets."""

    def one(path, leaf):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        return change(name, leaf) if name.split("/")[1] in nets else leaf

    named = {"params": state.params, "stats": state.stats}
    changed = jax.tree_util.tree_map_with_path(one, named)
    return changed["params"], changed["stats"]
