"""SRGAN's generator, SRResNet (Ledig et al. 2017, arXiv:1609.04802, section 2.1.1)."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.models.convolution import Path
from jaxgan.models.initializers import variance_scaling
from jaxgan.models.layers import Conv, Norm, normalise

SCALES = (1, 2, 4, 8)
INIT = variance_scaling(1 / 3, "fan_in", "uniform")  # PyTorch's own, as its codes leave it
SLOPE = 0.25  # of PReLU, before training


class PReLU(nn.Module):
    """``x`` where it is positive, else a learned multiple of it: one for all features."""

    dtype: jnp.dtype | None = None
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        slope = self.param("slope", nn.initializers.constant(SLOPE), (1,), self.param_dtype)
        return jnp.where(x >= 0, x, slope.astype(x.dtype).reshape((1,) * x.ndim) * x)


def pixel_shuffle(x: jax.Array, factor: int) -> jax.Array:
    """``[N, H, W, C factor^2]`` to ``[N, factor H, factor W, C]``; channels lie as in PyTorch's.

    (Shi et al. 2016, arXiv:1609.05158, eq. 4.)
    """
    n, h, w, c = x.shape
    x = x.reshape(n, h, w, c // factor**2, factor, factor).transpose(0, 1, 4, 2, 5, 3)
    return x.reshape(n, h * factor, w * factor, c // factor**2)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with norms, a PReLU between them, and a shortcut.

    Attributes: those of `SRResNet`.
    """

    width: int
    norm: Norm
    train: bool
    dtype: jnp.dtype | None = None
    param_dtype: jnp.dtype = jnp.float32
    path: Path = "auto"

    @nn.compact
    def __call__(self, x: jax.Array, _) -> tuple[jax.Array, None]:
        """``[N, H, W, width]`` to the same, as a step of a scan."""
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        layer = {"padding": 1, "kernel_init": INIT, "path": self.path, **types}
        scale = {"scale_init": nn.initializers.ones, **types}
        y = Conv(self.width, 3, name="conv_0", **layer)(x)
        y = normalise(self.norm, y, self.train, name="norm_0", **scale)
        y = Conv(self.width, 3, name="conv_1", **layer)(PReLU(name="prelu", **types)(y))
        y = normalise(self.norm, y, self.train, name="norm_1", **scale)
        return x + y, None


class SRResNet(nn.Module):
    """Small images to images `scale` times as large.

    Attributes:
      scale: 1, 2, 4 or 8; every doubling is a convolution whose features become pixels.
      channels: of the images.
      width: features.
      blocks: residual blocks; the paper has 16.
      norm: ``batch`` or ``none``.
      behind: what follows the convolution behind the blocks: ``norm`` (the paper), or ``prelu``
        (some published weights).
      output: ``linear``, or ``tanh``.
      dtype: of the computation; None: that of `x` and the parameters together.
      param_dtype: of the parameters.
      path: of the convolutions, see `jaxgan.models.convolution.chosen_path`.
    """

    scale: int = 4
    channels: int = 3
    width: int = 64
    blocks: int = 16
    norm: Norm = "batch"
    behind: Literal["norm", "prelu"] = "norm"
    output: Literal["linear", "tanh"] = "linear"
    dtype: jnp.dtype | None = None
    param_dtype: jnp.dtype = jnp.float32
    path: Path = "auto"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """``[N, H, W, C]`` in [-1, 1] to ``[N, scale H, scale W, C]``, about [-1, 1].

        The first layer sees values of [0, 1], as published; the answer's range is [-1, 1].
        """
        if self.scale not in SCALES:
            raise ValueError(f"scale is {self.scale}; expected one of {SCALES}")
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}

        def conv(x, features, size, name):
            settings = {"padding": size // 2, "kernel_init": INIT, "path": self.path, **types}
            return Conv(features, size, name=name, **settings)(x)

        first = PReLU(name="first_prelu", **types)(conv((x + 1) / 2, self.width, 9, "first"))
        blocks = nn.scan(
            ResidualBlock,
            variable_axes={"params": 0, "batch_stats": 0},
            split_rngs={"params": True},
            length=self.blocks,
        )
        settings = {"path": self.path, **types}
        x, _ = blocks(self.width, self.norm, train, name="blocks", **settings)(first, None)
        x = conv(x, self.width, 3, "behind")
        if self.behind == "prelu":
            x = PReLU(name="behind_prelu", **types)(x)
        else:
            ones = nn.initializers.ones
            x = normalise(self.norm, x, train, name="behind_norm", scale_init=ones, **types)
        x = x + first
        for i in range(1, self.scale.bit_length()):
            x = pixel_shuffle(conv(x, 4 * self.width, 3, f"up_{i}"), 2)
            x = PReLU(name=f"up_{i}_prelu", **types)(x)
        x = conv(x, self.channels, 9, "last")
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        return jnp.tanh(x) if self.output == "tanh" else x
