"""Residual networks for small images: those of WGAN-GP on CIFAR-10 (Gulrajani et al. 2017,
arXiv:1704.00028, appendix) and of SNGAN (Miyato et al. 2018, arXiv:1802.05957, table 4), which
differ in width, pooling and normalisation."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.models.conditioning import (
    Conditioning,
    check_conditioning,
    judged,
    with_classes,
    with_wanted_classes,
)
from jaxgan.models.convolution import Path
from jaxgan.models.dcgan import BASE
from jaxgan.models.dcgan import doublings as dcgan_doublings
from jaxgan.models.initializers import variance_scaling
from jaxgan.models.layers import Conv, Dense, Norm, normalise

Resample = Literal["up", "down", "none"]

GLOROT = variance_scaling(1.0)
BEFORE_RELU = variance_scaling(2.0)  # as both published codes scale the 3x3 ones within blocks


def doublings(size: int) -> int:
    """How often 4 pixels are doubled to `size`.

    Raises:
      UserError: `size` is no power of two from 8 on.
    """
    return dcgan_doublings(size, "the residual networks")


def upsample(x: jax.Array) -> jax.Array:
    """Every pixel of ``[N, H, W, C]`` four times: ``[N, 2 H, 2 W, C]``."""
    n, h, w, c = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None], (n, h, 2, w, 2, c))
    return x.reshape(n, 2 * h, 2 * w, c)


def downsample(x: jax.Array) -> jax.Array:
    """Means over 2 x 2 pixels: ``[N, H, W, C]`` to ``[N, H / 2, W / 2, C]``."""
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4))


class Block(nn.Module):
    """``shortcut(x) + conv(relu(norm(conv(relu(norm(x))))))``, at another size where wanted.

    The shortcut is a 1x1 convolution where size or features change, else `x` itself.

    Attributes:
      features: of the answer.
      resample: ``up`` (before the first convolution), ``down`` (after the second) or ``none``.
      first: a discriminator's first block sees an image: no norm and no ReLU in front.
      norm: ``batch``, ``instance`` or ``none``.
      spectral: whether every kernel is spectrally normalised.
      dtype, param_dtype, path: as of `Generator`.
    """

    features: int
    resample: Resample = "none"
    first: bool = False
    norm: Norm = "none"
    spectral: bool = False
    dtype: jnp.dtype | None = None
    param_dtype: jnp.dtype = jnp.float32
    path: Path = "auto"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        layer = {"spectral": self.spectral, "path": self.path, **types}

        def conv(x, size, init, name):
            made = Conv(
                self.features, size, padding=size // 2, kernel_init=init, name=name, **layer
            )
            return made(x, train)

        y = x
        if not self.first:
            y = nn.relu(_normalised(self.norm, y, train, "norm_0", types))
        if self.resample == "up":
            y = upsample(y)
        y = conv(y, 3, BEFORE_RELU, "conv_0")
        y = nn.relu(_normalised(self.norm, y, train, "norm_1", types))
        y = conv(y, 3, BEFORE_RELU, "conv_1")
        if self.resample == "down":
            x, y = downsample(x), downsample(y)
        if self.resample != "none" or x.shape[-1] != self.features:
            # On the smaller side of the resampling, with which a 1x1 convolution commutes.
            x = conv(x, 1, GLOROT, "shortcut")
        return (upsample(x) if self.resample == "up" else x) + y


def _normalised(norm, x, train, name, types):
    return normalise(norm, x, train, name=name, scale_init=nn.initializers.ones, **types)


class Generator(nn.Module):
    """Latent vectors to images: dense to 4 x 4, a block for each doubling, a 3x3 convolution, tanh.

    Attributes:
      size: of the images, along a side: 8, 16, 32, ...
      channels: of the images.
      width: features of every layer: WGAN-GP 128, SNGAN 256.
      norm: ``batch``, ``instance`` or ``none``.
      classes: if positive, labels are given, and joined to the latents as one-hot vectors.
      dtype: of the computation; None: that of the latents and the parameters together.
      param_dtype: of the parameters.
      path: of the convolutions, see `jaxgan.models.convolution.chosen_path`.
    """

    size: int
    channels: int = 3
    width: int = 128
    norm: Norm = "batch"
    classes: int = 0
    dtype: jnp.dtype | None = None
    param_dtype: jnp.dtype = jnp.float32
    path: Path = "auto"

    @nn.compact
    def __call__(
        self, latent: jax.Array, label: jax.Array | None = None, *, train: bool
    ) -> jax.Array:
        """``[N, Z]`` to ``[N, size, size, channels]`` in [-1, 1], float32 or wider.

        Raises:
          UserError: `size` doesn't fit, see `doublings`.
          ValueError: `label` (int ``[N]``) is missing, or given for nothing.
        """
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        layer = {"kernel_init": GLOROT, **types}
        x = with_wanted_classes(latent, label, self.classes)
        x = Dense(BASE * BASE * self.width, name="dense", **layer)(x)
        x = x.reshape(-1, BASE, BASE, self.width)
        for i in range(doublings(self.size)):
            block = Block(self.width, "up", norm=self.norm, path=self.path, name=f"up_{i}", **types)
            x = block(x, train)
        x = nn.relu(_normalised(self.norm, x, train, "norm", types))
        x = Conv(self.channels, 3, padding=1, path=self.path, name="last", **layer)(x)
        return jnp.tanh(x.astype(jnp.promote_types(x.dtype, jnp.float32)))


class Discriminator(nn.Module):
    """Images to a logit: halving blocks down to 8 x 8, plain blocks, ReLU, pooling, dense.

    Attributes:
      width: features of every layer.
      blocks: plain ones, after the halving ones.
      pool: of the last features, over all pixels: ``mean`` (WGAN-GP) or ``sum`` (SNGAN).
      norm: ``none``, ``instance`` or ``batch``, in all blocks but the first; a gradient penalty
        takes no batch norm. (WGAN-GP's paper proposes layer norm; its code for CIFAR-10 has none.)
      conditioning: ``none``, ``concatenation``, ``projection`` or ``auxiliary``.
      classes: how many there are; 0 if `conditioning` is ``none``.
      spectral: whether every kernel is spectrally normalised (SNGAN).
      dtype, param_dtype, path: as of `Generator`.
    """

    width: int = 128
    blocks: int = 2
    pool: Literal["mean", "sum"] = "mean"
    norm: Norm = "none"
    conditioning: Conditioning = "none"
    classes: int = 0
    spectral: bool = False
    dtype: jnp.dtype | None = None
    param_dtype: jnp.dtype = jnp.float32
    path: Path = "auto"

    @nn.compact
    def __call__(
        self, x: jax.Array, label: jax.Array | None = None, *, train: bool
    ) -> jax.Array | tuple[jax.Array, jax.Array]:
        """``[N, H, W, C]`` in [-1, 1] to logits ``[N, 1]``, float32 or wider.

        With ``auxiliary``: to (logits, class logits ``[N, classes]``). Images of 8 pixels are
        halved once, too.

        Raises:
          UserError: the images' size doesn't fit, see `doublings`.
          ValueError: `label` (int ``[N]``) is missing, or given for nothing; `pool` is neither.
        """
        check_conditioning(self.conditioning, self.classes, label, "the discriminator")
        if self.pool not in ("mean", "sum"):
            raise ValueError(f"pool is {self.pool!r}; expected mean or sum")
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        layer = {"spectral": self.spectral, "path": self.path, **types}
        halvings = max(1, doublings(x.shape[1]) - 1)
        if self.conditioning == "concatenation":
            x = with_classes(x, label, self.classes)
        for i in range(halvings):
            norm = self.norm if i else "none"
            block = Block(self.width, "down", i == 0, norm, name=f"down_{i}", **layer)
            x = block(x, train)
        for i in range(self.blocks):
            x = Block(self.width, norm=self.norm, name=f"block_{i}", **layer)(x, train)
        x = nn.relu(x)
        x = x.mean((1, 2)) if self.pool == "mean" else x.sum((1, 2))
        return judged(
            x,
            label,
            train,
            conditioning=self.conditioning,
            classes=self.classes,
            spectral=self.spectral,
            kernel_init=GLOROT,
            **types,
        )
