"""Distances between an image and what it should be. Images are [N, H, W, C] in [-1, 1]."""

from collections.abc import Callable

import jax
import jax.numpy as jnp


def l1(image: jax.Array, target: jax.Array) -> jax.Array:
    """Mean absolute difference, a scalar; accumulated in float32 at least."""
    difference = _wide(image) - _wide(target)
    # |x| as x sign(x): its gradient is 0 where the images agree, as PyTorch's; jnp.abs has 1.
    return jnp.mean(difference * jax.lax.stop_gradient(jnp.sign(difference)))


def l2(image: jax.Array, target: jax.Array) -> jax.Array:
    """Mean squared difference, a scalar; accumulated in float32 at least."""
    return jnp.mean((_wide(image) - _wide(target)) ** 2)


def without_constants(distance: Callable[[jax.Array, jax.Array], jax.Array]):
    """A distance of images alone, as one that is offered a run's constants, too."""
    return lambda image, target, constants: distance(image, target)


def _wide(x):
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
