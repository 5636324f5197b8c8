"""The ResNet generator of CycleGAN (Zhu et al., arXiv:1703.10593, section 4 and appendix 7.2;
after Johnson et al., arXiv:1603.08155), as the authors' PyTorch code builds it."""

import math
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.errors import UserError
from jaxgan.models.convolution import Path, chosen_path
from jaxgan.models.layers import Conv, ConvTranspose, Norm, normalise

MULTIPLE = 4  # two halvings, two doublings
UNROLLED = 512  # pixels of a batch that the blocks see, up to which weights are the greater burden


def smallest_image(padding: str = "reflect", norm: Norm = "instance") -> int:
    """The smallest height and width that the generator takes, a multiple of `MULTIPLE`.

    The residual blocks see a quarter of it: reflection needs two pixels there, and instance
    norm of one pixel is 0 whatever the image.
    """
    return 8 if padding == "reflect" or norm == "instance" else 4


class ResidualBlock(nn.Module):
    """``x + norm(conv(relu(norm(conv(x)))))``, with dropout after the first half."""

    padding: Literal["reflect", "zero"] = "reflect"
    norm: Norm = "instance"
    dropout: float = 0.0
    dtype: jnp.dtype | None = None
    param_dtype: jnp.dtype = jnp.float32
    path: Path = "auto"

    train: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, _=None) -> tuple[jax.Array, None]:
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        y = x
        for i in range(2):
            y = Conv(
                x.shape[-1],
                3,
                padding=1,
                padding_mode=self.padding,
                use_bias=self.norm != "batch",
                path=self.path,
                name=f"conv_{i}",
                **dtypes,
            )(y)
            y = normalise(self.norm, y, self.train, name=f"norm_{i}", **dtypes)
            if i == 0:
                y = nn.relu(y)
                if self.dropout:
                    y = nn.Dropout(self.dropout)(y, deterministic=not self.train)
        return x + y, None


class ResNetGenerator(nn.Module):
    """Image to image: a 7x7 convolution, two halvings, residual blocks, two doublings.

    The first and the last convolution are always padded by reflection; `padding` is that of
    the residual blocks. Convolutions before a batch norm have no bias.

    Attributes:
      channels: of the answer.
      width: features of the first layer.
      blocks: residual blocks; the authors take 6 up to 128 pixels and 9 from 256 on.
      padding: ``reflect`` or ``zero``.
      norm: ``instance``, ``batch`` or ``none``.
      dropout: share of features dropped inside the residual blocks (rng ``dropout``).
      remat: compute each residual block again in the backward pass instead of keeping its
        activations.
      dtype: of the computation; None: that of `x` and the parameters together.
      param_dtype: of the parameters.
      path: of the convolutions, see `jaxgan.models.convolution.chosen_path`.
    """

    channels: int = 3
    width: int = 64
    blocks: int = 9
    padding: Literal["reflect", "zero"] = "reflect"
    norm: Norm = "instance"
    dropout: float = 0.0
    remat: bool = False
    dtype: jnp.dtype | None = None
    param_dtype: jnp.dtype = jnp.float32
    path: Path = "auto"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """``[N, H, W, C]`` in [-1, 1] to ``[N, H, W, channels]`` in [-1, 1], float32 or wider.

        Raises:
          UserError: H or W is no multiple of 4 or below `smallest_image`.
        """
        smallest = smallest_image(self.padding, self.norm)
        if any(size % MULTIPLE or size < smallest for size in x.shape[1:3]):
            raise UserError(
                f"the ResNet generator takes images whose sides are multiples of {MULTIPLE} and"
                f" at least {smallest} pixels; these have {x.shape[1]} x {x.shape[2]}"
            )
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        conv = {"use_bias": self.norm != "batch", "path": self.path, **dtypes}

        def activate(x, name):
            return nn.relu(normalise(self.norm, x, train, name=f"{name}_norm", **dtypes))

        x = Conv(self.width, 7, padding=3, padding_mode="reflect", name="first", **conv)(x)
        x = activate(x, "first")
        for i in range(2):
            name = f"down_{i}"
            x = Conv(self.width * 2 ** (i + 1), 3, strides=2, padding=1, name=name, **conv)(x)
            x = activate(x, name)
        block = nn.remat(ResidualBlock, prevent_cse=False) if self.remat else ResidualBlock
        # Scanned, since the blocks are most of what there is to compile: parameters are stacked.
        # On the CPU and on small images, slicing them costs more than the arithmetic: unrolled.
        few = math.prod(x.shape[:3]) <= UNROLLED
        unroll = few and not self.remat and chosen_path(self.path) == "canonical"
        blocks = nn.scan(
            block,
            variable_axes={"params": 0, "batch_stats": 0},
            split_rngs={"params": True, "dropout": True},
            length=self.blocks,
            unroll=self.blocks if unroll else 1,
        )
        x, _ = blocks(
            self.padding,
            self.norm,
            self.dropout,
            path=self.path,
            train=train,
            name="blocks",
            **dtypes,
        )(x, None)
        for i in range(2):
            name = f"up_{i}"
            x = ConvTranspose(
                self.width * 2 ** (1 - i),
                3,
                strides=2,
                padding=1,
                output_padding=1,
                name=name,
                **conv,
            )(x)
            x = activate(x, name)
        x = Conv(
            self.channels,
            7,
            padding=3,
            padding_mode="reflect",
            path=self.path,
            name="last",
            **dtypes,
        )(x)
        return jnp.tanh(x.astype(jnp.promote_types(x.dtype, jnp.float32)))
