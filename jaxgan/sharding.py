"""Devices, their mesh, and where arrays lie on it: the state everywhere, the batch in slices."""

import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxgan.errors import UserError


def choose_devices(wanted: str | int, batch: int) -> list[jax.Device]:
    """The devices that share a batch.

    Args:
      wanted: "auto" for as many as divide the batch, or a number.
      batch: images in one micro-batch, over all processes.

    Returns:
      Devices, the same number from each process.

    Raises:
      UserError: if that many devices aren't there or don't divide the batch.
    """
    devices = jax.devices()
    if str(wanted) == "auto":
        processes = jax.process_count()
        local = len(devices) // processes
        per_process = max(
            (n for n in range(1, local + 1) if batch % (n * processes) == 0), default=0
        )
        if not per_process:
            raise UserError(
                f"a batch of {batch} can't be shared by {processes} processes; "
                f"set --config.data.batch_size to a multiple of {processes}"
            )
        return _spread(devices, per_process)
    count = int(wanted)
    if not 1 <= count <= len(devices):
        raise UserError(
            f"devices={count}, but this machine has {len(devices)}; "
            "set --config.devices=auto or a number that is there"
        )
    if count % jax.process_count():
        raise UserError(
            f"devices={count} can't be divided by {jax.process_count()} processes; change "
            "--config.devices, or use --config.devices=auto"
        )
    if batch % count:
        raise UserError(
            f"devices={count} doesn't divide the batch of {batch} images (after accumulation); "
            "change --config.devices or --config.data.batch_size, or use --config.devices=auto"
        )
    return _spread(devices, count // jax.process_count())


def _spread(devices: Sequence[jax.Device], per_process: int) -> list[jax.Device]:
    chosen = []
    for process in range(jax.process_count()):
        chosen += [d for d in devices if d.process_index == process][:per_process]
    return chosen


def make_mesh(devices: Sequence[jax.Device]) -> Mesh:
    """A mesh of one axis, `batch`; the compiler places everything else (Auto axes)."""
    return Mesh(np.asarray(devices), ("batch",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """A whole copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batched(mesh: Mesh) -> NamedSharding:
    """Slices of the third axis of [repeats, accumulate, micro-batch, ...]."""
    return NamedSharding(mesh, PartitionSpec(None, None, "batch"))


def put_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """This process's slice of a batch, as global arrays."""
    sharding = batched(mesh)
    return {
        name: jax.make_array_from_process_local_data(sharding, value)
        for name, value in batch.items()
    }


def local_copy(tree: Any) -> Any:
    """What is replicated, on one device of this process: what it does with that concerns no other.

    Args:
      tree: of replicated arrays.
    """
    return jax.tree.map(lambda x: x.addressable_data(0), tree)


def compile_update(update: Any, mesh: Mesh, more: int = 0) -> Any:
    """`jit` with the state donated and replicated, the batch sliced, constants replicated.

    So are `more` arguments behind them.
    """
    everywhere = replicated(mesh)
    return jax.jit(
        update,
        donate_argnums=0,
        in_shardings=(everywhere, batched(mesh), everywhere, *(everywhere,) * more),
        out_shardings=everywhere,
        compiler_options=compiler_options(mesh.devices.flat[0].platform),
    )


@functools.cache
def compiler_options(platform: str) -> dict[str, str] | None:
    """What makes a step, or a network's forward pass, faster than XLA's own choices on a platform.

    On CPUs jaxlib 0.10 gives convolutions and matrix products to YNNPACK, whose convolutions take
    up to 1.6 times as long as XLA's own. An XLA that doesn't know the option goes without.
    """
    options = {"xla_cpu_experimental_ynn_fusion_type": ""}
    if platform != "cpu" or "ynn_fusion_type" in os.environ.get("XLA_FLAGS", ""):
        return None
    try:
        jax.jit(jnp.negative, compiler_options=options).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return None
    return options
