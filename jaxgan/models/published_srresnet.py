"""SRResNets of a widespread PyTorch code, whose modules are named `block1`, `block2`, ..."""

import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxgan.errors import UserError

Arrays = Mapping[str, np.ndarray]


def srresnet_from_published(arrays: Arrays) -> tuple[dict[str, Any], dict[str, Any]]:
    """A state dict to (arguments of `srresnet.SRResNet`, its variables).

    Raises:
      UserError: names are unknown or missing.
    """
    used: set[str] = set()

    def take(name):
        used.add(name)
        if name not in arrays:
            raise UserError(f"no published SRResNet: {name} is missing")
        return np.asarray(arrays[name])

    def conv(name):
        return {
            "kernel": take(f"{name}.weight").transpose(2, 3, 1, 0),
            "bias": take(f"{name}.bias"),
        }

    def norm(name):
        params = {"scale": take(f"{name}.weight"), "bias": take(f"{name}.bias")}
        stats = {"mean": take(f"{name}.running_mean"), "var": take(f"{name}.running_var")}
        return params, stats

    def prelu(name):
        slope = take(f"{name}.weight")
        if slope.size != 1:
            raise UserError(f"no published SRResNet: {name} has {slope.size} slopes, not one")
        return {"slope": slope.reshape(1)}

    found = (re.match(r"block(\d+)\.", name) for name in arrays)
    numbers = {int(match[1]) for match in found if match}
    blocks, last = max(numbers, default=0) - 3, max(numbers, default=0)
    if blocks < 1:
        raise UserError("no published SRResNet: it has no block1, block2, ...")
    tail = {int(name.split(".")[1]) for name in arrays if name.startswith(f"block{last}.")}
    ups = max(tail)
    params = {"first": conv("block1.0"), "first_prelu": prelu("block1.1")}
    each, kept = [], []
    for i in range(2, 2 + blocks):
        norms = [norm(f"block{i}.bn{j}") for j in (1, 2)]
        one = {f"conv_{j}": conv(f"block{i}.conv{j + 1}") for j in range(2)}
        one |= {f"norm_{j}": norms[j][0] for j in range(2)} | {"prelu": prelu(f"block{i}.prelu")}
        each.append(one)
        kept.append({f"norm_{j}": norms[j][1] for j in range(2)})
    params["blocks"] = jax.tree.map(lambda *leaves: np.stack(leaves), *each)
    stats = {"blocks": jax.tree.map(lambda *leaves: np.stack(leaves), *kept)}
    params["behind"] = conv(f"block{last - 1}.0")
    behind = "norm" if f"block{last - 1}.1.running_mean" in arrays else "prelu"
    if behind == "norm":
        params["behind_norm"], stats["behind_norm"] = norm(f"block{last - 1}.1")
    else:
        params["behind_prelu"] = prelu(f"block{last - 1}.1")
    for i in range(ups):
        params[f"up_{i + 1}"] = conv(f"block{last}.{i}.conv")
        params[f"up_{i + 1}_prelu"] = prelu(f"block{last}.{i}.prelu")
    params["last"] = conv(f"block{last}.{ups}")
    unknown = sorted(n for n in set(arrays) - used if not n.endswith("num_batches_tracked"))
    if unknown:
        raise UserError(f"no published SRResNet: unknown {', '.join(unknown[:6])}")
    arguments = {
        "scale": 2**ups,
        "channels": params["last"]["kernel"].shape[3],
        "width": params["first"]["kernel"].shape[3],
        "blocks": blocks,
        "norm": "batch",
        "behind": behind,
        "output": "tanh",
    }
    return arguments, {"params": params, "batch_stats": stats}
