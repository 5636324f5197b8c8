"""Penalties on a discriminator's gradient with respect to images.

Each takes `logits`, a function of images [N, H, W, C] to logits [N, ...], and returns a scalar
without its weight.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Logits = Callable[[jax.Array], jax.Array]


def gradient_norms(logits: Logits, images: jax.Array) -> jax.Array:
    """[N]: the length of the gradient of each image's logits with respect to that image."""
    return jnp.sqrt(_safe(squared_gradients(logits, images)))


def squared_gradients(logits: Logits, images: jax.Array) -> jax.Array:
    """[N]: the squared length of the gradient of each image's logits."""
    gradients = jax.grad(lambda x: jnp.sum(logits(x)))(images)
    return jnp.sum(jnp.square(gradients), tuple(range(1, gradients.ndim)))


def _safe(squares: jax.Array) -> jax.Array:
    # The root's slope at 0 is infinite: a critic that is flat somewhere would get NaN there.
    return jnp.maximum(squares, jnp.finfo(squares.dtype).tiny)


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
      logits: of the critic; without batch norm, since each image's gradient is its own.
      real, fake: [N, H, W, C].
      interpolation: [N], uniform in [0, 1]: the share of the real image.
      target: the length that is wanted.
      one_sided: only lengths above `target` are penalised (section 4, "two-sided penalty").
    """
    share = interpolation.reshape(-1, *(1,) * (real.ndim - 1)).astype(real.dtype)
    excess = gradient_norms(logits, share * real + (1 - share) * fake) - target
    return jnp.mean(jnp.square(jnp.maximum(excess, 0) if one_sided else excess))


def zero_centred(logits: Logits, images: jax.Array) -> jax.Array:
    """R1 on real images, R2 on fake ones (Mescheder et al. 2018, eqs. 9 and 10): mean |g|^2 / 2."""
    return jnp.mean(squared_gradients(logits, images)) / 2
