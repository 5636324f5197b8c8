"""DCGANs of others' PyTorch code, by name: state dicts, as NumPy arrays, to `dcgan.py` and back.

`NAMES` says how codes name their layers; sizes, widths and norms are read off the arrays. What all
of them share with the networks here: 4 x 4 convolutions throughout, from or to 4 x 4 pixels without
padding, the others of stride 2 and padding 1; ReLU and tanh in the generator, leaky ReLU (0.2) in
the discriminator; batch norm with epsilon 1e-5; images in [-1, 1]. Of that the arrays show the
kernels alone: another slope or range would pass unseen.

Three things differ from code to code, none of them in what is computed:

- A bias before a batch norm is taken off its running mean: the same in evaluation up to rounding,
  and in training the norm takes it off anyway. Networks here have none there.
- Where a layer has no bias that has one here, it becomes 0.
- A norm that leaves no arrays (instance norm without weights) shows in an `nn.Sequential` alone,
  by the position that it takes; elsewhere the network counts as one without norms.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxgan.errors import UserError
from jaxgan.models.dcgan import BASE
from jaxgan.models.published import Arrays, Variables, listed

SEQUENTIAL = "nn.Sequential"
NORM = ("weight", "bias", "running_mean", "running_var")


class Names(NamedTuple):
    """How a code names the layers of its networks.

    Attributes:
      generator, discriminator: (i, last) -> the names of convolution i, counted from 0, and of the
        norm after it ("" for none), where convolution `last` is the last one. Norms after the last
        one and after the discriminator's first one are never asked for.
    """

    generator: Callable[[int, int], tuple[str, str]]
    discriminator: Callable[[int, int], tuple[str, str]]


class Layer(NamedTuple):
    """A convolution and the norm after it: its place here, and names there ("" for no norm)."""

    place: str
    convolution: str
    norm: str


# To read another code, add a row. A beginning that all names share (`main.`, `module.gen.`) is
# left out here.
NAMES = {
    SEQUENTIAL: Names(  # PyTorch's examples and tutorial; what is exported from here
        lambda i, last: (f"{3 * i}", f"{3 * i + 1}"),
        lambda i, last: (f"{max(3 * i - 1, 0)}", f"{3 * i}"),
    ),
    "nn.Sequential without norms": Names(
        lambda i, last: (f"{2 * i}", ""),
        lambda i, last: (f"{2 * i}", ""),
    ),
    "deconv1, deconv1_bn": Names(  # znxlwm/pytorch-MNIST-CelebA-GAN-DCGAN
        lambda i, last: (f"deconv{i + 1}", f"deconv{i + 1}_bn"),
        lambda i, last: (f"conv{i + 1}", f"conv{i + 1}_bn"),
    ),
    "tconv1, bn1": Names(  # Natsu6767/DCGAN-PyTorch
        lambda i, last: (f"tconv{i + 1}", f"bn{i + 1}"),
        lambda i, last: (f"conv{i + 1}", f"bn{i + 1}"),
    ),
    "blocks": Names(  # Lightning Bolts
        lambda i, last: (f"{i}.0", f"{i}.1"),
        lambda i, last: (f"{i}.0", f"{i}.1"),
    ),
    "blocks between bare layers": Names(  # aladdinpersson/Machine-Learning-Collection
        lambda i, last: (f"{i}", "") if i == last else (f"{i}.0", f"{i}.1"),
        lambda i, last: (
            ("0" if i == 0 else f"{i + 1}", "") if i in (0, last) else (f"{i + 1}.0", f"{i + 1}.1")
        ),
    ),
}


def dcgan_generator_from_published(arrays: Arrays) -> tuple[dict[str, Any], Variables]:
    """A DCGAN's generator to (arguments of `dcgan.Generator`, its variables).

    The latent's size is `latent_size` of the variables.

    Raises:
      UserError: names are unknown or missing, kernels aren't 4 x 4, or widths don't double.
    """
    norm, hidden, variables = _from_published(arrays, "generator")
    arguments = {
        "size": BASE * 2 ** len(hidden),
        "channels": variables["params"]["last"]["kernel"].shape[2],
        "width": hidden[-1],
        "norm": norm,
    }
    return arguments, variables


def dcgan_discriminator_from_published(arrays: Arrays) -> tuple[dict[str, Any], Variables]:
    """A DCGAN's discriminator to (arguments of `dcgan.Discriminator`, its variables).

    The images that it takes are told by `image_shape` of the variables.

    Raises:
      UserError: as `dcgan_generator_from_published`.
    """
    norm, hidden, variables = _from_published(arrays, "discriminator")
    return {"width": hidden[0], "norm": norm}, variables


def latent_size(variables: Variables) -> int:
    """Numbers of noise that a generator's variables take for each image."""
    return variables["params"]["conv_0"]["kernel"].shape[3]


def image_shape(variables: Variables) -> tuple[int, int]:
    """(size, channels) of the images that a discriminator's variables take."""
    params = variables["params"]
    return BASE * 2 ** (len(_convolutions(params)) - 1), params["conv_0"]["kernel"].shape[2]


def dcgan_generator_to_published(variables: Variables, norm: str) -> dict[str, np.ndarray]:
    """The variables of a `dcgan.Generator` under the names of an `nn.Sequential`.

    Raises:
      UserError: it has more than a DCGAN's layers.
    """
    return _to_published(variables, norm, "generator")


def dcgan_discriminator_to_published(variables: Variables, norm: str) -> dict[str, np.ndarray]:
    """The variables of a `dcgan.Discriminator` under the names of an `nn.Sequential`.

    Raises:
      UserError: it has more than a DCGAN's layers.
    """
    return _to_published(variables, norm, "discriminator")


def _from_published(arrays: Arrays, network: str) -> tuple[str, list[int], Variables]:
    """(norm, features of the hidden layers, variables)."""
    try:
        return _read(_without_prefix(arrays), network)
    except UserError as error:
        raise UserError(f"no published DCGAN {network}: {error}") from None


def _read(arrays: dict[str, np.ndarray], network: str) -> tuple[str, list[int], Variables]:
    layers, gaps = _layers(arrays, network)
    features = _features(arrays, [layer.convolution for layer in layers], network)
    norms = [layer.norm for layer in layers if layer.norm]
    norm = "instance" if gaps and norms else "none"
    if any(f"{name}.running_mean" in arrays for name in norms):
        norm = "batch"
    elif any(f"{name}.weight" in arrays for name in norms):
        raise UserError(
            "its norms have weights and no running statistics (instance norm with affine=True), "
            "which the networks here don't have"
        )
    params, stats, used = {}, {}, set()
    for layer, count in zip(layers, features, strict=True):
        used |= {f"{layer.convolution}.weight", f"{layer.convolution}.bias"}
        kernel, bias = (arrays.get(f"{layer.convolution}.{leaf}") for leaf in ("weight", "bias"))
        params[layer.place] = {"kernel": kernel.transpose(2, 3, 1, 0)}
        if not (layer.norm and norm == "batch"):
            bias = np.zeros(count, kernel.dtype) if bias is None else bias
            params[layer.place]["bias"] = bias
            continue
        leaves = {leaf: f"{layer.norm}.{leaf}" for leaf in NORM}
        _require(leaves.values(), arrays)
        used |= {*leaves.values(), f"{layer.norm}.num_batches_tracked"}
        scale, shift, mean, var = (arrays[name] for name in leaves.values())
        place = layer.place.replace("conv", "norm")
        params[place] = {"scale": scale, "bias": shift}
        stats[place] = {"mean": mean if bias is None else mean - bias, "var": var}
    unknown = sorted(set(arrays) - used)
    if unknown:
        raise UserError(f"unknown {listed(unknown)}")
    return norm, features[:-1], {"params": params} | ({"batch_stats": stats} if stats else {})


def _layers(arrays: Arrays, network: str) -> tuple[list[Layer], bool]:
    """All layers, and whether a norm without arrays would have left a gap in the names.

    Raises:
      UserError: names like those are in no row of `NAMES`, or a convolution is missing.
    """
    last = sum(np.ndim(array) == 4 for array in arrays.values()) - 1
    if last < 1:
        raise UserError("it should have two convolutions or more, with kernels of four axes")
    places = [*(f"conv_{i}" for i in range(last)), "last"]
    rows = {}
    for code, names in NAMES.items():
        named = [getattr(names, network)(i, last) for i in range(last + 1)]
        rows[code] = [Layer(p, *pair) for p, pair in zip(places, named, strict=True)]
        rows[code] = [layer._replace(norm=_norm(layer, network)) for layer in rows[code]]

    def fit(code: str) -> tuple[int, int]:
        # Some codes name convolutions alike and norms differently.
        count = sum(f"{layer.convolution}.weight" in arrays for layer in rows[code])
        return count, sum(f"{layer.norm}.weight" in arrays for layer in rows[code])

    code = max(rows, key=fit)
    if 2 * fit(code)[0] < last + 1:
        there = sorted({name.rpartition(".")[0] for name in arrays})
        raise UserError(
            f"its layers are named {', '.join(there[:4])}, ...; known are those of "
            f"{'; '.join(_example(names, network) for names in NAMES.values())}"
        )
    _require([f"{layer.convolution}.weight" for layer in rows[code]], arrays)
    return rows[code], code == SEQUENTIAL


def _norm(layer: Layer, network: str) -> str:
    """Its norm's name, or "" where no DCGAN has a norm."""
    bare = ("last", "conv_0") if network == "discriminator" else ("last",)
    return "" if layer.place in bare else layer.norm


def _example(names: Names, network: str) -> str:
    (first, _), (second, norm), (last, _) = (getattr(names, network)(i, 4) for i in (0, 1, 4))
    return ", ".join(filter(None, (first, second, norm, "...", last)))


def _features(arrays: Arrays, names: list[str], network: str) -> list[int]:
    """What each convolution gives.

    Raises:
      UserError: the kernels are none of a DCGAN's here.
    """
    shapes = [np.shape(arrays[f"{name}.weight"]) for name in names]
    for name, shape in zip(names, shapes, strict=True):
        if shape[2:] != (BASE, BASE):
            sides = " x ".join(map(str, shape[2:]))
            raise UserError(f"{name}.weight has kernels of {sides}, and here they are 4 x 4")
    # [in, out, 4, 4] of transposed ones, [out, in, 4, 4] of others.
    transposed = network == "generator"
    takes, gives = ([s[axis] for s in shapes] for axis in ((0, 1) if transposed else (1, 0)))
    for name, given, taken in zip(names[1:], gives, takes[1:], strict=False):
        if given != taken:
            raise UserError(f"{name} takes {taken} features, and the layer before gives {given}")
    if network == "discriminator" and gives[-1] != 1:
        raise UserError(f"its last layer gives {gives[-1]} numbers where a logit is one")
    hidden = gives[:-1]
    narrow, *others = hidden[::-1] if transposed else hidden
    if others != [narrow * 2**i for i in range(1, len(hidden))]:
        change = "half" if transposed else "twice"
        raise UserError(
            f"its hidden layers have {', '.join(map(str, hidden))} features, and here each has "
            f"{change} as many as the one before"
        )
    return gives


def _require(names: Iterable[str], arrays: Arrays) -> None:
    missing = [name for name in names if name not in arrays]
    if missing:
        raise UserError(f"missing {listed(missing)}")


def _without_prefix(arrays: Arrays) -> dict[str, np.ndarray]:
    """Without the attributes, such as `main.`, that all names begin with."""
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    while True:
        firsts = {name.partition(".")[0] for name in arrays}
        shared = len(firsts) == 1 and all("." in name for name in arrays)
        if not shared or firsts.pop().isdecimal():
            return arrays
        arrays = {name.partition(".")[2]: array for name, array in arrays.items()}


def _to_published(variables: Variables, norm: str, network: str) -> dict[str, np.ndarray]:
    params, stats = variables["params"], variables.get("batch_stats", {})
    convolutions = _convolutions(params)
    last = len(convolutions) - 1
    more = [name for name in params if name not in convolutions and not name.startswith("norm_")]
    more += sorted(set(variables) - {"params", "batch_stats"})
    if more:
        raise UserError(f"it has more than a DCGAN's layers ({', '.join(more)})")
    names = NAMES["nn.Sequential without norms" if norm == "none" else SEQUENTIAL]
    arrays = {}
    for i, place in enumerate(convolutions):
        conv, after = getattr(names, network)(i, last)
        arrays[f"{conv}.weight"] = np.asarray(params[place]["kernel"]).transpose(3, 2, 0, 1)
        if "bias" in params[place]:
            arrays[f"{conv}.bias"] = np.asarray(params[place]["bias"])
        if f"norm_{i}" in params:
            affine, running = params[f"norm_{i}"], stats[f"norm_{i}"]
            leaves = (affine["scale"], affine["bias"], running["mean"], running["var"])
            for there, leaf in zip(NORM, leaves, strict=True):
                arrays[f"{after}.{there}"] = np.asarray(leaf)
    return arrays


def _convolutions(params: Mapping[str, Any]) -> list[str]:
    """Their names, from the first to the last."""
    count = sum(name.startswith("conv_") for name in params)
    return [*(f"conv_{i}" for i in range(count)), "last"]
