"""What networks do with classes: labels joined to an input, projection, a head of their own."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

from jaxgan.models.layers import Dense, Embed

# concatenation: one-hot maps joined to the discriminator's input (Mirza & Osindero 2014).
# projection: an inner product with the class's vector (Miyato & Koyama 2018, arXiv:1802.05637).
# auxiliary: a second head tells the class (Odena et al. 2017, arXiv:1610.09585).
Conditioning = Literal["none", "concatenation", "projection", "auxiliary"]
LABELLED = ("concatenation", "projection")
KINDS = ("none", *LABELLED, "auxiliary")


def check_label(label: jax.Array | None, wanted: bool, network: str) -> None:
    """Nothing, where a label is given as it is wanted.

    Raises:
      ValueError: it is missing, or given for nothing.
    """
    if wanted and label is None:
        raise ValueError(f"{network} needs the label, int32 [N]")
    if not wanted and label is not None:
        raise ValueError(f"{network} takes no label")


def check_conditioning(
    conditioning: Conditioning, classes: int, label: jax.Array | None, network: str
) -> None:
    """Nothing, where a discriminator's fields and its label fit together.

    Raises:
      ValueError: they don't.
    """
    if conditioning not in KINDS:
        raise ValueError(f"conditioning is {conditioning!r}; expected one of {', '.join(KINDS)}")
    if (conditioning == "none") != (classes == 0):
        raise ValueError(f"conditioning={conditioning} doesn't go with classes={classes}")
    check_label(label, conditioning in LABELLED, f"{network} with conditioning={conditioning}")


def with_classes(x: jax.Array, label: jax.Array, classes: int) -> jax.Array:
    """One-hot labels joined to the last axis.

    Args:
      x: ``[N, Z]``, or ``[N, H, W, C]``: there a class is a map of ones.
      label: int ``[N]`` below `classes`.
      classes: how many there are.

    Returns:
      ``[N, Z + classes]`` or ``[N, H, W, C + classes]``.
    """
    one_hot = jax.nn.one_hot(label, classes, dtype=x.dtype)
    one_hot = one_hot.reshape(x.shape[0], *(1,) * (x.ndim - 2), classes)
    return jnp.concatenate([x, jnp.broadcast_to(one_hot, (*x.shape[:-1], classes))], axis=-1)


def with_wanted_classes(
    latent: jax.Array, label: jax.Array | None, classes: int, network: str = "the generator"
) -> jax.Array:
    """The latents of a generator that has `classes`, joined to their labels; 0: as they are.

    Raises:
      ValueError: `label` is missing, or given for nothing.
    """
    check_label(label, classes > 0, f"{network} with classes={classes}")
    return with_classes(latent, label, classes) if classes else latent


def projected(features: jax.Array, embedded: jax.Array) -> jax.Array:
    """``<embedded, features>``, ``[N, 1]`` of two ``[N, F]`` (Miyato & Koyama 2018, equation 4)."""
    wide = jnp.promote_types(features.dtype, jnp.float32)
    return jnp.sum(embedded.astype(wide) * features.astype(wide), axis=-1, keepdims=True)


def judged(
    features: jax.Array,
    label: jax.Array | None,
    train: bool,
    *,
    conditioning: Conditioning,
    classes: int,
    spectral: bool,
    dtype: jnp.dtype | None,
    param_dtype: jnp.dtype,
    kernel_init: Callable,
) -> jax.Array | tuple[jax.Array, jax.Array]:
    """A discriminator's last features ``[N, F]`` to its answer, float32 or wider.

    To be called inside a compact Linen method; the layers are `last`, `embed`, `classes_head`.

    Returns:
      Logits ``[N, 1]``; ``auxiliary``: (logits, class logits ``[N, classes]``).
    """
    layer = {
        "spectral": spectral,
        "kernel_init": kernel_init,
        "dtype": dtype,
        "param_dtype": param_dtype,
    }
    wide = jnp.promote_types(features.dtype, jnp.float32)
    logits = Dense(1, name="last", **layer)(features, train).astype(wide)
    if conditioning == "projection":
        embed = Embed(classes, features.shape[-1], name="embed", **layer)
        logits = logits + projected(features, embed(label, train))
    if conditioning == "auxiliary":
        return logits, Dense(classes, name="classes_head", **layer)(features, train).astype(wide)
    return logits
