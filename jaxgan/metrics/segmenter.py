"""A small network that tells what lies where in a picture: it judges pictures made of label maps.

It is trained on true pairs alone, in seconds, and from nothing: on one machine, at one precision,
the same pairs give the same judge, whatever run asks for it. (Isola et al. 2017 let a trained FCN
judge; none is there offline.)
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgan.models.initializers import variance_scaling
from jaxgan.models.layers import Conv, leaky_relu
from jaxgan.parts import in_parts
from jaxgan.update import decode

WIDTH, DEPTH = 24, 3
STEPS, BATCH, RATE = 400, 8, 3e-3
PART = 16  # pictures judged at a time


class Segmenter(nn.Module):
    """Three convolutions of 3 x 3, and one of 1 x 1: it looks at 7 x 7 pixels."""

    classes: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """``[N, H, W, C]`` in [-1, 1] to logits ``[N, H, W, classes]``."""
        init = variance_scaling(2.0, "fan_in", "normal")
        for i in range(DEPTH):
            x = leaky_relu(Conv(WIDTH, 3, padding=1, kernel_init=init, name=f"conv_{i}")(x))
        return Conv(self.classes, 1, kernel_init=init, name="last")(x)


def train(
    pictures: np.ndarray, labels: np.ndarray, classes: int, steps: int = STEPS
) -> Callable[[np.ndarray], np.ndarray]:
    """A judge: pictures -> maps of classes, [N, H, W] int32.

    Args:
      pictures: uint8 [N, H, W, C], or float32 in [-1, 1].
      labels: integers [N, H, W], from 0 to `classes - 1`.
      classes: how many.
      steps: of training.
    """
    module = Segmenter(classes)
    optimizer = optax.adam(optax.linear_schedule(RATE, 0.0, steps))

    @jax.jit
    def step(variables, state, images, labels):
        def loss(variables):
            logits = module.apply(variables, decode({"x": images}, jnp.float32)["x"])
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        changes, state = optimizer.update(jax.grad(loss)(variables), state, variables)
        return optax.apply_updates(variables, changes), state

    @jax.jit
    def judged(variables, images):
        logits = module.apply(variables, decode({"x": images}, jnp.float32)["x"])
        return jnp.argmax(logits, -1).astype(jnp.int32)

    rng = np.random.default_rng(0)
    first = jax.ShapeDtypeStruct((1, *pictures.shape[1:]), jnp.float32)
    variables = module.lazy_init(jax.random.key(0), first)
    state = optimizer.init(variables)
    for _ in range(steps):
        at = rng.integers(len(pictures), size=BATCH)
        given = pictures[at], labels[at].astype(np.int32)
        variables, state = step(variables, state, *given)

    return lambda images: in_parts(functools.partial(judged, variables), PART, images)
