"""Several processes that train one run together: their start, their mistakes, their common end.

Every process runs the same program. What they decide they must decide alike, or they wait for each
other for ever: a mistake that one of them finds is told to all (`together`), and a signal that one
of them gets stops all at the same step (`CommonEnd`).
"""

import contextlib
import ctypes
import hashlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxgan.errors import NonFinite, UserError
from jaxgan.interrupts import Interrupts
from jaxgan.launch import LAUNCHER

T = TypeVar("T")
LONGEST = 2**16  # bytes of what processes tell each other


class CommonError(UserError):
    """A mistake of which every process knows."""


def start() -> None:
    """Joins the other processes, before anything asks JAX for a device.

    Where they are is found by JAX on TPU VMs, under SLURM and Open MPI; elsewhere the environment
    says it, as launch/local.sh does: JAX_COORDINATOR_ADDRESS (host:port of process 0),
    JAX_NUM_PROCESSES and JAX_PROCESS_ID.

    Raises:
      UserError: they can't be found.
    """
    _end_with_launcher()
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


def _end_with_launcher() -> None:
    """A process that `launch.py` started doesn't outlive it, even where it was killed."""
    launcher = os.environ.get(LAUNCHER)
    if launcher is None or sys.platform != "linux":
        return
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != int(launcher):  # it was killed before this
        sys.exit(128 + signal.SIGKILL)


@contextlib.contextmanager
def one_for_all() -> Iterator[None]:
    """What one process raises by itself ends it at once, so that the others don't wait for it.

    Otherwise it would wait for them, in JAX's shutdown, for minutes.
    """
    try:
        yield
    except (CommonError, NonFinite):
        raise  # all of them
    except Exception as error:
        if jax.process_count() == 1:
            raise
        if isinstance(error, UserError):
            print(f"error: {error}", file=sys.stderr)
        elif isinstance(error, jax.errors.JaxRuntimeError):  # mostly that another one is gone
            reason = " ".join(str(error).split())[:300]
            print(
                f"error: process {jax.process_index()} can't go on ({reason}); where another "
                "process ended, its own words say why",
                file=sys.stderr,
            )
        else:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(2 if isinstance(error, UserError) else 1)


def together(do: Callable[[], T]) -> T:
    """What `do` gives, where it succeeds in every process.

    Raises:
      CommonError: in every process, where `do` raised anything in one of them.
    """
    if jax.process_count() == 1:
        return do()
    result, mine = None, None
    try:
        result = do()
    except Exception as error:
        mine = error
    told = multihost_utils.process_allgather(_bytes(_text(mine) if mine else ""))
    for process, text in enumerate(told):
        if text.any():
            _raise(mine, f"process {process}: {_str(text)}")
    return result


def first(find: Callable[[], T]) -> T:
    """What `find` gives in process 0, in every process: one looks, and nobody acts on another view.

    Args:
      find: it gives JSON.

    Raises:
      CommonError: in every process, where `find` raised anything.
    """
    if jax.process_count() == 1:
        return find()
    found, mine = None, None
    if jax.process_index() == 0:
        try:
            found = find()
        except Exception as error:
            mine = error
    text = json.dumps([found, _text(mine) if mine else ""])
    text = _str(multihost_utils.broadcast_one_to_all(_bytes(text)))
    found, error = json.loads(text)
    if error:
        _raise(mine, error)
    return found


def require_same(what: str, value: Any) -> None:
    """Nothing, where every process has the same value.

    Args:
      what: it is, for the message.
      value: JSON.

    Raises:
      CommonError: in every process, where they differ.
    """
    if jax.process_count() > 1:
        digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()
        digests = multihost_utils.process_allgather(np.frombuffer(digest, np.uint8))
        other = [i for i, d in enumerate(digests) if not np.array_equal(d, digests[0])]
        if other:
            raise CommonError(
                f"process {other[0]} found {what} that differs from what process 0 found; all "
                "processes need the same command, the same code and the same files"
            )


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


def _raise(mine: Exception | None, told: str) -> NoReturn:
    if mine is not None and not isinstance(mine, UserError):
        traceback.print_exception(mine)
    raise CommonError(str(mine) if isinstance(mine, UserError) else told) from None


def _bytes(text: str) -> np.ndarray:
    told = np.zeros(LONGEST, np.uint8)
    data = text.encode()[:LONGEST]
    told[: len(data)] = np.frombuffer(data, np.uint8)
    return told


def _str(told: np.ndarray) -> str:
    told = np.asarray(told)
    return bytes(told[told > 0]).decode(errors="replace")


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
