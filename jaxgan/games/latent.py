"""The noise that images are made of: its laws, truncation, and the ways between two draws."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

PARALLEL = 1e-4  # the sine of an angle below which the way along the arc is a straight one


class Latent(NamedTuple):
    """The law of the noise that images are made of.

    Attributes:
      size: numbers for each image.
      law: ``normal`` (of variance 1) or ``uniform`` (from -1 to 1).
    """

    size: int = 100
    law: str = "normal"

    def draw(self, key: jax.Array, count: int, dtype, truncation: float | None = None) -> jax.Array:
        """[count, size].

        Args:
          key: of the draw.
          count: of latents.
          dtype: floating point.
          truncation: of the normal law: numbers that lie further from 0 are as if drawn again until
            they don't (the truncation trick of BigGAN: Brock et al. 2019, section 3.1). Each
            number keeps its rank, by the inverse of the truncated law's distribution, so that a
            latent resembles the one that the same key gives without truncation.

        Raises:
          ValueError: for a truncation of uniform noise, which has no tails.
        """
        shape = (count, self.size)
        if self.law == "uniform":
            if truncation is not None:
                raise ValueError("uniform noise has no tails to truncate")
            return jax.random.uniform(key, shape, dtype, -1, 1)
        if truncation is None:
            return jax.random.normal(key, shape, dtype)
        root, one = jnp.sqrt(jnp.array(2, dtype)), jnp.ones((), dtype)
        bound = jax.lax.erf(truncation / root)
        # erf is 1 from some 5 deviations on, and its inverse there is infinite.
        lowest = jnp.maximum(-bound, jnp.nextafter(-one, 0 * one))
        drawn = root * jax.lax.erf_inv(jax.random.uniform(key, shape, dtype, lowest, bound))
        return jnp.clip(drawn, -truncation, truncation)

    def between(self, a: jax.Array, b: jax.Array, share: jax.Array) -> jax.Array:
        """Latents on the way from `a` (share 0) to `b` (share 1), likely ones by the law.

        Uniform noise goes the straight way. Normal noise in many dimensions lies near a sphere,
        and goes along its arc (White 2016, "Sampling Generative Networks": slerp).

        Args:
          a, b: [N, size].
          share: [N], from 0 to 1.

        Returns:
          [N, size].
        """
        share = share[:, None]
        if self.law == "uniform":
            return (1 - share) * a + share * b
        length = jnp.linalg.norm(a, axis=-1, keepdims=True)
        length = length * jnp.linalg.norm(b, axis=-1, keepdims=True)
        cosine = jnp.sum(a * b, -1, keepdims=True) / jnp.where(length == 0, 1, length)
        angle = jnp.arccos(jnp.clip(cosine, -1, 1))
        sine = jnp.sin(angle)
        straight = sine < PARALLEL
        sine = jnp.where(straight, 1, sine)
        from_a = jnp.where(straight, 1 - share, jnp.sin((1 - share) * angle) / sine)
        from_b = jnp.where(straight, share, jnp.sin(share * angle) / sine)
        return from_a * a + from_b * b
