"""Checkpoints: saved beside training, verified before they are trusted, the same bits back.

All of Orbax is in this file. A checkpoint is the folder `checkpoints/STEP` of a run:

    state/     every array of the state (OCDBT, uncompressed)
    data/      the data iterator's state, JSON
    config/    the resolved config, JSON
    metrics/   scores of this step, JSON
    checksums.json   size and CRC-32 of every file above

Orbax writes into a folder of another name and renames it when all is there, so that a kill
leaves either a whole checkpoint or none. That promise ends at the disk: a power cut, a copy
that was cut short, a half-finished deletion or a flipped bit leave a folder that looks whole
(zarr arrays carry no checksum). Therefore the checksums are written last, before the rename,
and compared before a checkpoint is used.
"""

import functools
import json
import logging
import math
import os
import shutil
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from jaxgan import processes
from jaxgan.errors import UserError

log = logging.getLogger(__name__)

FOLDER = "checkpoints"
CHECKSUMS = "checksums.json"
# Orbax writes these two after the checksums: a time stamp, and the mark that it is done.
_UNCHECKED = {"_CHECKPOINT_METADATA", "commit_success.txt", CHECKSUMS}
_UNFINISHED = ".orbax-checkpoint-tmp"
# A disk counts whole blocks, of some fifty small files; and Orbax writes some arrays twice.
_SPARE = 400_000
_NO_SPACE = ("No space left on device", "Disk quota exceeded", "File too large")


class Checkpoints:
    """The checkpoints of one run.

    Args:
      workdir: the run's folder; checkpoints lie in `workdir/checkpoints/STEP`.
      keep: how many of the newest checkpoints stay.
      best: name of a score; the checkpoint where it was best stays beside the newest ones.
      best_mode: "max" if a higher score is better, "min" if a lower one is.
      read_only: for commands that only read a run, perhaps while it trains: nothing is
        created, cleaned up or deleted.

    Raises:
      UserError: from any method that may write, where an earlier save in the background
        failed (a full disk). It is raised once.
    """

    def __init__(
        self,
        workdir: str | os.PathLike,
        *,
        keep: int = 2,
        best: str | None = None,
        best_mode: str = "max",
        read_only: bool = False,
    ):
        if keep < 1:
            raise UserError(f"checkpoint.keep is {keep}; at least the newest one must be kept: 1.")
        if best_mode not in ("max", "min"):
            raise ValueError(f"best_mode is {best_mode!r}, expected 'max' or 'min'")
        _quiet_orbax()
        self._directory = Path(workdir).absolute() / FOLDER
        self._keep, self._best, self._best_mode = keep, best, best_mode
        self._read_only = read_only
        self._whole: set[int] = set()
        self._saving: int | None = None
        self._saving_bytes = 0

    def save(
        self,
        step: int,
        state: Any,
        data_state: Mapping,
        config: Mapping,
        scores: Mapping[str, float] | None = None,
        wait: bool = False,
    ) -> bool:
        """Saves in the background; the state's buffers may be donated as soon as this returns.

        Args:
          step: number of the checkpoint.
          state: pytree of `jax.Array`s, none of them empty or weakly typed.
          data_state: JSON, of the batch that was consumed last.
          config: JSON, the resolved config.
          scores: what `best` looks at, and other commands show.
          wait: return when the checkpoint is on the disk.

        Returns:
          False where a whole checkpoint of this step is there already.

        Raises:
          UserError: where the disk has no room for it, or an earlier save failed.
        """
        if self._read_only:
            raise ValueError("these checkpoints were opened to be read only")
        self.wait()
        _require_strong_types(state)
        self._saving_bytes = size_on_disk(state)
        try:
            if processes.first(lambda: self._make_room(step)):
                return False
            self._saving = step
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.PyTreeSave(state),
                    data=ocp.args.JsonSave(dict(data_state)),
                    config=ocp.args.JsonSave(dict(config)),
                ),
                metrics={name: float(value) for name, value in (scores or {}).items()},
                force=True,
            )
        except Exception as error:
            self._fail(error, step)
        if wait:
            self.wait()
        return True

    def poll(self) -> None:
        """Raises what a save in the background met, without waiting for one that still runs."""
        if self._saving is not None and not self._manager.is_saving_in_progress():
            self.wait()

    def wait(self) -> None:
        """Returns when the save in the background, if any, is whole on the disk."""
        if self._saving is None:
            return
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            self._fail(error, self._saving)
        self._whole.add(self._saving)
        self._saving = None

    def close(self) -> None:
        """Waits, and ends Orbax's threads."""
        try:
            self.wait()
        finally:
            self._end_manager()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind, error, trace) -> None:
        try:
            self.close()
        except Exception as failure:
            if error is None:
                raise
            log.warning("%s", failure)

    def steps(self) -> list[int]:
        """All whole checkpoints, oldest first. Every file that wasn't read yet is read."""
        return processes.first(self._find_whole)

    def tidy(self) -> None:
        """Frees the disk, before a run that goes on writes anything.

        Removed is what no command could use: the remains of saves that failed. Where the disk has
        no room for another checkpoint, so are those that the next save would delete anyway
        because `keep` was lowered or `best` changed.

        Raises:
          UserError: where there are checkpoints and none of them is whole.
        """
        processes.first(self._tidy)

    def latest(self, warn: bool = True) -> int | None:
        """The newest whole checkpoint; None where there is none, damaged or whole.

        Newer ones that are damaged are skipped with a warning, and removed unless read-only, so
        that their steps can be saved again. Where none is whole, nothing is removed.

        Args:
          warn: False where the same is soon asked again.

        Raises:
          UserError: where there are checkpoints and none of them is whole.
        """
        return _only(processes.first(lambda: self._find_latest(warn)))

    def best(self) -> int | None:
        """The whole checkpoint with the best score `best`; None where none has that score."""
        return _only(processes.first(self._find_best))

    def restore(self, step: int, template: Any) -> tuple[Any, dict]:
        """State and data state of a checkpoint.

        Args:
          step: of `steps()`.
          template: pytree of `jax.ShapeDtypeStruct` with the shardings that the state shall
            have, on any number of devices.

        Raises:
          UserError: where the checkpoint isn't whole, or holds other arrays than the template.
        """
        directory = self._checked(step)
        with _reader() as reader:
            _require_same(directory, _saved_tree(reader, directory), template)
            template = jax.tree.map(_with_sharding, template)
            restored = reader.restore(
                directory,
                args=ocp.args.Composite(
                    state=ocp.args.PyTreeRestore(
                        template,
                        restore_args=ocp.checkpoint_utils.construct_restore_args(template),
                    ),
                    data=ocp.args.JsonRestore(),
                ),
            )
        return restored["state"], restored["data"]

    def arrays(self, step: int) -> dict[str, np.ndarray]:
        """All arrays of a checkpoint by name (`params/G_A/Conv_0/kernel`), without a template.

        Raises:
          UserError: where the checkpoint isn't whole.
        """
        directory = self._checked(step)
        with _reader() as reader:
            saved = _saved_tree(reader, directory)
            as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), saved)
            args = ocp.args.Composite(state=ocp.args.PyTreeRestore(restore_args=as_numpy))
            state = reader.restore(directory, args=args)["state"]
        return {name: np.asarray(value) for name, value in named(state).items()}

    def read(self, step: int) -> tuple[dict, dict, dict]:
        """The data state, the config and the scores of a checkpoint.

        Raises:
          UserError: where the checkpoint isn't whole.
        """
        directory = self._checked(step)
        data, config = (
            ocp.JsonCheckpointHandler().restore(directory / item) for item in ("data", "config")
        )
        return data, config, _scores(directory)

    @functools.cached_property
    def _manager(self) -> ocp.CheckpointManager:
        newest = policies.LatestN(self._keep)
        best = policies.BestN(n=1, get_metric_fn=self._rank, keep_checkpoints_without_metrics=False)
        return ocp.CheckpointManager(
            self._directory,
            item_handlers={
                "state": ocp.PyTreeCheckpointHandler(use_compression=False),
                "data": ocp.JsonCheckpointHandler(),
                "config": ocp.JsonCheckpointHandler(),
            },
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policies.AnyPreservationPolicy(
                    [newest, best] if self._best else [newest]
                ),
                best_fn=self._rank,  # without it Orbax writes no metrics
                async_options=ocp.AsyncOptions(post_finalization_callback=self._seal),
            ),
        )

    def _seal(self) -> None:
        # Orbax calls it on the primary process, in the background, just before the rename.
        (directory,) = self._directory.glob(f"{self._saving}{_UNFINISHED}*")
        write_checksums(directory)

    def _rank(self, scores: Mapping[str, float]) -> float:
        value = scores.get(self._best, math.nan)
        if math.isnan(value):
            return -math.inf
        return value if self._best_mode == "max" else -value

    def _found(self) -> list[int]:
        if not self._directory.is_dir():
            return []
        return sorted(int(p.name) for p in self._directory.iterdir() if p.name.isdecimal())

    def _damage(self, step: int) -> str | None:
        directory = self._directory / str(step)
        if step in self._whole and directory.is_dir():
            return None
        reason = damage(directory)
        if reason is None:
            self._whole.add(step)
        return reason

    def _checked(self, step: int) -> Path:
        directory = self._directory / str(step)
        reason = self._damage(step)
        if reason is not None:
            raise UserError(
                f"checkpoint {step} in {self._directory} can't be used: {reason}. "
                f"Whole there: {self._whole_ones()}."
            )
        return directory

    def _make_room(self, step: int) -> list[int]:
        directory = self._directory / str(step)
        if directory.exists() and self._damage(step) is None:
            return [step]
        self._directory.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(directory, ignore_errors=True)
        if "_manager" not in self.__dict__:
            self._drop_old(self._saving_bytes)
        if self._free() < self._saving_bytes + _SPARE:
            raise UserError(self._no_space(step))
        return []

    def _free(self) -> int:
        return shutil.disk_usage(self._directory).free

    def _find_whole(self) -> list[int]:
        return [step for step in self._found() if self._damage(step) is None]

    def _tidy(self) -> list[int]:
        newest = self._find_latest(warn=True)
        if newest:
            self._drop_old(_size(self._directory / str(newest[0])))
        return []

    def _drop_old(self, needed: int) -> None:
        """Where there is no room for `needed` bytes, deletes what the next save would delete."""
        if self._free() < needed + _SPARE:
            kept = {*self._find_whole()[-self._keep :], *self._find_best()}
            for old in set(self._found()) - kept:
                shutil.rmtree(self._directory / str(old), ignore_errors=True)

    def _find_latest(self, warn: bool) -> list[int]:
        found, damaged = self._found(), {}
        while found:
            reason = self._damage(found[-1])
            if reason is None:
                break
            if not (self._directory / str(found[-1])).exists():
                return self._find_latest(warn)  # the run that trains here has just replaced it
            damaged[found.pop()] = reason
        if damaged and not found:
            raise UserError(
                f"none of the checkpoints in {self._directory} is whole ("
                + "; ".join(f"{step}: {reason}" for step, reason in damaged.items())
                + "). Bring back a copy of them, or delete that folder to start from step 0."
            )
        for step, reason in damaged.items() if warn else ():
            log.warning("checkpoint %d is damaged and skipped: %s", step, reason)
        if not self._read_only:
            self._clean(damaged, found[:-1])
        return found[-1:]

    def _clean(self, damaged: Iterable[int], older: Iterable[int]) -> None:
        """Removes what no command could use."""
        remove = [self._directory / str(step) for step in damaged]
        remove += self._directory.glob(f"*{_UNFINISHED}*")
        # A kill while an old checkpoint was being deleted.
        folders = (self._directory / str(step) for step in older)
        remove += [folder for folder in folders if damage(folder, contents=False)]
        for path in remove:
            shutil.rmtree(path, ignore_errors=True)

    def _find_best(self) -> list[int]:
        if self._best is None:
            return []
        ranks = {step: self._rank(_scores(self._directory / str(step))) for step in self._found()}
        for step in sorted(ranks, key=lambda step: (ranks[step], step), reverse=True):
            if ranks[step] > -math.inf and self._damage(step) is None:
                return [step]
        return []

    def _fail(self, error: Exception, step: int) -> NoReturn:
        """Removes what was written of this step, and says what the user can do."""
        self._saving = None
        self._end_manager()
        if isinstance(error, UserError):
            raise error
        if jax.process_index() == 0:
            for path in self._directory.glob(f"{step}{_UNFINISHED}*"):
                shutil.rmtree(path, ignore_errors=True)
        text = " ".join(str(error).split())
        if any(cause in text for cause in _NO_SPACE):
            raise UserError(self._no_space(step)) from error
        if isinstance(error, OSError) or "os_error_code" in text:
            raise UserError(
                f"checkpoint {step} could not be written to {self._directory} "
                f"(whole there: {self._whole_ones()}): {text}"
            ) from error
        raise error

    def _no_space(self, step: int) -> str:
        return (
            f"the disk is full: checkpoint {step} needs {readable(self._saving_bytes + _SPARE)} in "
            f"{self._directory}, where {readable(self._free())} are free (whole there: "
            f"{self._whole_ones()}). Free some space, or lower checkpoint.keep, and run the "
            "same command again."
        )

    def _whole_ones(self) -> str:
        return ", ".join(map(str, self._find_whole())) or "none"

    def _end_manager(self) -> None:
        if "_manager" in self.__dict__:
            self._manager.close()
            del self._manager


def size_on_disk(state: Any) -> int:
    """Bytes of a checkpoint of this state, within 5 % (no compression is used).

    A disk takes up to 0.3 MB more: it counts whole blocks.

    Args:
      state: pytree of arrays or `jax.ShapeDtypeStruct`.
    """
    leaves = jax.tree.leaves(state)
    arrays = sum(math.prod(leaf.shape) * np.dtype(leaf.dtype).itemsize for leaf in leaves)
    return arrays + 700 * len(leaves) + 20_000


def readable(size: float) -> str:
    """A number of bytes for people: `1.5 GB`."""
    units = ["bytes", "kB", "MB", "GB", "TB"]
    power = 0
    while size >= 1000 and power < len(units) - 1:
        size, power = size / 1000, power + 1
    return f"{size:.{min(power, 1)}f} {units[power]}"


def write_checksums(directory: Path) -> None:
    """Writes size and CRC-32 of every file below `directory` into `checksums.json` there."""
    files = sorted(p for p in directory.rglob("*") if p.is_file())
    names = [p.relative_to(directory).as_posix() for p in files]
    sums = {n: _checksum(p) for n, p in zip(names, files, strict=True) if n not in _UNCHECKED}
    with open(directory / CHECKSUMS, "w") as file:
        json.dump({"files": sums}, file, indent=0)
        file.flush()
        os.fsync(file.fileno())


def damage(directory: Path, contents: bool = True) -> str | None:
    """What is wrong with a checkpoint, or None where it is whole.

    Args:
      directory: `checkpoints/STEP`.
      contents: False compares only sizes, which takes no time.
    """
    try:
        sums = json.loads((directory / CHECKSUMS).read_text())["files"]
    except FileNotFoundError:
        return f"{CHECKSUMS} is missing"
    except (OSError, ValueError, KeyError, TypeError):
        return f"{CHECKSUMS} is damaged"
    for name, expected in sums.items():
        path = directory / name
        try:
            size = path.stat().st_size
            if size != expected[0]:
                return f"{name} has {size} bytes of {expected[0]}"
            if contents and _checksum(path) != expected:
                return f"{name} was changed"
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} can't be read ({error.strerror})"
    return None


def compare(workdir_a: str | os.PathLike, workdir_b: str | os.PathLike) -> list[str]:
    """Names of what differs between the newest checkpoints of two runs; [] is bit for bit.

    Compared are the step, the data state, and name, shape, type and bits of every array.

    Raises:
      UserError: one of them has no checkpoint.
    """
    sides = [Checkpoints(workdir, read_only=True) for workdir in (workdir_a, workdir_b)]
    steps = [side.latest() for side in sides]
    for workdir, step in zip((workdir_a, workdir_b), steps, strict=True):
        if step is None:
            raise UserError(f"{workdir} has no checkpoint to compare")
    if steps[0] != steps[1]:
        return [f"step of the newest checkpoint: {steps[0]} and {steps[1]}"]
    data_a, data_b = (side.read(step)[0] for side, step in zip(sides, steps, strict=True))
    a, b = (side.arrays(step) for side, step in zip(sides, steps, strict=True))
    differing = [name for name in sorted({*a, *b}) if not _same_bits(a.get(name), b.get(name))]
    return differing + (["data"] if data_a != data_b else [])


def _same_bits(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    if a is None or b is None or a.shape != b.shape or a.dtype != b.dtype:
        return False
    return a.tobytes() == b.tobytes()


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _checksum(path: Path) -> list[int]:
    size = crc = 0
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            size, crc = size + len(block), zlib.crc32(block, crc)
    return [size, crc]


def named(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by their paths: `params/generator_AtoB/first/kernel`."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(k, simple=True, separator="/"): leaf for k, leaf in leaves}


def _require_strong_types(state: Any) -> None:
    # A checkpoint has no weak types: after a resume the same program would promote otherwise.
    weak = [name for name, leaf in named(state).items() if getattr(leaf, "weak_type", False)]
    if weak:
        raise ValueError(f"weakly typed arrays can't be restored as they are: {weak}")


def _require_same(directory: Path, saved: Any, template: Any) -> None:
    def kinds(tree):
        return {n: f"{np.dtype(x.dtype)}{list(x.shape)}" for n, x in named(tree).items()}

    wrong = differing(kinds(saved), kinds(template))
    if wrong:
        raise UserError(f"{directory} was saved by another config or other code: {wrong}.")


def differing(there: Mapping[str, str], here: Mapping[str, str]) -> str:
    """What differs between two tables of arrays (name -> what it is), in words; "" for nothing."""
    wrong = [
        f"{name} is {there.get(name, 'absent')} there and {here.get(name, 'absent')} here"
        for name in sorted({*there, *here})
        if there.get(name) != here.get(name)
    ]
    return "; ".join(wrong[:3]) + (f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else "")


def differing_shapes(there: Any, here: Any) -> str:
    """`differing`, of the names and shapes of two trees of arrays."""
    return differing(
        *({n: str(list(leaf.shape)) for n, leaf in named(tree).items()} for tree in (there, here))
    )


def _with_sharding(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    if leaf.sharding is not None:
        return leaf
    return leaf.update(sharding=jax.sharding.SingleDeviceSharding(jax.local_devices()[0]))


def _saved_tree(reader: ocp.Checkpointer, directory: Path) -> Any:
    return reader.metadata(directory).item_metadata["state"].tree


def _reader() -> ocp.Checkpointer:
    return ocp.Checkpointer(
        ocp.CompositeCheckpointHandler(
            state=ocp.PyTreeCheckpointHandler(), data=ocp.JsonCheckpointHandler()
        )
    )


def _scores(directory: Path) -> dict[str, float]:
    try:
        return ocp.JsonCheckpointHandler("metrics").restore(directory / "metrics")
    except (OSError, ValueError):
        return {}


def _only(steps: list[int]) -> int | None:
    return steps[0] if steps else None


def _quiet_orbax() -> None:
    """Drops Orbax's log lines: it prints whole tracebacks of errors that it raises as well."""
    logger = logging.getLogger("absl")
    if _not_from_orbax not in logger.filters:
        logger.addFilter(_not_from_orbax)


def _not_from_orbax(record: logging.LogRecord) -> bool:
    return "/orbax/" not in record.pathname.replace(os.sep, "/")
