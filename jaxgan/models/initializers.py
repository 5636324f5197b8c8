"""Initial weights, drawn by numpy from JAX's keys.

Compiling a threefry program for every shape of weight takes longer than the rest of a run's
start; numpy needs no program. The numbers depend on the key alone: inside `jit` (and for
`jax.eval_shape`) the same draw goes through a callback. All are drawn in float64, then rounded.
"""

import math
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

Initialiser = Callable[..., jax.Array]  # (key, shape, dtype) -> weights


def normal(stddev: float, mean: float = 0.0) -> Initialiser:
    """N(mean, stddev^2)."""
    return _drawn(lambda rng, shape: rng.normal(mean, stddev, shape))


def uniform(bound: float) -> Initialiser:
    """Uniform from -bound to bound."""
    return _drawn(lambda rng, shape: rng.uniform(-bound, bound, shape))


def unit() -> Initialiser:
    """A vector of length 1, of any direction."""

    def draw(rng, shape):
        x = rng.normal(size=shape)
        return x / np.linalg.norm(x)

    return _drawn(draw)


def variance_scaling(
    scale: float = 1.0,
    mode: Literal["fan_in", "fan_out", "fan_avg"] = "fan_avg",
    distribution: Literal["normal", "uniform"] = "uniform",
) -> Initialiser:
    """Weights of mean 0 and variance ``scale / fan``.

    The defaults are Glorot's (Glorot & Bengio 2010); ``scale=2, mode="fan_in"`` is He's.

    Args:
      scale: see above.
      mode: for a kernel ``[..., in, out]``, `fan` is the numbers that one output is made of, those
        that one input goes into, or the mean of both.
      distribution: of the weights.
    """
    if mode not in ("fan_in", "fan_out", "fan_avg"):
        raise ValueError(f"mode is {mode!r}; expected fan_in, fan_out or fan_avg")
    if distribution not in ("normal", "uniform"):
        raise ValueError(f"distribution is {distribution!r}; expected normal or uniform")

    def draw(rng, shape):
        area = math.prod(shape[:-2])
        fan_in, fan_out = area * shape[-2], area * shape[-1]
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]
        if distribution == "normal":
            return rng.normal(0, math.sqrt(scale / fan), shape)
        bound = math.sqrt(3 * scale / fan)
        return rng.uniform(-bound, bound, shape)

    return _drawn(draw)


def _drawn(draw: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]) -> Initialiser:
    """A Flax initialiser of numpy's draws."""

    def drawn(words, shape):
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(words.tolist())))
        return draw(rng, shape)

    def initialise(key: jax.Array, shape: tuple[int, ...], dtype=jnp.float32) -> jax.Array:
        words = jax.random.key_data(key)
        if not isinstance(words, jax.core.Tracer):
            return jnp.asarray(drawn(np.asarray(words), shape).astype(dtype))
        if np.dtype(dtype).itemsize < 8:
            result = jax.ShapeDtypeStruct(shape, dtype)
            return jax.pure_callback(
                lambda words: drawn(np.asarray(words), shape).astype(dtype),
                result,
                words,
                vmap_method="sequential",
            )
        # As pairs of 32 bits: a callback runs in a thread of its own, where `enable_x64` may be
        # off, and its float64 would be cut.
        result = jax.ShapeDtypeStruct((*shape, 2), jnp.uint32)
        bits = jax.pure_callback(
            lambda words: drawn(np.asarray(words), shape)[..., None].view(np.uint32),
            result,
            words,
            vmap_method="sequential",
        )
        return jax.lax.bitcast_convert_type(bits, dtype)

    return initialise
