"""Everything that survives a training step, in one pytree."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

Variables = dict[
    str, Any
]  # what a Linen module's `apply` takes: {"params": ..., "batch_stats": ...}


class TrainState(struct.PyTreeNode):
    """The state of a run: all that a checkpoint needs, and nothing else.

    Attributes:
      step: int32, generator updates so far.
      images: int32, images of one domain seen so far; every schedule is a function of it.
      rng: uint32[2], the run's key. It never changes: each draw folds in the step, the phase's
        name, the round and the micro-batch, so that a resumed run draws what it would have drawn.
      params: net -> its parameters.
      stats: net -> its other collections (`batch_stats`, ...). Nets without any have no entry.
      opt: player -> its optimizer's state.
      ema: net -> averaged variables (parameters and stats). Empty while EMA is off.
      memory: slot -> state of a part that remembers (an image pool, ...).
      metrics: name -> (sum, count) since the last log line. In the state, so that a resumed run
        logs the same bits.
      first_bad: int32[2], step and phase of the first non-finite loss, gradient or new weight,
        or (-1, -1).
    """

    step: jax.Array
    images: jax.Array
    rng: jax.Array
    params: dict[str, Any]
    stats: dict[str, Any]
    opt: dict[str, Any]
    ema: dict[str, Variables]
    memory: dict[str, Any]
    metrics: dict[str, tuple[jax.Array, jax.Array]]
    first_bad: jax.Array

    def variables(self, net: str) -> Variables:
        """The variables of one net, as its `apply` takes them."""
        return {"params": self.params[net], **self.stats.get(net, {})}


def split_variables(nets: Mapping[str, Variables]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Splits variables by net into parameters by net and non-empty other collections by net."""
    params = {name: variables["params"] for name, variables in nets.items()}
    stats = {
        name: {k: v for k, v in variables.items() if k != "params"}
        for name, variables in nets.items()
    }
    return params, {name: collections for name, collections in stats.items() if collections}


def reset_metrics(state: TrainState) -> TrainState:
    """Starts the running metrics anew, as after a log line."""
    return state.replace(metrics=jax.tree.map(jnp.zeros_like, state.metrics))


class Ema(struct.PyTreeNode):
    """How network weights are averaged over training.

    Attributes:
      nets: the nets that have an average.
      half_life: images after which a weight has half its influence.
      ramp: if positive, the half-life is at most `ramp` times the images seen so far, so that
        early averages forget the initial weights (StyleGAN2-ADA's warm-up, 0.05 there).
    """

    nets: tuple[str, ...] = struct.field(pytree_node=False)
    half_life: float = struct.field(pytree_node=False)
    ramp: float = struct.field(pytree_node=False, default=0.0)


def average(ema: Ema, state: TrainState, batch_size: int) -> dict[str, Variables]:
    """The averages after one more step: `ema + (1 - 2^(-batch / half_life)) (weights - ema)`.

    Args:
      ema: which nets, and how fast.
      state: the state after this step's phases; `state.images` counts this step's images already.
      batch_size: images in one step.

    Returns:
      net -> averaged variables. Integer leaves (counters) are copied.
    """
    wide = jnp.result_type(float)
    half_life = jnp.asarray(ema.half_life, wide)
    if ema.ramp > 0:
        half_life = jnp.minimum(half_life, state.images.astype(wide) * ema.ramp)
    # 1 - 2^-x by expm1: in float32 the difference would be off by percents at long half-lives.
    rate = -jnp.expm1(-math.log(2) * batch_size / jnp.maximum(half_life, 1e-8))

    def lerp(old, new):
        if not jnp.issubdtype(new.dtype, jnp.floating):
            return new
        return old + rate.astype(new.dtype) * (new - old)

    return {name: jax.tree.map(lerp, state.ema[name], state.variables(name)) for name in ema.nets}
