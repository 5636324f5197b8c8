"""RRDB networks of ESRGAN's published code (its current names), by name."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxgan.errors import UserError
from jaxgan.models.rrdb import DENSE, LAYERS

Arrays = Mapping[str, np.ndarray]


def rrdb_from_published(arrays: Arrays) -> tuple[dict[str, Any], dict[str, Any]]:
    """A state dict to (arguments of `rrdb.RRDBNet`, its variables).

    Raises:
      UserError: names are unknown or missing.
    """
    blocks = len({name.split(".")[1] for name in arrays if name.startswith("body.")})
    ups = len({name for name in arrays if name.startswith("conv_up") and "weight" in name})
    names = ["conv_first", "conv_body", "conv_hr", "conv_last"]
    names += [f"conv_up{i}" for i in range(1, ups + 1)]
    inner = [(b, i) for b in range(1, DENSE + 1) for i in range(1, LAYERS + 1)]
    wanted = names + [f"body.{n}.rdb{b}.conv{i}" for n in range(blocks) for b, i in inner]
    wanted = {f"{name}.{leaf}" for name in wanted for leaf in ("weight", "bias")}
    missing, unknown = sorted(wanted - set(arrays)), sorted(set(arrays) - wanted)
    if missing or unknown or not blocks:
        told = f"missing {missing[:3]}" if missing else f"unknown {unknown[:3]}"
        raise UserError(f"no published RRDB network: {told}")

    def layer(name):
        kernel = np.asarray(arrays[f"{name}.weight"]).transpose(2, 3, 1, 0)
        return {"kernel": kernel, "bias": np.asarray(arrays[f"{name}.bias"])}

    params = {name: layer(name) for name in names}
    params["body"] = {}
    for b, i in inner:
        each = [layer(f"body.{n}.rdb{b}.conv{i}") for n in range(blocks)]
        params["body"][f"rdb{b}_conv{i}"] = {
            leaf: np.stack([one[leaf] for one in each]) for leaf in ("kernel", "bias")
        }
    arguments = {
        "scale": 2**ups,
        "channels": params["conv_last"]["kernel"].shape[3],
        "width": params["conv_first"]["kernel"].shape[3],
        "blocks": blocks,
        "growth": params["body"]["rdb1_conv1"]["kernel"].shape[4],
    }
    return arguments, {"params": params}
