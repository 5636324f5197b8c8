"""RRDB networks of ESRGAN's published code (its current names), by name."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxgan.models.published import (
    Arrays,
    Entry,
    Variables,
    from_entries,
    stacked,
    to_entries,
    unstacked,
)
from jaxgan.models.rrdb import DENSE, LAYERS


def rrdb_from_published(arrays: Arrays) -> tuple[dict[str, Any], Variables]:
    """A state dict to (arguments of `rrdb.RRDBNet`, its variables).

    Raises:
      UserError: names are unknown or missing.
    """
    blocks = len({name.split(".")[1] for name in arrays if name.startswith("body.")})
    ups = len({name for name in arrays if name.startswith("conv_up") and "weight" in name})
    _, variables = from_entries(arrays, list(_entries(max(blocks, 1), ups)), "RRDB network")
    params = stacked(variables["params"])
    arguments = {
        "scale": 2**ups,
        "channels": params["conv_last"]["kernel"].shape[3],
        "width": params["conv_first"]["kernel"].shape[3],
        "blocks": blocks,
        "growth": params["blocks"]["rdb1_conv1"]["kernel"].shape[4],
    }
    return arguments, {"params": params}


def rrdb_to_published(variables: Variables) -> dict[str, np.ndarray]:
    """The variables of an `rrdb.RRDBNet` under the published names."""
    params = variables["params"]
    blocks = params["blocks"]["rdb1_conv1"]["kernel"].shape[0]
    ups = sum(name.startswith("conv_up") for name in params)
    return to_entries({"params": unstacked(params, blocks)}, _entries(blocks, ups))


def _entries(blocks: int, ups: int) -> Iterator[Entry]:
    for name in ("conv_first", "conv_body", "conv_hr", "conv_last"):
        yield name, (name,), False
    for i in range(1, ups + 1):
        yield f"conv_up{i}", (f"conv_up{i}",), False
    for n in range(blocks):
        for b in range(1, DENSE + 1):
            for i in range(1, LAYERS + 1):
                yield f"body.{n}.rdb{b}.conv{i}", (f"block_{n}", f"rdb{b}_conv{i}"), False
