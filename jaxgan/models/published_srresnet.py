"""SRResNets of a widespread PyTorch code, whose modules are named `block1`, `block2`, ..."""

import re
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxgan.errors import UserError
from jaxgan.models.published import Arrays, Variables, get, listed, put, stacked, unstacked


class Entry(NamedTuple):
    """A layer: its published module, its path here, and which kind it is."""

    published: str
    path: tuple[str, ...]
    kind: Literal["conv", "norm", "prelu"]

    def leaves(self) -> list[tuple[str, str, str]]:
        """(collection here, name here, published name) of each of its arrays."""
        named = LEAVES[self.kind]
        return [(part, here, f"{self.published}.{there}") for part, here, there in named]


LEAVES = {
    "conv": [("params", "kernel", "weight"), ("params", "bias", "bias")],
    "prelu": [("params", "slope", "weight")],
    "norm": [
        ("params", "scale", "weight"),
        ("params", "bias", "bias"),
        ("batch_stats", "mean", "running_mean"),
        ("batch_stats", "var", "running_var"),
    ],
}


def srresnet_from_published(arrays: Arrays) -> tuple[dict[str, Any], Variables]:
    """A state dict to (arguments of `srresnet.SRResNet`, its variables).

    Raises:
      UserError: names are unknown or missing.
    """
    found = (re.match(r"block(\d+)\.", name) for name in arrays)
    last = max((int(match[1]) for match in found if match), default=0)
    blocks = last - 3
    if blocks < 1:
        raise UserError("no published SRResNet: it has no block1, block2, ...")
    ups = max(int(name.split(".")[1]) for name in arrays if name.startswith(f"block{last}."))
    behind = "norm" if f"block{last - 1}.1.running_mean" in arrays else "prelu"
    variables: Variables = {"params": {}, "batch_stats": {}}
    used: set[str] = set()
    for entry in _entries(blocks, ups, behind):
        for part, here, name in entry.leaves():
            if name not in arrays:
                raise UserError(f"no published SRResNet: {name} is missing")
            used.add(name)
            array = np.asarray(arrays[name])
            if entry.kind == "prelu" and array.size != 1:
                raise UserError(f"no published SRResNet: {name} has {array.size} slopes, not one")
            array = array.transpose(2, 3, 1, 0) if here == "kernel" else array.reshape(-1)
            put(variables[part], entry.path, here, array)
    unknown = sorted(n for n in set(arrays) - used if not n.endswith("num_batches_tracked"))
    if unknown:
        raise UserError(f"no published SRResNet: unknown {listed(unknown)}")
    variables = {part: stacked(tree) for part, tree in variables.items()}
    arguments = {
        "scale": 2**ups,
        "channels": variables["params"]["last"]["kernel"].shape[3],
        "width": variables["params"]["first"]["kernel"].shape[3],
        "blocks": blocks,
        "norm": "batch",
        "behind": behind,
        "output": "tanh",
    }
    return arguments, variables


def srresnet_to_published(variables: Variables) -> dict[str, np.ndarray]:
    """The variables of a `srresnet.SRResNet` with batch norms under the published names."""
    params = variables["params"]
    blocks = params["blocks"]["conv_0"]["kernel"].shape[0]
    ups = sum(re.fullmatch(r"up_\d+", name) is not None for name in params)
    trees = {part: unstacked(tree, blocks) for part, tree in variables.items()}
    arrays = {}
    for entry in _entries(blocks, ups, "prelu" if "behind_prelu" in params else "norm"):
        for part, here, name in entry.leaves():
            array = np.asarray(get(trees[part], entry.path)[here])
            arrays[name] = array.transpose(3, 2, 0, 1) if here == "kernel" else array
    return arrays


def _entries(blocks: int, ups: int, behind: str) -> Iterator[Entry]:
    yield Entry("block1.0", ("first",), "conv")
    yield Entry("block1.1", ("first_prelu",), "prelu")
    for n in range(blocks):
        published, here = f"block{n + 2}", f"block_{n}"
        for i in range(2):
            yield Entry(f"{published}.conv{i + 1}", (here, f"conv_{i}"), "conv")
            yield Entry(f"{published}.bn{i + 1}", (here, f"norm_{i}"), "norm")
        yield Entry(f"{published}.prelu", (here, "prelu"), "prelu")
    yield Entry(f"block{blocks + 2}.0", ("behind",), "conv")
    yield Entry(f"block{blocks + 2}.1", (f"behind_{behind}",), behind)
    for i in range(ups):
        published, here = f"block{blocks + 3}.{i}", f"up_{i + 1}"
        yield Entry(f"{published}.conv", (here,), "conv")
        yield Entry(f"{published}.prelu", (f"{here}_prelu",), "prelu")
    yield Entry(f"block{blocks + 3}.{ups}", ("last",), "conv")
