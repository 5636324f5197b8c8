"""Distances between what a frozen network sees in two images (Johnson et al. 2016, SRGAN)."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax import linen as nn

from jaxgan.errors import UserError
from jaxgan.models.vgg import CONVOLUTIONS, LAYERS

NETWORK = "vgg19"  # its variables' name among a run's constants


def perceptual(
    network: nn.Module,
    layers: Mapping[str, float],
    distance: Callable[[jax.Array, jax.Array], jax.Array],
    rescale: float = 1.0,
) -> Callable[[jax.Array, jax.Array, Any], jax.Array]:
    """Of features, the weighted sum over layers.

    Args:
      network: module that gives name -> features, `jaxgan.models.vgg.VGG19`.
      layers: name -> weight.
      distance: of features: `reconstruction.l2` (SRGAN, eq. 5) or `l1` (ESRGAN, section 3.3).
      rescale: what features are multiplied by; SRGAN: 1/12.75, so that their squared distance is
        about as large as that of the pixels.

    Returns:
      A function (fake, truth [N, H, W, 3] in [-1, 1], constants) -> a scalar.
    """

    def of_images(fake, truth, constants):
        variables = constants[NETWORK]
        made = network.apply(variables, fake)
        wanted = jax.lax.stop_gradient(network.apply(variables, truth))
        return sum(
            weight * distance(rescale * made[name], rescale * wanted[name])
            for name, weight in layers.items()
        )

    return of_images


def read_layers(text: str) -> dict[str, float]:
    """`relu5_4`, or `relu2_2:0.5,relu5_4:1`: layers and their weights, 1 where none is given.

    Raises:
      UserError: for names that VGG-19 hasn't, or weights that are none.
    """
    layers: dict[str, float] = {}
    for word in filter(None, (word.strip() for word in text.split(","))):
        name, _, weight = word.partition(":")
        if name in layers:
            raise UserError(f"loss.perceptual.layers={text} names {name} twice")
        try:
            layers[name] = float(weight or 1)
        except ValueError:
            layers[name] = 0.0
        if name not in LAYERS or not 0 < layers[name] < float("inf"):
            raise UserError(
                f"loss.perceptual.layers={text}: {word} is no layer of VGG-19 with a weight above "
                f"0; there is {', '.join(CONVOLUTIONS)}, and relu1_1 to relu5_4 behind them, as in "
                "relu2_2:0.5,relu5_4"
            )
    if not layers:
        raise UserError("loss.perceptual.layers names no layer; try relu5_4, or conv5_4")
    return layers
