"""Initial weights, drawn by numpy from JAX's keys.

Compiling a threefry program for every shape of weight takes longer than the rest of a run's
start; numpy needs no program. The numbers depend on the key alone: inside `jit` (and for
`jax.eval_shape`) the same draw goes through a callback.
"""

import jax
import jax.numpy as jnp
import numpy as np


def normal(stddev: float, mean: float = 0.0):
    """A Flax initialiser of N(mean, stddev^2) weights, drawn in float64 and then rounded."""

    def draw(words, shape):
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(words.tolist())))
        return rng.normal(mean, stddev, shape)

    def initialise(key: jax.Array, shape: tuple[int, ...], dtype=jnp.float32) -> jax.Array:
        words = jax.random.key_data(key)
        if not isinstance(words, jax.core.Tracer):
            return jnp.asarray(draw(np.asarray(words), shape).astype(dtype))
        if np.dtype(dtype).itemsize < 8:
            result = jax.ShapeDtypeStruct(shape, dtype)
            return jax.pure_callback(
                lambda words: draw(np.asarray(words), shape).astype(dtype), result, words
            )
        # As pairs of 32 bits: a callback runs in a thread of its own, where `enable_x64` may be
        # off, and its float64 would be cut.
        result = jax.ShapeDtypeStruct((*shape, 2), jnp.uint32)
        bits = jax.pure_callback(
            lambda words: draw(np.asarray(words), (*shape, 1)).view(np.uint32), result, words
        )
        return jax.lax.bitcast_convert_type(bits, dtype)

    return initialise
