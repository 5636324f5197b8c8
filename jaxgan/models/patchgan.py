"""Discriminators that judge patches: PatchGAN and the 1x1 PixelGAN (Isola et al.,
arXiv:1611.07004, sections 3.2.2 and 6.1.2), as the authors' PyTorch code builds them."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.errors import UserError
from jaxgan.models.convolution import Path
from jaxgan.models.layers import Conv, Norm, leaky_relu, normalise


def receptive_field(layers: int) -> int:
    """Pixels of the image, along a side, that one logit of `PatchDiscriminator` sees.

    1 to 5 layers: 16, 34, 70, 142, 286.
    """
    field = 7  # two 4x4 convolutions of stride 1
    for _ in range(layers):
        field = 2 * field + 2
    return field


def smallest_image(layers: int = 3) -> int:
    """The smallest height and width that `PatchDiscriminator` makes one logit of.

    `layers` halvings leave 3 pixels, of which two 4x4 convolutions, padded by 1, take two.
    """
    return 3 * 2**layers


def smallest_pixel_image(norm: Norm = "instance") -> int:
    """Of `PixelDiscriminator`: instance norm of a single pixel is 0 whatever the image."""
    return 2 if norm == "instance" else 1


def _check_size(x: jax.Array, smallest: int, network: str) -> None:
    if min(x.shape[1:3]) < smallest:
        raise UserError(
            f"{network} takes images of at least {smallest} pixels along each side; these have"
            f" {x.shape[1]} x {x.shape[2]}"
        )


class PatchDiscriminator(nn.Module):
    """4x4 convolutions: `layers` of stride 2, two of stride 1; 3 layers see 70x70 pixels.

    Attributes:
      width: features of the first layer; doubled at most three times.
      layers: 1 to 5.
      norm: ``instance``, ``batch`` or ``none``, on all but the first and the last layer.
      dtype: of the computation; None: that of `x` and the parameters together.
      param_dtype: of the parameters.
      path: of the convolutions, see `jaxgan.models.convolution.chosen_path`.
    """

    width: int = 64
    layers: int = 3
    norm: Norm = "instance"
    dtype: jnp.dtype | None = None
    param_dtype: jnp.dtype = jnp.float32
    path: Path = "auto"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """``[N, H, W, C]`` in [-1, 1] to logits ``[N, h, w, 1]``, float32 or wider.

        Raises:
          UserError: H or W is below `smallest_image`.
        """
        if not 1 <= self.layers <= 5:
            raise UserError(f"a PatchGAN has 1 to 5 layers, not {self.layers}")
        plural = "" if self.layers == 1 else "s"
        _check_size(x, smallest_image(self.layers), f"a PatchGAN of {self.layers} layer{plural}")
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        for i in range(self.layers + 1):
            normalised = i > 0
            x = Conv(
                self.width * min(2**i, 8),
                4,
                strides=2 if i < self.layers else 1,
                padding=1,
                use_bias=not normalised or self.norm != "batch",
                path=self.path,
                name=f"conv_{i}",
                **dtypes,
            )(x)
            if normalised:
                x = normalise(self.norm, x, train, name=f"norm_{i}", **dtypes)
            x = leaky_relu(x)
        x = Conv(1, 4, padding=1, path=self.path, name="last", **dtypes)(x)
        return x.astype(jnp.promote_types(x.dtype, jnp.float32))


class PixelDiscriminator(nn.Module):
    """1x1 convolutions: every pixel is judged alone.

    Attributes: those of `PatchDiscriminator`.
    """

    width: int = 64
    norm: Norm = "instance"
    dtype: jnp.dtype | None = None
    param_dtype: jnp.dtype = jnp.float32
    path: Path = "auto"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """``[N, H, W, C]`` in [-1, 1] to logits ``[N, H, W, 1]``, float32 or wider.

        Raises:
          UserError: H or W is below `smallest_pixel_image`.
        """
        _check_size(x, smallest_pixel_image(self.norm), "a PixelGAN")
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        use_bias = self.norm != "batch"
        x = leaky_relu(Conv(self.width, 1, path=self.path, name="conv_0", **dtypes)(x))
        x = Conv(2 * self.width, 1, use_bias=use_bias, path=self.path, name="conv_1", **dtypes)(x)
        x = leaky_relu(normalise(self.norm, x, train, name="norm_1", **dtypes))
        # As published, the norm also decides about the bias of the last layer.
        x = Conv(1, 1, use_bias=use_bias, path=self.path, name="last", **dtypes)(x)
        return x.astype(jnp.promote_types(x.dtype, jnp.float32))
