"""ESRGAN's generator: residual-in-residual dense blocks (Wang et al. 2018, arXiv:1809.00219)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.models.convolution import Path
from jaxgan.models.initializers import variance_scaling
from jaxgan.models.layers import Conv, leaky_relu

SCALES = (1, 2, 4, 8)
SHARE = 0.2  # of what a block adds to its input
DENSE = 3  # dense blocks in each residual one
LAYERS = 5  # convolutions in each dense block
# As published: PyTorch's own law, and a tenth of He's deviation within the blocks.
PLAIN = variance_scaling(1 / 3, "fan_in", "uniform")
SMALL = variance_scaling(0.02, "fan_in", "normal")


class ResidualInResidual(nn.Module):
    """Three dense blocks and a shortcut; in each, every layer sees the input and all before it.

    Attributes: those of `RRDBNet`.
    """

    width: int
    growth: int
    dtype: jnp.dtype | None
    param_dtype: jnp.dtype
    path: Path = "auto"

    @nn.compact
    def __call__(self, x: jax.Array, _) -> tuple[jax.Array, None]:
        """``[N, H, W, width]`` to the same, as a step of a scan."""
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype, "path": self.path}
        inner = x
        for block in range(1, DENSE + 1):
            seen = inner
            for i in range(1, LAYERS + 1):
                features = self.growth if i < LAYERS else self.width
                name = f"rdb{block}_conv{i}"
                made = Conv(features, 3, padding=1, kernel_init=SMALL, name=name, **types)(seen)
                if i < LAYERS:
                    seen = jnp.concatenate([seen, leaky_relu(made)], axis=-1)
            inner = inner + SHARE * made
        return x + SHARE * inner, None


class RRDBNet(nn.Module):
    """Small images to images `scale` times as large, without any norm.

    Attributes:
      scale: 1, 2, 4 or 8; every doubling repeats pixels and convolves.
      channels: of the images.
      width: features of the trunk.
      blocks: residual-in-residual dense blocks.
      growth: features that each layer of a dense block adds.
      remat: compute each block again in the backward pass instead of keeping its activations.
      dtype: of the computation; None: that of `x` and the parameters together.
      param_dtype: of the parameters.
      path: of the convolutions, see `jaxgan.models.convolution.chosen_path`.
    """

    scale: int = 4
    channels: int = 3
    width: int = 64
    blocks: int = 23
    growth: int = 32
    remat: bool = False
    dtype: jnp.dtype | None = None
    param_dtype: jnp.dtype = jnp.float32
    path: Path = "auto"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """``[N, H, W, C]`` in [-1, 1] to ``[N, scale H, scale W, C]``, about [-1, 1], unclipped.

        Within the network values are those of [0, 1], as published.
        """
        if self.scale not in SCALES:
            raise ValueError(f"scale is {self.scale}; expected one of {SCALES}")
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype, "path": self.path}

        def conv(x, features, name):
            return Conv(features, 3, padding=1, kernel_init=PLAIN, name=name, **types)(x)

        first = conv((x + 1) / 2, self.width, "conv_first")
        block = ResidualInResidual
        if self.remat:
            block = nn.remat(block, prevent_cse=False)
        # Scanned, since the blocks are nearly all that there is to compile: parameters are stacked.
        blocks = nn.scan(
            block, variable_axes={"params": 0}, split_rngs={"params": True}, length=self.blocks
        )
        x, _ = blocks(self.width, self.growth, name="blocks", **types)(first, None)
        x = first + conv(x, self.width, "conv_body")
        for i in range(1, self.scale.bit_length()):
            x = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
            x = leaky_relu(conv(x, self.width, f"conv_up{i}"))
        x = conv(leaky_relu(conv(x, self.width, "conv_hr")), self.channels, "conv_last")
        return 2 * x.astype(jnp.promote_types(x.dtype, jnp.float32)) - 1
