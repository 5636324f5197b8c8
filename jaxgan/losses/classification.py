"""How far class logits are from the classes that images have."""

import jax
import jax.numpy as jnp
from flax import linen as nn


def cross_entropy(logits: jax.Array, label: jax.Array) -> jax.Array:
    """The mean of ``-log softmax(logits)[label]``, a scalar, 0 or more.

    Args:
      logits: [N, classes].
      label: int32 [N].
    """
    chosen = jnp.take_along_axis(nn.log_softmax(logits), label[:, None], 1)
    return -jnp.mean(chosen)


def accuracy(logits: jax.Array, label: jax.Array) -> jax.Array:
    """The share, from 0 to 1, of images whose highest logit is their class's; of the logits' type.

    Args:
      logits: [N, classes].
      label: int32 [N].
    """
    return jnp.mean((jnp.argmax(logits, -1) == label).astype(logits.dtype))
