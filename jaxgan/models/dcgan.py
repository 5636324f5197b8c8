"""DCGAN's networks (Radford, Metz, Chintala 2016, arXiv:1511.06434, section 3): all convolutional,
doubling or halving the size in each layer, from 4 x 4 pixels at the narrow end."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.errors import UserError
from jaxgan.models.conditioning import (
    Conditioning,
    check_conditioning,
    projected,
    with_classes,
    with_wanted_classes,
)
from jaxgan.models.convolution import Path
from jaxgan.models.layers import (
    Conv,
    ConvTranspose,
    Embed,
    Norm,
    leaky_relu,
    normalise,
    with_spread,
)

BASE = 4  # pixels at the narrow end


def doublings(size: int, networks: str = "DCGAN's networks") -> int:
    """How often 4 pixels are doubled to `size`; `networks` is who asks.

    Raises:
      UserError: `size` is no power of two from 8 on.
    """
    count = int(math.log2(size / BASE)) if size > 0 else 0
    if count < 1 or BASE * 2**count != size:
        fits = BASE * 2 ** max(1, round(math.log2(max(size, 1) / BASE)))
        raise UserError(
            f"data.image_size={size} doesn't fit {networks}, which take 8, 16, 32, 64, ...; "
            f"try --config.data.image_size={fits}"
        )
    return count


class Generator(nn.Module):
    """Latent vectors to images: transposed 4x4 convolutions, batch norm, ReLU; tanh at the end.

    Attributes:
      size: of the images, along a side: 8, 16, 32, ...
      channels: of the images.
      width: features of the last hidden layer; each one before has twice as many.
      norm: ``batch``, ``instance`` or ``none``, after all layers but the last.
      dtype: of the computation; None: that of the latents and the parameters together.
      param_dtype: of the parameters.
      path: of the convolutions, see `jaxgan.models.convolution.chosen_path`.
      classes: if positive, labels are given, and joined to the latents as one-hot vectors.
    """

    size: int
    channels: int = 3
    width: int = 64
    norm: Norm = "batch"
    dtype: jnp.dtype | None = None
    param_dtype: jnp.dtype = jnp.float32
    path: Path = "auto"
    classes: int = 0

    @nn.compact
    def __call__(
        self, latent: jax.Array, label: jax.Array | None = None, *, train: bool
    ) -> jax.Array:
        """``[N, Z]`` to ``[N, size, size, channels]`` in [-1, 1], float32 or wider.

        Raises:
          UserError: `size` doesn't fit, see `doublings`.
          ValueError: `label` (int ``[N]``) is missing, or given for nothing.
        """
        latent = with_wanted_classes(latent, label, self.classes)
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        layer = {"use_bias": self.norm != "batch", "path": self.path, **types}
        count = doublings(self.size)
        x = latent[:, None, None, :]
        for i in range(count):
            features = self.width * 2 ** (count - 1 - i)
            step = {} if i == 0 else {"strides": 2, "padding": 1}
            x = ConvTranspose(features, BASE, name=f"conv_{i}", **step, **layer)(x)
            x = nn.relu(normalise(self.norm, x, train, name=f"norm_{i}", **types))
        x = ConvTranspose(
            self.channels, 4, strides=2, padding=1, path=self.path, name="last", **types
        )(x)
        return jnp.tanh(x.astype(jnp.promote_types(x.dtype, jnp.float32)))


class Discriminator(nn.Module):
    """Images to a logit: 4x4 convolutions of stride 2, batch norm but in the first, leaky ReLU.

    Attributes:
      width: features of the first layer; each one after has twice as many.
      norm: ``batch``, ``instance`` or ``none``; a gradient penalty takes no batch norm.
      dtype, param_dtype, path: as of `Generator`.
      conditioning: ``none``, ``concatenation``, ``projection`` or ``auxiliary``.
      classes: how many there are; 0 if `conditioning` is ``none``.
      spectral: whether every kernel is spectrally normalised.
      spread: whether the last layers see how far the batch spreads, see `layers.with_spread`.
    """

    width: int = 64
    norm: Norm = "batch"
    dtype: jnp.dtype | None = None
    param_dtype: jnp.dtype = jnp.float32
    path: Path = "auto"
    conditioning: Conditioning = "none"
    classes: int = 0
    spectral: bool = False
    spread: bool = False

    @nn.compact
    def __call__(
        self, x: jax.Array, label: jax.Array | None = None, *, train: bool
    ) -> jax.Array | tuple[jax.Array, jax.Array]:
        """``[N, H, W, C]`` in [-1, 1] to logits ``[N, 1]``, float32 or wider.

        With ``auxiliary``: to (logits, class logits ``[N, classes]``). The projection is of the
        last features, summed over their 4 x 4 pixels.

        Raises:
          UserError: the images' size doesn't fit, see `doublings`.
          ValueError: `label` (int ``[N]``) is missing, or given for nothing.
        """
        check_conditioning(self.conditioning, self.classes, label, "the discriminator")
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        layer = {"path": self.path, "spectral": self.spectral, **types}
        if self.conditioning == "concatenation":
            x = with_classes(x, label, self.classes)
        for i in range(doublings(x.shape[1])):
            x = Conv(
                self.width * 2**i,
                4,
                strides=2,
                padding=1,
                use_bias=i == 0 or self.norm != "batch",
                name=f"conv_{i}",
                **layer,
            )(x, train)
            if i:
                x = normalise(self.norm, x, train, name=f"norm_{i}", **types)
            x = leaky_relu(x)

        seen = with_spread(x) if self.spread else x

        def head(features, name):
            y = Conv(features, BASE, name=name, **layer)(seen, train)
            return y.reshape(y.shape[0], -1).astype(jnp.promote_types(y.dtype, jnp.float32))

        logits = head(1, "last")
        if self.conditioning == "projection":
            embed = Embed(self.classes, x.shape[-1], spectral=self.spectral, name="embed", **types)
            summed = x.astype(logits.dtype).sum((1, 2))
            logits = logits + projected(summed, embed(label, train))
        if self.conditioning == "auxiliary":
            return logits, head(self.classes, "classes_head")
        return logits
