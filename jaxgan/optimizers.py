"""Optimizers and schedules.

Schedules are functions of the images seen, never of an optimizer's own count: `update` evaluates
them and hands their values to the optimizer, which is built anew around them inside `jit`.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import optax

Schedule = Callable[[jax.Array], jax.Array]


def constant(value: float) -> Schedule:
    """`value`, whatever the images."""
    return lambda images: jnp.asarray(value, jnp.result_type(float))


def linear_decay(value: float, start: float, end: float) -> Schedule:
    """`value` until `start` images, then linearly to 0 at `end` images and 0 from there.

    CycleGAN and pix2pix: `start` is half of the run. (The published code lowers the rate once an
    epoch; here it falls with every step, so that it doesn't depend on the size of the data.)
    """

    def schedule(images):
        images = images.astype(jnp.result_type(float))
        return value * jnp.clip((end - images) / (end - start), 0.0, 1.0)

    return schedule


def cosine(value: float, end: float, final: float = 0.0) -> Schedule:
    """From `value` down half a cosine to `final` at `end` images."""

    def schedule(images):
        t = jnp.clip(images.astype(jnp.result_type(float)) / end, 0.0, 1.0)
        return final + (value - final) * 0.5 * (1 + jnp.cos(jnp.pi * t))

    return schedule


def stepped(value: float, factor: float, milestones: Sequence[float]) -> Schedule:
    """`value`, multiplied by `factor` at each of the milestones, in images."""

    def schedule(images):
        passed = sum(images >= milestone for milestone in milestones)
        return value * jnp.asarray(factor, jnp.result_type(float)) ** passed

    return schedule


def later(schedule: Schedule, before: float, begin: int) -> Schedule:
    """`before` for `begin` images, and then a schedule that counts from there."""

    def shifted(images):
        return jnp.where(images < begin, before, schedule(images - begin))

    return shifted


def exponential(value: float, factor: float, batch_size: int, lowest: float) -> Schedule:
    """`value` over `factor` to the number of batches, but not below `lowest` (Goodfellow 2014)."""

    def schedule(images):
        batches = images.astype(jnp.result_type(float)) / batch_size
        return jnp.maximum(value * jnp.exp(-math.log(factor) * batches), lowest)

    return schedule


def moving(first: float, last: float, end: float) -> Schedule:
    """From `first` in a straight line to `last` at `end` images, and there from then on."""

    def schedule(images):
        t = jnp.clip(images.astype(jnp.result_type(float)) / end, 0.0, 1.0)
        return first + (last - first) * t

    return schedule


def adam(player: str, b1: float, b2: float, eps: float = 1e-8):
    """Adam (Kingma & Ba 2015) for one player; its rate is the schedule `learning_rate/PLAYER`."""

    def build(schedules: Mapping[str, jax.Array]) -> optax.GradientTransformation:
        return optax.chain(
            optax.scale_by_adam(b1, b2, eps), _descend(schedules[f"learning_rate/{player}"])
        )

    return build


def sgd(player: str, momentum: float = 0.0):
    """Stochastic gradient descent, with heavy-ball momentum where it isn't 0."""

    def build(schedules: Mapping[str, jax.Array]) -> optax.GradientTransformation:
        trace = optax.trace(momentum) if momentum else optax.identity()
        return optax.chain(trace, _descend(schedules[f"learning_rate/{player}"]))

    return build


def sgd_with_moving_momentum(player: str):
    """`sgd` whose momentum is a schedule, too: `momentum/{player}`."""

    def build(schedules: Mapping[str, jax.Array]) -> optax.GradientTransformation:
        momentum = schedules[f"momentum/{player}"]

        def update(updates, state, params=None):
            del params
            trace = jax.tree.map(lambda u, t: u + momentum.astype(u.dtype) * t, updates, state)
            return trace, trace

        trace = optax.GradientTransformation(lambda p: jax.tree.map(jnp.zeros_like, p), update)
        return optax.chain(trace, _descend(schedules[f"learning_rate/{player}"]))

    return build


def rmsprop(player: str, decay: float = 0.99, eps: float = 1e-8):
    """RMSProp as PyTorch has it (decay 0.99, eps outside the root), which WGAN's code uses."""

    def build(schedules: Mapping[str, jax.Array]) -> optax.GradientTransformation:
        return optax.chain(
            optax.scale_by_rms(decay, eps, eps_in_sqrt=False),
            _descend(schedules[f"learning_rate/{player}"]),
        )

    return build


def _descend(learning_rate: jax.Array) -> optax.GradientTransformation:
    """Steps against the gradient, in the parameters' own type (a rate is float64 under x64)."""

    def update(updates, state, params=None):
        del params
        return jax.tree.map(lambda u: -learning_rate.astype(u.dtype) * u, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
