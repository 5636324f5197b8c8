"""The U-Net of pix2pix (Isola et al. 2017, arXiv:1611.07004, section 6.1.1), as the authors'
PyTorch code builds it: halvings down to one pixel, doublings back, and each halving's features
beside those of the doubling of the same size."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.errors import UserError
from jaxgan.models.convolution import Path
from jaxgan.models.layers import Conv, ConvTranspose, Norm, leaky_relu, normalise

WIDEST = 8  # features of the innermost layers, in widths


def dropped(levels: int, where: Literal["published", "paper"]) -> tuple[int, ...]:
    """The doublings that dropout follows, counted from the innermost (0).

    As published: the blocks of full width around the innermost, `levels - 5` of them. In the paper
    (and its Lua code): the three innermost.
    """
    if where == "paper":
        return tuple(range(min(3, levels - 1)))
    return tuple(range(1, max(levels - 4, 1)))


class UNetGenerator(nn.Module):
    """Images to images of the same size: 4x4 convolutions of stride 2, and their transposes.

    Attributes:
      levels: halvings; images are multiples of 2 ** levels along each side.
      channels: of the answer.
      width: features after the first halving; doubled at most three times.
      norm: ``batch``, ``instance`` or ``none``; not on the outermost and innermost halvings.
      dropout: share of features that are dropped, after the doublings of `dropped`; 0: none.
      dropout_where: see `dropped`.
      dtype: of the computation; None: that of `x` and the parameters together.
      param_dtype: of the parameters.
      path: of the convolutions, see `jaxgan.models.convolution.chosen_path`.
    """

    levels: int = 8
    channels: int = 3
    width: int = 64
    norm: Norm = "batch"
    dropout: float = 0.5
    dropout_where: Literal["published", "paper"] = "published"
    dtype: jnp.dtype | None = None
    param_dtype: jnp.dtype = jnp.float32
    path: Path = "auto"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """``[N, H, W, C]`` in [-1, 1] to ``[N, H, W, channels]`` in [-1, 1], float32 or wider.

        With `train`, dropout draws from the key ``dropout``.

        Raises:
          UserError: H or W is no multiple of 2 ** levels.
        """
        multiple = 2**self.levels
        if x.shape[1] % multiple or x.shape[2] % multiple:
            raise UserError(
                f"a U-Net of {self.levels} levels takes images whose sides are multiples of "
                f"{multiple}; these have {x.shape[1]} x {x.shape[2]}"
            )
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        step = {"strides": 2, "padding": 1, "path": self.path, **types}
        use_bias = self.norm != "batch"
        last = self.levels - 1
        skipped = []
        for i in range(self.levels):
            features = self.width * min(2**i, WIDEST)
            x = leaky_relu(x) if i else x
            x = Conv(features, 4, use_bias=use_bias, name=f"down_{i}", **step)(x)
            if 0 < i < last:
                x = normalise(self.norm, x, train, name=f"down_{i}_norm", **types)
            skipped.append(x)
        x = skipped.pop()
        for i in range(last, 0, -1):
            features = self.width * min(2 ** (i - 1), WIDEST)
            x = ConvTranspose(features, 4, use_bias=use_bias, name=f"up_{i}", **step)(nn.relu(x))
            x = normalise(self.norm, x, train, name=f"up_{i}_norm", **types)
            if self.dropout and last - i in dropped(self.levels, self.dropout_where):
                x = nn.Dropout(self.dropout, deterministic=not train)(x)
            x = jnp.concatenate([skipped.pop(), x], axis=-1)
        x = ConvTranspose(self.channels, 4, name="up_0", **step)(nn.relu(x))
        return jnp.tanh(x.astype(jnp.promote_types(x.dtype, jnp.float32)))
