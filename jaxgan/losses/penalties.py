"""Penalties on a discriminator's gradient with respect to images, and the clipping of its weights.

The functions take `logits`, a function of images [N, H, W, C] (or points [N, D]) to logits
[N, ...], and return a scalar without its weight. A discriminator that mixes the images of a batch
(batch norm) has no gradient of each image alone: it doesn't go with any of them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Logits = Callable[[jax.Array], jax.Array]


class Penalty(NamedTuple):
    """One term of the discriminator's loss, as a game takes it.

    Attributes:
      name: of its metric.
      weight: it counts times this.
      value: (logits, real, fake, key, given) -> scalar; `key` is for what it draws, and `given`
        holds draws by name that are to be used instead.
      every: 1: part of the discriminator's loss; n: a move of its own at each n-th step, its
        weight times n and times the discriminator's rounds in a step (lazy regularization, Karras
        et al. 2020, appendix B).
    """

    name: str
    weight: float
    value: Callable[[Logits, jax.Array, jax.Array, jax.Array, Any], jax.Array]
    every: int = 1


def gp(weight: float, target: float = 1.0, one_sided: bool = False, every: int = 1) -> Penalty:
    """`gradient_penalty`; draws `interpolation`."""

    def value(logits, real, fake, key, given):
        share = _drawn(given, "interpolation", key, real)
        return gradient_penalty(logits, real, fake, share, target, one_sided)

    return Penalty("gradient_penalty", weight, value, every)


def r1(weight: float, every: int = 1) -> Penalty:
    """`zero_centred` on real images (Mescheder et al. 2018, eq. 9); the weight is their gamma."""
    return Penalty("r1", weight, lambda logits, real, *_: zero_centred(logits, real), every)


def r2(weight: float, every: int = 1) -> Penalty:
    """`zero_centred` on fake images (Mescheder et al. 2018, eq. 10)."""
    return Penalty("r2", weight, lambda logits, _, fake, *__: zero_centred(logits, fake), every)


def dragan(weight: float, target: float = 1.0, every: int = 1) -> Penalty:
    """`around_real`; draws `perturbation` and `interpolation`."""

    def value(logits, real, fake, key, given):
        keys = jax.random.split(key)
        share = _drawn(given, "interpolation", keys[0], real)
        noise = given.get("perturbation")
        if noise is None:
            noise = jax.random.uniform(keys[1], real.shape, real.dtype)
        return around_real(logits, real, noise, share, target)

    return Penalty("dragan", weight, value, every)


def gradient_penalty(
    logits: Logits,
    real: jax.Array,
    fake: jax.Array,
    interpolation: jax.Array,
    target: float = 1.0,
    one_sided: bool = False,
) -> jax.Array:
    """WGAN-GP (Gulrajani et al. 2017, eq. 3): mean (|gradient| - target)^2 between real and fake.

    Args:
      logits: of the critic.
      real, fake: [N, H, W, C].
      interpolation: [N], uniform in [0, 1]: the share of the real image.
      target: the length that is wanted.
      one_sided: only lengths above `target` are penalised (section 4, "two-sided penalty").
    """
    share = _by_image(interpolation, real)
    excess = gradient_norms(logits, share * real + (1 - share) * fake) - target
    return jnp.mean(jnp.square(jnp.maximum(excess, 0) if one_sided else excess))


def around_real(
    logits: Logits,
    real: jax.Array,
    perturbation: jax.Array,
    interpolation: jax.Array,
    target: float = 1.0,
) -> jax.Array:
    """DRAGAN (Kodali et al. 2017): mean (|gradient| - target)^2 near the real images.

    As in the published code: at x + share * (deviation of the batch / 2) * perturbation.

    Args:
      logits: of the discriminator.
      real: [N, H, W, C].
      perturbation: of the same shape, uniform in [0, 1].
      interpolation: [N], uniform in [0, 1].
      target: the length that is wanted.
    """
    shift = _by_image(interpolation, real) * 0.5 * jnp.std(real) * perturbation
    return jnp.mean(jnp.square(gradient_norms(logits, real + shift) - target))


def zero_centred(logits: Logits, images: jax.Array) -> jax.Array:
    """R1 on real images, R2 on fake ones (Mescheder et al. 2018, eqs. 9 and 10): mean |g|^2 / 2."""
    return jnp.mean(squared_gradients(logits, images)) / 2


def gradient_norms(logits: Logits, images: jax.Array) -> jax.Array:
    """[N]: the length of the gradient of each image's logits with respect to that image."""
    return jnp.sqrt(_safe(squared_gradients(logits, images)))


def squared_gradients(logits: Logits, images: jax.Array) -> jax.Array:
    """[N]: the squared length of the gradient of each image's logits."""
    gradients = jax.grad(lambda x: jnp.sum(logits(x)))(images)
    return jnp.sum(jnp.square(gradients), tuple(range(1, gradients.ndim)))


def clip(limit: float) -> Callable[[Any], Any]:
    """Parameters -> all of them cut to [-limit, limit] (Arjovsky et al. 2017, algorithm 1)."""
    return lambda params: jax.tree.map(lambda p: jnp.clip(p, -limit, limit), params)


def _drawn(given: Any, name: str, key: jax.Array, images: jax.Array) -> jax.Array:
    value = given.get(name)
    return jax.random.uniform(key, images.shape[:1], images.dtype) if value is None else value


def _by_image(values: jax.Array, images: jax.Array) -> jax.Array:
    return values.reshape(-1, *(1,) * (images.ndim - 1)).astype(images.dtype)


def _safe(squares: jax.Array) -> jax.Array:
    # The root's slope at 0 is infinite: a critic that is flat somewhere would get NaN there.
    return jnp.maximum(squares, jnp.finfo(squares.dtype).tiny)
