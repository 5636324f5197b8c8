"""Several processes that train one run together: their start, their mistakes, their common end.

Every process runs the same program. What they decide they must decide alike, or they wait for each
other for ever: a mistake that one of them finds is told to all (`together`), and a signal that one
of them gets stops all at the same step (`CommonEnd`).
"""

import os
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxgan.errors import UserError
from jaxgan.interrupts import Interrupts

T = TypeVar("T")
_LONGEST = 4000  # bytes of a message that another process tells


def start() -> None:
    """Joins the other processes, before anything asks JAX for a device.

    Where they are is found by JAX on TPU VMs, under SLURM and Open MPI; elsewhere the environment
    says it, as launch/local.sh does: JAX_COORDINATOR_ADDRESS (host:port of process 0),
    JAX_NUM_PROCESSES and JAX_PROCESS_ID.

    Raises:
      UserError: they can't be found.
    """
    names = {"num_processes": "JAX_NUM_PROCESSES", "process_id": "JAX_PROCESS_ID"}
    given = {name: os.environ[v] for name, v in names.items() if v in os.environ}
    # JAX's own service would take SIGTERM away from `Interrupts`.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(**{name: int(value) for name, value in given.items()})
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"--distributed: the other processes can't be found ({reason}); start them with "
            "launch/local.sh, launch/slurm.sh or launch/tpu_vm.sh, or leave --distributed out"
        ) from None


def together(do: Callable[[], T]) -> T:
    """What `do` gives, where it succeeds in every process.

    Raises:
      UserError: in every process, where it was raised in one of them.
    """
    if jax.process_count() == 1:
        return do()
    result, mine = None, None
    try:
        result = do()
    except UserError as error:
        mine = error
    told = np.zeros(_LONGEST, np.uint8)
    text = str(mine).encode()[:_LONGEST] if mine else b""
    told[: len(text)] = np.frombuffer(text, np.uint8)
    everyone = multihost_utils.process_allgather(told)
    if mine:
        raise mine
    for process, other in enumerate(everyone):
        if other.any():
            message = bytes(other[other > 0]).decode(errors="replace")
            raise UserError(f"process {process}: {message}")
    return result


class CommonEnd:
    """The signal after which to stop, at the same step in every process.

    Each step carries a tiny reduction over the signals that the processes have got so far. It is
    read one step later, when it is there without waiting.

    Args:
      interrupts: of this process.
      mesh: of all devices that train; every process has as many of them.
    """

    def __init__(self, interrupts: Interrupts, mesh: Mesh):
        self._interrupts = interrupts
        self._alone = jax.process_count() == 1
        self._asked: jax.Array | None = None
        everywhere = NamedSharding(mesh, PartitionSpec())
        self._place = NamedSharding(mesh, PartitionSpec("batch"))
        self._local = mesh.size // jax.process_count()
        self._largest = jax.jit(jnp.max, out_shardings=everywhere)

    def signal(self) -> int | None:
        """To be called once in every step: the number of a signal, or None."""
        requested = self._interrupts.requested
        if self._alone:
            return requested
        mine = np.full(self._local, requested or 0, np.int32)
        asked = self._largest(jax.make_array_from_process_local_data(self._place, mine))
        heard, self._asked = self._asked, asked
        return None if heard is None else int(heard) or None
