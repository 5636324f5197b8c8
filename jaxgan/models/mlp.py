"""Multilayer perceptrons: the first GAN (Goodfellow et al. 2014, arXiv:1406.2661), its widespread
form on MNIST, points in the plane, and the conditional GAN (Mirza & Osindero 2014,
arXiv:1411.1784)."""

import math
from collections.abc import Callable
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.errors import UserError
from jaxgan.models.conditioning import (
    Conditioning,
    check_conditioning,
    check_label,
    judged,
    with_classes,
    with_wanted_classes,
)
from jaxgan.models.initializers import variance_scaling
from jaxgan.models.layers import Dense, leaky_relu, normalise

Activation = Literal["leaky_relu", "relu"]
Output = Literal["tanh", "sigmoid", "linear"]
Norm = Literal["batch", "none"]

ACTIVATIONS = {"leaky_relu": leaky_relu, "relu": nn.relu}
OUTPUTS = {
    "tanh": jnp.tanh,
    "sigmoid": lambda x: jnp.tanh(x / 2),  # 2 sigmoid(x) - 1, since images are in [-1, 1]
    "linear": lambda x: x,
}


def maxout(x: jax.Array, pieces: int) -> jax.Array:
    """The largest of each unit's pieces (Goodfellow et al. 2013, arXiv:1302.4389):
    ``[N, units * pieces]`` to ``[N, units]``."""
    return x.reshape(x.shape[0], -1, pieces).max(-1)


def _named(table: dict[str, Callable], field: str, name: str) -> Callable:
    if name not in table:
        raise ValueError(f"{field} is {name!r}; expected one of {', '.join(table)}")
    return table[name]


def _check_norm(norm: Norm) -> None:
    if norm == "instance":
        raise UserError(
            "an MLP has no pixels to take instance norm over; its norm is batch or none"
        )


class Generator(nn.Module):
    """Latent vectors to images or points.

    The defaults are the widespread form on MNIST without its batch norms. The paper's:
    ``widths=(1200, 1200), activation="relu", output="sigmoid", kernel_init=uniform(0.05)``.

    Attributes:
      shape: of one answer: (28, 28, 1), (2,), ...
      widths: of the hidden layers.
      norm: ``batch`` or ``none``, after every hidden layer but the first.
      activation: ``leaky_relu`` (of slope 0.2) or ``relu``.
      output: ``tanh``, ``sigmoid`` (scaled to [-1, 1]) or ``linear``.
      classes: if positive, labels are given, and joined to the latents as one-hot vectors.
      kernel_init: Glorot's by default.
      dtype: of the computation; None: that of the latents and the parameters together.
      param_dtype: of the parameters.
    """

    shape: tuple[int, ...]
    widths: tuple[int, ...] = (256, 512, 1024)
    norm: Norm = "none"
    activation: Activation = "leaky_relu"
    output: Output = "tanh"
    classes: int = 0
    kernel_init: Callable = variance_scaling()
    dtype: jnp.dtype | None = None
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, latent: jax.Array, label: jax.Array | None = None, *, train: bool
    ) -> jax.Array:
        """``[N, Z]`` to ``[N, *shape]``, in [-1, 1] unless `output` is linear, float32 or wider.

        Raises:
          UserError: `norm` is instance.
          ValueError: `label` (int ``[N]``) is missing, or given for nothing.
        """
        _check_norm(self.norm)
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        layer = {"kernel_init": self.kernel_init, **types}
        activate = _named(ACTIVATIONS, "activation", self.activation)
        x = with_wanted_classes(latent, label, self.classes)
        for i, width in enumerate(self.widths):
            x = Dense(width, name=f"dense_{i}", **layer)(x)
            if i:
                x = normalise(self.norm, x, train, name=f"norm_{i}", **types)
            x = activate(x)
        x = Dense(math.prod(self.shape), name="last", **layer)(x)
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        return _named(OUTPUTS, "output", self.output)(x).reshape(-1, *self.shape)


class Discriminator(nn.Module):
    """Images or points to a logit.

    The defaults are the widespread form on MNIST. The paper's: ``widths=(240, 240), maxout=5,
    input_dropout=0.2, dropout=0.5, kernel_init=uniform(0.005)``.

    Attributes:
      widths: of the hidden layers.
      activation: ``leaky_relu`` (of slope 0.2) or ``relu``; without meaning if `maxout`.
      maxout: pieces of each hidden unit, of which the largest counts; 0: `activation`.
      norm: ``batch`` or ``none``, after every hidden layer but the first; a gradient penalty takes
        no batch norm.
      dropout: share of hidden units dropped in training (rng ``dropout``).
      input_dropout: share of pixels.
      conditioning: ``none``, ``concatenation``, ``projection`` or ``auxiliary``.
      classes: how many there are; 0 if `conditioning` is ``none``.
      spectral: whether every kernel is spectrally normalised.
      kernel_init, dtype, param_dtype: as of `Generator`.
    """

    widths: tuple[int, ...] = (512, 256)
    activation: Activation = "leaky_relu"
    maxout: int = 0
    norm: Norm = "none"
    dropout: float = 0.0
    input_dropout: float = 0.0
    conditioning: Conditioning = "none"
    classes: int = 0
    spectral: bool = False
    kernel_init: Callable = variance_scaling()
    dtype: jnp.dtype | None = None
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: jax.Array, label: jax.Array | None = None, *, train: bool
    ) -> jax.Array | tuple[jax.Array, jax.Array]:
        """``[N, H, W, C]`` or ``[N, D]`` to logits ``[N, 1]``, float32 or wider.

        With ``auxiliary``: to (logits, class logits ``[N, classes]``).

        Raises:
          UserError: `norm` is instance.
          ValueError: `label` (int ``[N]``) is missing, or given for nothing.
        """
        _check_norm(self.norm)
        check_conditioning(self.conditioning, self.classes, label, "the discriminator")
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        layer = {"spectral": self.spectral, "kernel_init": self.kernel_init, **types}
        activate = _named(ACTIVATIONS, "activation", self.activation)
        x = _dropped(self.input_dropout, x.reshape(x.shape[0], -1), train)
        if self.conditioning == "concatenation":
            x = with_classes(x, label, self.classes)
        for i, width in enumerate(self.widths):
            x = Dense(width * max(1, self.maxout), name=f"dense_{i}", **layer)(x, train)
            if i:
                x = normalise(self.norm, x, train, name=f"norm_{i}", **types)
            x = maxout(x, self.maxout) if self.maxout else activate(x)
            x = _dropped(self.dropout, x, train)
        conditioned = {"conditioning": self.conditioning, "classes": self.classes}
        return judged(x, label, train, **conditioned, **layer)


def _dropped(rate: float, x: jax.Array, train: bool) -> jax.Array:
    return nn.Dropout(rate)(x, deterministic=not train) if rate else x


class ConditionalGenerator(nn.Module):
    """The conditional GAN's: latent and label each through a layer, then through a joint one.

    Attributes:
      shape: of one answer: (28, 28, 1), ...
      classes: how many there are.
      widths: of the layers of the latent, of the label, and of both.
      dropout: share of hidden units dropped in training (rng ``dropout``).
      output, kernel_init, dtype, param_dtype: as of `Generator`.
    """

    shape: tuple[int, ...]
    classes: int
    widths: tuple[int, int, int] = (200, 1000, 1200)
    dropout: float = 0.5
    output: Output = "sigmoid"
    kernel_init: Callable = variance_scaling()
    dtype: jnp.dtype | None = None
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, latent: jax.Array, label: jax.Array | None = None, *, train: bool
    ) -> jax.Array:
        """``[N, Z]`` and int ``[N]`` to ``[N, *shape]`` in [-1, 1], float32 or wider.

        Raises:
          ValueError: `label` is missing.
        """
        check_label(label, True, "the conditional generator")
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}

        def hidden(x, width, name):
            layer = Dense(width, kernel_init=self.kernel_init, name=name, **types)
            return _dropped(self.dropout, nn.relu(layer(x)), train)

        one_hot = jax.nn.one_hot(label, self.classes, dtype=latent.dtype)
        parts = (hidden(latent, self.widths[0], "latent"), hidden(one_hot, self.widths[1], "label"))
        x = hidden(jnp.concatenate(parts, axis=-1), self.widths[2], "joint")
        x = Dense(math.prod(self.shape), kernel_init=self.kernel_init, name="last", **types)(x)
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        return _named(OUTPUTS, "output", self.output)(x).reshape(-1, *self.shape)


class ConditionalDiscriminator(nn.Module):
    """The conditional GAN's: image and label each through a maxout layer, then a joint one.

    Attributes:
      classes: how many there are.
      widths: units of the layers of the image, of the label, and of both.
      pieces: of their units.
      dropout: share of hidden units dropped in training (rng ``dropout``).
      spectral, kernel_init, dtype, param_dtype: as of `Discriminator`.
    """

    classes: int
    widths: tuple[int, int, int] = (240, 50, 240)
    pieces: tuple[int, int, int] = (5, 5, 4)
    dropout: float = 0.5
    spectral: bool = False
    kernel_init: Callable = variance_scaling()
    dtype: jnp.dtype | None = None
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, label: jax.Array | None = None, *, train: bool) -> jax.Array:
        """``[N, H, W, C]`` or ``[N, D]``, and int ``[N]``, to logits ``[N, 1]``, float32 or wider.

        Raises:
          ValueError: `label` is missing.
        """
        check_label(label, True, "the conditional discriminator")
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        layer = {"spectral": self.spectral, "kernel_init": self.kernel_init, **types}

        def hidden(x, i, name):
            units = Dense(self.widths[i] * self.pieces[i], name=name, **layer)(x, train)
            return _dropped(self.dropout, maxout(units, self.pieces[i]), train)

        one_hot = jax.nn.one_hot(label, self.classes, dtype=x.dtype)
        parts = hidden(x.reshape(x.shape[0], -1), 0, "image"), hidden(one_hot, 1, "label")
        x = hidden(jnp.concatenate(parts, axis=-1), 2, "joint")
        return judged(x, None, train, conditioning="none", classes=0, **layer)
