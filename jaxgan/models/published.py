"""Networks of the authors' PyTorch code (junyanz/pytorch-CycleGAN-and-pix2pix), by name.

A published state dict, as NumPy arrays, to the arguments of the network here and its
variables, and back. Everything is read off names and shapes. Both convolutions and transposed
convolutions are transposed by ``2, 3, 1, 0``: see `convolution.transposed_convolution`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import jax
import numpy as np

from jaxgan.errors import UserError

Arrays = Mapping[str, np.ndarray]
Variables = dict[str, Any]
Entry = tuple[str, tuple[str, ...], bool]  # published module, path here, whether a norm
UNET = "U-Net generator"


def resnet_generator_from_published(arrays: Arrays) -> tuple[dict[str, Any], Variables]:
    """``ResnetGenerator`` to (arguments of `resnet.ResNetGenerator`, its variables).

    Raises:
      UserError: names are unknown or missing.
    """
    blocks = len({name.split(".")[1] for name in arrays if ".conv_block." in name})
    inner = {
        int(name.split(".")[3])
        for name in arrays
        if ".conv_block." in name and np.ndim(arrays[name]) == 4
    }
    if inner not in ({1, 5}, {1, 6}, {0, 3}, {0, 4}):
        raise UserError(
            f"no published ResNet generator: its residual blocks have convolutions {sorted(inner)};"
            " expected 1 and 5 (reflection) or 0 and 3 (zero padding)"
        )
    padding = "zero" if 0 in inner else "reflect"
    dropout = 0.5 if inner & {4, 6} else 0.0
    entries = list(_resnet_entries(blocks, padding, bool(dropout)))
    norm, variables = from_entries(arrays, entries, "ResNet generator")
    variables = {name: stacked(tree) for name, tree in variables.items()}
    arguments = {
        "channels": variables["params"]["last"]["kernel"].shape[3],
        "width": variables["params"]["first"]["kernel"].shape[3],
        "blocks": blocks,
        "padding": padding,
        "norm": norm,
        "dropout": dropout,
    }
    return arguments, variables


def resnet_generator_to_published(
    variables: Variables, *, padding: str = "reflect", dropout: float = 0.0
) -> dict[str, np.ndarray]:
    """The variables of a `resnet.ResNetGenerator` under the published names."""
    blocks = variables["params"]["blocks"]["conv_0"]["kernel"].shape[0]
    variables = {name: unstacked(tree, blocks) for name, tree in variables.items()}
    return to_entries(variables, _resnet_entries(blocks, padding, bool(dropout)))


def patch_discriminator_from_published(arrays: Arrays) -> tuple[dict[str, Any], Variables]:
    """``NLayerDiscriminator`` to (arguments of `patchgan.PatchDiscriminator`, its variables).

    Raises:
      UserError: names are unknown or missing.
    """
    layers = sum(np.ndim(array) == 4 for array in arrays.values()) - 2
    norm, variables = from_entries(
        arrays, list(_patch_entries(max(layers, 1))), "PatchGAN discriminator"
    )
    width = variables["params"]["conv_0"]["kernel"].shape[3]
    return {"width": width, "layers": layers, "norm": norm}, variables


def patch_discriminator_to_published(variables: Variables) -> dict[str, np.ndarray]:
    """The variables of a `patchgan.PatchDiscriminator` under the published names."""
    layers = sum(name.startswith("conv_") for name in variables["params"]) - 1
    return to_entries(variables, _patch_entries(layers))


def pixel_discriminator_from_published(arrays: Arrays) -> tuple[dict[str, Any], Variables]:
    """``PixelDiscriminator`` to (arguments of `patchgan.PixelDiscriminator`, its variables).

    Raises:
      UserError: names are unknown or missing.
    """
    norm, variables = from_entries(arrays, list(_pixel_entries()), "PixelGAN discriminator")
    return {"width": variables["params"]["conv_0"]["kernel"].shape[3], "norm": norm}, variables


def pixel_discriminator_to_published(variables: Variables) -> dict[str, np.ndarray]:
    """The variables of a `patchgan.PixelDiscriminator` under the published names."""
    return to_entries(variables, _pixel_entries())


def unet_generator_from_published(arrays: Arrays) -> tuple[dict[str, Any], Variables]:
    """``UnetGenerator`` to (arguments of `unet.UNetGenerator`, its variables).

    Dropout has no weights, so whether there was any can't be told: it isn't among the arguments.

    Raises:
      UserError: names are unknown or missing.
    """
    levels = max((name.count(".model.") for name in arrays), default=0)
    norm, variables = from_entries(arrays, list(_unet_entries(max(levels, 2))), UNET)
    first, last = (variables["params"][name]["kernel"] for name in ("down_0", "up_0"))
    arguments = {"levels": levels, "channels": last.shape[2], "width": first.shape[3], "norm": norm}
    return arguments, variables


def unet_generator_to_published(variables: Variables) -> dict[str, np.ndarray]:
    """The variables of a `unet.UNetGenerator` under the published names."""
    levels = sum(name.startswith("up_") and name.count("_") == 1 for name in variables["params"])
    return to_entries(variables, _unet_entries(levels))


def stacked(tree: dict) -> dict:
    """``block_0``, ``block_1``, ... to one ``blocks``, as `resnet.ResNetGenerator` scans them."""
    names = sorted((name for name in tree if name.startswith("block_")), key=lambda n: int(n[6:]))
    blocks = jax.tree.map(lambda *leaves: np.stack(leaves), *(tree[name] for name in names))
    return {name: leaf for name, leaf in tree.items() if name not in names} | {"blocks": blocks}


def unstacked(tree: Mapping, blocks: int) -> dict:
    """The inverse of `stacked`."""
    rest = {name: leaf for name, leaf in tree.items() if name != "blocks"}
    each = {
        f"block_{i}": jax.tree.map(lambda leaf, i=i: np.asarray(leaf)[i], dict(tree["blocks"]))
        for i in range(blocks)
    }
    return rest | each


def _resnet_entries(blocks: int, padding: str, dropout: bool) -> Iterator[Entry]:
    for i, name in ((1, "first"), (4, "down_0"), (7, "down_1")):
        yield f"model.{i}", (name,), False
        yield f"model.{i + 1}", (f"{name}_norm",), True
    second = (5 if padding == "reflect" else 3) + dropout
    for block in range(blocks):
        for i, conv in enumerate((1 if padding == "reflect" else 0, second)):
            published = f"model.{10 + block}.conv_block"
            yield f"{published}.{conv}", (f"block_{block}", f"conv_{i}"), False
            yield f"{published}.{conv + 1}", (f"block_{block}", f"norm_{i}"), True
    for i in range(2):
        yield f"model.{10 + blocks + 3 * i}", (f"up_{i}",), False
        yield f"model.{11 + blocks + 3 * i}", (f"up_{i}_norm",), True
    yield f"model.{17 + blocks}", ("last",), False


def _patch_entries(layers: int) -> Iterator[Entry]:
    yield "model.0", ("conv_0",), False
    for i in range(1, layers + 1):
        yield f"model.{3 * i - 1}", (f"conv_{i}",), False
        yield f"model.{3 * i}", (f"norm_{i}",), True
    yield f"model.{3 * layers + 2}", ("last",), False


def _pixel_entries() -> Iterator[Entry]:
    yield "net.0", ("conv_0",), False
    yield "net.2", ("conv_1",), False
    yield "net.3", ("norm_1",), True
    yield "net.5", ("last",), False


def _unet_entries(levels: int) -> Iterator[Entry]:
    """From the outermost block to the innermost; each lies within the one before."""
    block = "model"
    for i in range(levels):
        down, up = (0, 3) if i == 0 else (1, 3 if i == levels - 1 else 5)
        yield f"{block}.model.{down}", (f"down_{i}",), False
        if 0 < i < levels - 1:
            yield f"{block}.model.{down + 1}", (f"down_{i}_norm",), True
        yield f"{block}.model.{up}", (f"up_{i}",), False
        if i:
            yield f"{block}.model.{up + 1}", (f"up_{i}_norm",), True
        block += f".model.{1 if i == 0 else 3}"


def put(tree: dict, path: tuple[str, ...], leaf: str, value: np.ndarray) -> None:
    """Sets a leaf below nested dicts, which are made as needed."""
    for part in path:
        tree = tree.setdefault(part, {})
    tree[leaf] = value


def get(tree: Mapping, path: tuple[str, ...]) -> Mapping:
    """The leaves below nested dicts; none where there is no such path."""
    for part in path:
        tree = tree.get(part, {})
    return tree


def from_entries(arrays: Arrays, entries: list[Entry], network: str) -> tuple[str, Variables]:
    """A state dict to (norm, variables), by the entries of all that it holds.

    Raises:
      UserError: names are unknown or missing.
    """
    norms = [published for published, _, is_norm in entries if is_norm]
    norm = "none"
    if any(f"{published}.weight" in arrays for published in norms):
        norm = "batch"
    elif any(f"{before}.bias" in arrays for (before, _, _), (_, _, n) in pairwise(entries) if n):
        norm = "instance"
    variables: Variables = {"params": {}}
    used, missing = set(), []

    def take(name: str) -> np.ndarray | None:
        used.add(name)
        if name not in arrays:
            missing.append(name)
            return None
        return np.asarray(arrays[name])

    for i, (published, path, is_norm) in enumerate(entries):
        if is_norm and norm == "batch":
            for collection, here, there in (
                ("params", "scale", "weight"),
                ("params", "bias", "bias"),
                ("batch_stats", "mean", "running_mean"),
                ("batch_stats", "var", "running_var"),
            ):
                value = take(f"{published}.{there}")
                put(variables.setdefault(collection, {}), path, here, value)
        elif not is_norm:
            value = take(f"{published}.weight")
            if value is not None:
                put(variables["params"], path, "kernel", value.transpose(2, 3, 1, 0))
            normalised = i + 1 < len(entries) and entries[i + 1][2]
            if f"{published}.bias" in arrays:
                put(variables["params"], path, "bias", take(f"{published}.bias"))
            elif norm == "none" and norms and value is not None:
                # Published without norm, these layers have no bias; here they have one.
                features = value.shape[1 if path[0].startswith("up_") else 0]
                put(variables["params"], path, "bias", np.zeros(features, value.dtype))
            elif norm == "instance" or not (normalised or _bare(network, path)):
                take(f"{published}.bias")
    # PyTorch's counters, and the running statistics that old instance norms carry unused.
    ignored = {
        f"{published}.{leaf}"
        for published in norms
        for leaf in ("num_batches_tracked", "running_mean", "running_var")
    }
    unknown = sorted(set(arrays) - used - ignored)
    if missing or unknown:
        told = [
            f"{word} {listed(names)}"
            for word, names in (("missing", missing), ("unknown", unknown))
            if names
        ]
        raise UserError(f"no published {network}: {'; '.join(told)}")
    return norm, variables


def _bare(network: str, path: tuple[str, ...]) -> bool:
    """Whether a layer that no norm follows has no bias all the same where others have norms."""
    return network.startswith("Pixel") or (network == UNET and path[0].startswith("down_"))


def listed(names: Sequence[str]) -> str:
    """For a message: the first six, and whether there are more."""
    return ", ".join(names[:6]) + " ..." * (len(names) > 6)


def to_entries(variables: Variables, entries: Iterable[Entry]) -> dict[str, np.ndarray]:
    """The inverse of `from_entries`."""
    arrays = {}
    for published, path, is_norm in entries:
        leaves = get(variables["params"], path)
        if is_norm and leaves:
            statistics = get(variables["batch_stats"], path)
            arrays[f"{published}.weight"] = np.asarray(leaves["scale"])
            arrays[f"{published}.bias"] = np.asarray(leaves["bias"])
            arrays[f"{published}.running_mean"] = np.asarray(statistics["mean"])
            arrays[f"{published}.running_var"] = np.asarray(statistics["var"])
        elif not is_norm:
            arrays[f"{published}.weight"] = np.asarray(leaves["kernel"]).transpose(3, 2, 0, 1)
            if "bias" in leaves:
                arrays[f"{published}.bias"] = np.asarray(leaves["bias"])
    return arrays
