"""VGG-19's convolutions (Simonyan & Zisserman 2015, arXiv:1409.1556), for perceptual losses.

A layer is named as in the papers: conv5_4 is the fourth convolution after the fourth pooling. What
it gives is taken before its ReLU (ESRGAN) or, as `relu5_4`, behind it (SRGAN).
"""

from collections.abc import Collection, Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.errors import UserError
from jaxgan.models.convolution import Path
from jaxgan.models.layers import Conv

WIDTHS = (64, 128, 256, 512, 512)  # of the five groups, between which pixels are pooled
DEPTHS = (2, 2, 4, 4, 4)
# ImageNet's, of values in [0, 1].
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CONVOLUTIONS = tuple(f"conv{i + 1}_{j + 1}" for i, n in enumerate(DEPTHS) for j in range(n))
# Among torchvision's `features`: with a ReLU behind each and a pooling behind each group.
NUMBERS = {name: 2 * i + int(name[4]) - 1 for i, name in enumerate(CONVOLUTIONS)}
LAYERS = (*CONVOLUTIONS, *(name.replace("conv", "relu") for name in CONVOLUTIONS))


class VGG19(nn.Module):
    """Images to features of named layers.

    Attributes:
      layers: names of `LAYERS`; nothing is computed behind the last of them.
      dtype: of the computation; None: that of `x` and the parameters together.
      param_dtype: of the parameters.
      path: of the convolutions, see `jaxgan.models.convolution.chosen_path`.
    """

    layers: Sequence[str]
    dtype: jnp.dtype | None = None
    param_dtype: jnp.dtype = jnp.float32
    path: Path = "auto"

    @nn.compact
    def __call__(self, x: jax.Array) -> dict[str, jax.Array]:
        """``[N, H, W, 3]`` in [-1, 1] to name -> ``[N, h, w, features]``.

        Raises:
          ValueError: for a layer that there isn't, or images that pooling leaves nothing of.
        """
        unknown = sorted(set(self.layers) - set(LAYERS))
        if unknown or not self.layers:
            raise ValueError(f"VGG-19 has no layers {unknown}; it has {', '.join(CONVOLUTIONS)}")
        wanted, found = set(self.layers), {}
        mean, deviation = (
            jnp.asarray(values, x.dtype).reshape(1, 1, 1, 3) for values in (MEAN, DEVIATION)
        )
        x = ((x + 1) / 2 - mean) / deviation
        for name in CONVOLUTIONS:
            group, layer = int(name[4]) - 1, int(name[6])
            if group and layer == 1:
                x = nn.max_pool(x, (2, 2), (2, 2))
            x = Conv(
                WIDTHS[group],
                3,
                padding=1,
                dtype=self.dtype,
                param_dtype=self.param_dtype,
                path=self.path,
                name=name,
            )(x)
            for here, value in ((name, x), (name.replace("conv", "relu"), nn.relu(x))):
                if here in wanted:
                    found[here] = value
            if set(found) == wanted:
                break
            x = nn.relu(x)
        return found


def needed(layers: Collection[str]) -> tuple[str, ...]:
    """The convolutions that it takes to compute layers."""
    last = max(CONVOLUTIONS.index(name.replace("relu", "conv")) for name in layers)
    return CONVOLUTIONS[: last + 1]


def from_published(
    arrays: Mapping[str, np.ndarray], convolutions: Collection[str] = CONVOLUTIONS
) -> dict[str, dict]:
    """torchvision's state dict of VGG-19 (its `features.*`; `classifier.*` isn't needed).

    Kernels [3, 3, in, out] and biases by this project's names, `conv1_1.kernel`, are taken as well.

    Args:
      arrays: by torchvision's names.
      convolutions: those that are taken.

    Raises:
      UserError: for arrays that are something else.
    """
    params = {}
    for name in convolutions:
        number, shape = NUMBERS[name], (3, 3, *_channels(name))
        kernel, bias = arrays.get(f"{name}.kernel"), arrays.get(f"{name}.bias")
        if kernel is None:
            kernel, bias = (arrays.get(f"features.{number}.{x}") for x in ("weight", "bias"))
            kernel = None if kernel is None else np.asarray(kernel)
            if kernel is not None and kernel.ndim == 4:
                kernel = kernel.transpose(2, 3, 1, 0)
        if kernel is None or bias is None:
            raise UserError(f"no VGG-19 of torchvision's: features.{number} is missing")
        if kernel.shape != shape:
            raise UserError(
                f"no VGG-19 of torchvision's: features.{number} is {list(kernel.shape)} where "
                f"{list(shape)} is expected"
            )
        params[name] = {"kernel": kernel, "bias": np.asarray(bias)}
    return {"params": params}


def _channels(name: str) -> tuple[int, int]:
    group, layer = int(name[4]) - 1, int(name[6])
    before = WIDTHS[group] if layer > 1 else (WIDTHS[group - 1] if group else 3)
    return before, WIDTHS[group]


def random_arrays(convolutions: Collection[str] = CONVOLUTIONS) -> dict[str, np.ndarray]:
    """Fixed random weights by torchvision's names: a weak stand-in where no trained ones are there.

    They are drawn by a rule, the same everywhere: array i by name is drawn from
    `numpy.random.RandomState(i)`, kernels with He's deviation, biases with 0.1.
    """
    shapes = {}
    for name, number in NUMBERS.items():
        before, features = _channels(name)
        shapes[f"features.{number}.weight"] = (features, before, 3, 3)
        shapes[f"features.{number}.bias"] = (features,)
    arrays, wanted = {}, {NUMBERS[name] for name in convolutions}
    for i, (name, shape) in enumerate(sorted(shapes.items())):
        if int(name.split(".")[1]) not in wanted:
            continue
        draw = np.random.RandomState(i).randn(*shape)
        scale = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1
        arrays[name] = (draw * scale).astype(np.float32)
    return arrays
