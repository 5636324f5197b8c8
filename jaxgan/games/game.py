"""A GAN is a game: players own networks and an optimizer, phases are their moves.

This file holds the vocabulary; the games beside it hold the algorithms, `update.py` plays them.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from flax import linen as nn

from jaxgan.games.latent import Latent
from jaxgan.state import Variables

Batch = dict[str, jax.Array]


class Context(NamedTuple):
    """What an objective may look at besides networks, memory, handoff and batch.

    Attributes:
      key: a PRNG key of this move alone (step, phase, round and micro-batch folded in).
      step: int32, generator updates before this one.
      images: int32, images seen before this step.
      schedules: name -> value now.
      constants: frozen feature networks and the like; not trained, not in the checkpoint.
    """

    key: jax.Array
    step: jax.Array
    images: jax.Array
    schedules: Mapping[str, jax.Array]
    constants: Any


class Outcome(NamedTuple):
    """What a move leaves behind besides its loss.

    Attributes:
      stats: net -> new collections. Kept for the player's own nets and those the phase names.
      memory: slot -> new state. Only slots that the phase names may be here.
      handoff: values for later phases of the same update; never stored.
      metrics: name -> scalar, averaged until the next log line.
    """

    stats: dict[str, Any]
    memory: dict[str, Any]
    handoff: dict[str, Any]
    metrics: dict[str, jax.Array]


# (nets: name -> variables, memory, handoff, batch, context) -> (loss, Outcome)
Objective = Callable[
    [dict[str, Variables], dict[str, Any], dict[str, Any], Batch, Context],
    tuple[jax.Array, Outcome],
]


class Phase(NamedTuple):
    """One move of one player: a gradient step on an objective.

    Attributes:
      name: unique in the game; its hash is folded into the move's key.
      player: whose nets and optimizer move.
      objective: what is minimised.
      metrics: names of the scalars that the objective's outcome holds.
      every: played when `step % every == 0` (lazy regularizers).
      repeats: rounds in one update, each on its own real batch (critic steps).
      memory: slots that the move may write.
      stats: other players' nets whose stats the move may write too.
      project: parameters -> parameters, after the optimizer step (WGAN's clipping).
    """

    name: str
    player: str
    objective: Objective
    metrics: tuple[str, ...] = ()
    every: int = 1
    repeats: int = 1
    memory: tuple[str, ...] = ()
    stats: tuple[str, ...] = ()
    project: Callable[[Any], Any] | None = None


class Extra(NamedTuple):
    """Rounds that a phase plays besides its own at some steps (WGAN's warm-up).

    They stream in, a batch of the usual size at a time, before the step's own.

    Attributes:
      phase: which one.
      batches: step, counted from 0 -> how many more batches of the phase's rounds.
    """

    phase: str
    batches: Callable[[int], int]


class Segment(NamedTuple):
    """A part of a run in which some of a game's phases are played.

    Attributes:
      first: its first step, counted from 0. The state before that step is the last one's.
      phases: names of those that are played.
      fresh: players whose optimizers start anew with it.
    """

    first: int
    phases: tuple[str, ...]
    fresh: tuple[str, ...] = ()


class Game(NamedTuple):
    """A GAN, whole.

    Attributes:
      nets: name -> Linen module. A net that no player owns is frozen.
      players: name -> the nets that it owns.
      phases: the moves of one update, in order.
      init: (key, batch) -> (name -> variables, slot -> memory). `batch` is one micro-batch, of
        which only shapes and types are given.
      sample: (name -> variables, batch) -> name -> images, what the game is played for; a
        classifier's gives what it says of the batch's.
      task: what it is played on: a name of `tasks.TASKS`.
      noise: (key, count, dtype) -> what `sample` takes besides data, where it takes any.
      classes: how many `sample` can be asked for by `label`, int32; 0: it takes none.
      extra: more rounds at some steps.
      latent: the law of the noise, where that is a `latent` alone: such noise can be truncated and
        interpolated.
      notes: sentences for the user, at the start of a run.
      segments: of a run, in order, the first from step 0 on; none: all phases are always played.
    """

    nets: dict[str, nn.Module]
    players: dict[str, tuple[str, ...]]
    phases: tuple[Phase, ...]
    init: Callable[[jax.Array, Batch], tuple[dict[str, Variables], dict[str, Any]]]
    sample: Callable[[dict[str, Variables], Batch], dict[str, jax.Array]]
    task: str = "unpaired"
    noise: Callable[[jax.Array, int, Any], Batch] | None = None
    classes: int = 0
    extra: Extra | None = None
    latent: Latent | None = None
    notes: tuple[str, ...] = ()
    segments: tuple[Segment, ...] = ()
