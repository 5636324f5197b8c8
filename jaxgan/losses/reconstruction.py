"""Distances between an image and what it should be. Images are [N, H, W, C] in [-1, 1]."""

import jax
import jax.numpy as jnp


def l1(image: jax.Array, target: jax.Array) -> jax.Array:
    """Mean absolute difference, a scalar; accumulated in float32 at least."""
    return jnp.mean(jnp.abs(_wide(image) - _wide(target)))


def l2(image: jax.Array, target: jax.Array) -> jax.Array:
    """Mean squared difference, a scalar; accumulated in float32 at least."""
    return jnp.mean((_wide(image) - _wide(target)) ** 2)


def _wide(x):
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
