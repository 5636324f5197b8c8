"""A run's folder: who may use it, and what it says of itself.

`check` looks and writes nothing, `Lock` takes the folder, `record` writes `config.json`.
"""

import contextlib
import fcntl
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import shlex
import socket
import subprocess
import time
import weakref
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

import jaxgan
from jaxgan import workers
from jaxgan.errors import UserError
from jaxgan.files import disk_error, write_atomically

CONFIG = "config.json"
LOCK = ".lock"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "pillow")
_WITHOUT_INFLUENCE = {"python", "orbax-checkpoint", "jaxgan"}  # `code` tells more of the last
_SAID = {
    "count": "the number of devices",
    "processes": "the number of processes",
    "threads": "the number of cores",
}
# What runs did before these fields were: an old run has them as it is read, and is the same run.
_SINCE_CHANNELS = {"dtype": "uint8", "low": -1.0, "high": 1.0, "image_key": "image"}
# The same of fields that came one by one: name -> (what an old record has, what it did), as JSON.
_YOUNGER = {
    "data.image_key": ("absent", '"image"'),
    "model.discriminator.spread": ("absent", "false"),
    "loss.cycles": ("absent", '"both"'),
}
# What may lie in a folder before `config.json` does, and what file managers leave anywhere.
_NO_RUN_YET = {LOCK, f".{CONFIG}.tmp", ".DS_Store", "Thumbs.db", ".gitkeep"}


class Found(NamedTuple):
    """What `check` found.

    Attributes:
      resume: the folder holds a run of this config; False where there is none yet.
      warnings: one sentence per difference that may change the bits of a resumed run.
    """

    resume: bool
    warnings: list[str]


def resolve(workdir: str | os.PathLike) -> Path:
    """The absolute path of a folder as typed: `~` expanded.

    Raises:
      UserError: for a URL such as `gs://...`, which would become a folder named `gs:`.
    """
    if "://" in str(workdir):
        raise UserError(
            f"--workdir={workdir} is a URL; a run needs a folder of the file system: mount the "
            "bucket (gcsfuse), or train into a local folder and copy it."
        )
    with contextlib.suppress(RuntimeError):  # no home folder: taken literally
        workdir = Path(workdir).expanduser()
    return Path(workdir).absolute()


def check(
    workdir: str | os.PathLike,
    config: Mapping[str, Any],
    command: Sequence[str],
    *,
    free: Collection[str] = (),
    growing: Collection[str] = (),
) -> Found:
    """Decides whether a config can run in a folder, and writes nothing.

    Args:
      workdir: the folder, which need not exist.
      config: resolved, nested, JSON.
      command: as typed, word by word: `["python", "-m", "jaxgan.main", "--config=..."]`.
      free: dotted names, or beginnings of them (`checkpoint` covers `checkpoint.every`), that
        may differ from what the folder's run was started with.
      growing: dotted names of numbers that may have become larger.

    Raises:
      UserError: a folder that can't be one, that holds files and no run, or whose run has
        another config: then with the differences and the command for a folder of its own.
    """
    _require_usable(resolve(workdir))
    workdir = _shown(resolve(workdir))
    recorded = _recorded(workdir)
    if recorded is None:
        return Found(False, [])
    differing = [
        f"  {name}: {old} -> {new}"
        for name, (old, new) in unlike(recorded["config"], config, free).items()
        if not (name in growing and _grew(old, new))
    ]
    if differing:
        apart = ("  train.steps:", "  train.epochs:", "  converted.")
        continues = "jaxgan.main" in command and any(line.startswith(apart) for line in differing)
        continues = continues and not any("init.workdir" in line for line in differing)
        other = shlex.join(elsewhere(command, workdir))
        raise UserError(
            f"{workdir} holds a run with another config:\n"
            + "\n".join(differing)
            + "\nTo run this one in a folder of its own: "
            + other
            + f"\nTo go on from its networks: {other} "
            f"--config.init.workdir={shlex.quote(str(workdir))}" * continues
        )
    then, now = (recorded.get("later") or [recorded])[-1], provenance()
    return Found(True, _changes(then, now))


def differences(old: Mapping, new: Mapping) -> dict[str, tuple[str, str]]:
    """Dotted name -> (old, new), as JSON or `absent`, of what differs between two configs."""
    old, new = _flat(old), _flat(new)
    absent = object()
    names = [*old, *(name for name in new if name not in old)]
    differing = [name for name in names if old.get(name, absent) != new.get(name, absent)]
    return {name: (_text(old, name), _text(new, name)) for name in differing}


def unlike(old: Mapping, new: Mapping, free: Collection[str]) -> dict[str, tuple[str, str]]:
    """`differences` without those in `free`, and in fields that `old` is too old to have."""
    return {
        name: pair
        for name, pair in differences(old, new).items()
        if not _covered(name, free) and _YOUNGER.get(name) != pair
    }


def elsewhere(command: Sequence[str], workdir: str | os.PathLike) -> list[str]:
    """The same command in a folder that isn't there yet: `runs/a` becomes `runs/a-2`."""
    number = 2
    while os.path.lexists(f"{workdir}-{number}"):
        number += 1
    words, kept = iter(command), []
    for word in words:
        if word in ("--workdir", "-workdir"):
            next(words, None)
        elif not word.startswith(("--workdir=", "-workdir=")):
            kept.append(word)
    return [*kept, f"--workdir={workdir}-{number}"]


def record(
    workdir: str | os.PathLike, config: Mapping[str, Any], command: Sequence[str], data: str = ""
) -> None:
    """Writes `config.json`: the resolved config and what it runs on, atomically.

    Its `command`, `time`, `versions`, `device`, `code`, `git` and `data` are those of the first
    start; later starts where one of them differed are listed in `later`. A file that would say the
    same isn't written.

    Args:
      workdir: the folder.
      config: resolved, nested, JSON.
      command: as typed, word by word.
      data: their fingerprint.

    Raises:
      UserError: the folder can't be written.
    """
    if jax.process_index() != 0:
        return
    path = resolve(workdir) / CONFIG
    now = {
        "command": shlex.join(command),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        **provenance(),
    }
    if data:
        now["data"] = data
    recorded = _recorded(path.parent)
    if recorded is None:
        content = {"config": config, **now, "later": []}
    else:
        last = (recorded["later"] or [recorded])[-1]
        changed = any(last.get(name) != now[name] for name in now if name != "time")
        content = recorded | {"config": _plain(config)}
        content["later"] = recorded["later"] + [now] * changed
        if content == recorded:
            return
    write_atomically(path, json.dumps(content, indent=2).encode() + b"\n", sync=True)


def recorded(workdir: str | os.PathLike) -> dict[str, Any] | None:
    """Content of `config.json`; None where there is none.

    Raises:
      UserError: it can't be read, or isn't what a run writes.
    """
    path = resolve(workdir)
    return _recorded(path) if (path / CONFIG).exists() else None


def recorded_config(workdir: str | os.PathLike) -> dict[str, Any]:
    """The resolved config of the run in a folder.

    Raises:
      UserError: there is no run.
    """
    found = recorded(workdir)
    if found is None:
        raise UserError(
            f"{workdir} holds no run (no {CONFIG}); name a folder that training wrote, such as "
            "runs/cyclegan-seed0"
        )
    return found["config"]


def provenance() -> dict[str, Any]:
    """What besides the config decides the bits: versions, device, code."""
    devices = jax.devices()
    return {
        "versions": {"jaxgan": jaxgan.__version__, "python": platform.python_version()}
        | {name: _version(name) for name in PACKAGES},
        "device": {
            "platform": devices[0].platform,
            "kind": devices[0].device_kind,
            "count": len(devices),
            "processes": jax.process_count(),
            "cpu": _cpu(),
            "threads": threads(),
            "xla_flags": os.environ.get("XLA_FLAGS", ""),
        },
        "code": code_hash(),
        "git": git_commit(),
    }


def threads() -> int:
    """The cores that this process may use, as XLA counts them."""
    told = os.environ.get("NPROC", "")
    if told.isdecimal() and int(told):
        return int(told)
    return len(workers.cores_here())


def git_commit() -> dict[str, Any] | None:
    """`{"commit": ..., "dirty": ...}` of the checkout that this package lies in.

    None where it lies in none: installed from a wheel, or below somebody else's checkout.
    """
    root = Path(jaxgan.__file__).resolve().parents[1]
    # Inside a git hook these point to the repository that is being committed to.
    environment = {name: v for name, v in os.environ.items() if not name.startswith("GIT_")}

    def git(*words: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(root), *words]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=10, env=environment
        )
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root:
            return None
        commit = git("rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(git("status", "--porcelain", "--", "jaxgan"))}
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


class Lock:
    """Makes a folder and holds it against other runs, until released or the process ends.

    The system ends the lock with the process, however that ends; the file `.lock` stays and
    means nothing by itself. Of several processes of one run only the first one takes it.

    Raises:
      UserError: another run holds the folder, or it can't be made or written.
    """

    def __init__(self, workdir: str | os.PathLike):
        self.workdir = resolve(workdir)
        self._file: int | None = None
        if jax.process_index() != 0:
            return
        path = self.workdir / LOCK
        try:
            self.workdir.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise disk_error(self.workdir, error) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = _owner(file)
            os.close(file)
            raise UserError(
                f"{_shown(self.workdir)} is in use by another run ({owner}). Stop that one, or "
                "name another folder with --workdir."
            ) from None
        except OSError as error:
            os.close(file)
            raise UserError(
                f"{self.workdir} lies on a file system without locks ({error.strerror}), which "
                "keep two runs out of one folder; name another one with --workdir."
            ) from error
        self._file = file
        _held.add(self)
        owner = {"pid": os.getpid(), "host": socket.gethostname()}
        with contextlib.suppress(OSError):  # a full disk; it is only for the message above
            os.ftruncate(file, 0)
            os.pwrite(file, json.dumps(owner).encode(), 0)

    def owner(self) -> str:
        """What the file says of who holds it."""
        return (self.workdir / LOCK).read_text()

    def require_shared(self, owner: str) -> None:
        """Nothing, where this process sees what the first process, `owner`, has written.

        Raises:
          UserError: it doesn't: the folder lies on a disk of each process's own.
        """
        patience = time.monotonic() + 20  # network file systems may be late
        while True:
            with contextlib.suppress(OSError):
                if self.owner() == owner:
                    return
            if time.monotonic() > patience:
                raise UserError(
                    f"{self.workdir} is not the same folder in all processes; name one with "
                    "--workdir that lies on a disk that they share"
                )
            time.sleep(0.1)

    def release(self) -> None:
        """Lets other runs use the folder."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *_) -> None:
        self.release()


def in_use(workdir: str | os.PathLike) -> bool:
    """Whether a run holds a folder now."""
    try:
        file = os.open(resolve(workdir) / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


_held: "weakref.WeakSet[Lock]" = weakref.WeakSet()


def _drop_inherited() -> None:
    # A worker that outlives a killed run would hold its lock: flock belongs to the open file,
    # which a forked child shares.
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_drop_inherited)


def _shown(path: Path) -> Path:
    """As people write it: relative to the current folder where it lies below that."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) and path != here else path


def _require_usable(workdir: Path) -> None:
    try:
        there = next(path for path in (workdir, *workdir.parents) if os.path.lexists(path))
        usable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    except (OSError, ValueError) as error:  # a name too long, a null byte
        raise UserError(f"--workdir={workdir} can't be a folder: {error}") from error
    if not there.is_dir():
        where = "it is" if there == workdir else f"{there} is"
        raise UserError(
            f"--workdir={workdir} can't be a folder: {where} a file; name another one, such as "
            f"--workdir={there}-run"
        )
    if not usable:
        raise UserError(
            f"--workdir={workdir} can't be written: no permission in {there}; name a folder of "
            "your own, such as --workdir=runs/mine"
        )


def _recorded(workdir: Path) -> dict[str, Any] | None:
    """Content of `config.json`, None where there is no run and nothing else either."""
    path = workdir / CONFIG
    try:
        recorded = json.loads(path.read_bytes())
        if not isinstance(recorded["config"], dict) or not isinstance(recorded["later"], list):
            raise TypeError
        data = recorded["config"].get("data")
        # Super-resolution, which has a scale, is younger than these fields and does without.
        old = isinstance(data, dict) and "dtype" not in data and "scale" not in data
        if old and "channels" in data:
            recorded["config"]["data"] = _SINCE_CHANNELS | data
        return recorded
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise UserError(
            f"{path} can't be read ({error.strerror}); name another folder with --workdir."
        ) from error
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{path} isn't what a run writes, so nothing there is touched; name another folder "
            "with --workdir."
        ) from None
    foreign = sorted({p.name for p in workdir.iterdir()} - _NO_RUN_YET) if workdir.is_dir() else []
    if foreign:
        names = ", ".join(foreign[:3]) + (", ..." if len(foreign) > 3 else "")
        raise UserError(
            f"{workdir} holds files ({names}) and no run (no {CONFIG}); name an empty or a new "
            "folder with --workdir."
        )
    return None


def _plain(config: Mapping) -> dict:
    return json.loads(json.dumps(config))


def _flat(config: Mapping, prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in _plain(config).items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _text(flat: Mapping, name: str) -> str:
    return json.dumps(flat[name]) if name in flat else "absent"


def _covered(name: str, free: Collection[str]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in free)


def _grew(old: str, new: str) -> bool:
    old, new = (json.loads(text) if text != "absent" else None for text in (old, new))
    return all(isinstance(value, int | float) for value in (old, new)) and new > old


def _changes(then: Mapping, now: Mapping) -> list[str]:
    """Sentences for what differs between the last start and this one."""
    then = _plain(then)
    changes = []
    for part in ("versions", "device"):
        old, new = then.get(part, {}), now[part]
        for name in new:
            since = name == "threads" and name not in old  # an old record has none
            if name not in _WITHOUT_INFLUENCE and not since and old.get(name) != new[name]:
                said = _SAID.get(name, name)
                changes.append(f"{said} was {old.get(name)!r} and is {new[name]!r} now")
    if then.get("code") != now["code"]:
        old, new = (_commit(side.get("git")) for side in (then, now))
        changes.append(f"jaxgan's code was {old} and is {new} now")
    return [f"{change}: the bits may differ from those of an unbroken run" for change in changes]


def _commit(git: Mapping | None) -> str:
    if git is None:
        return "of unknown commit"
    return f"of commit {git['commit'][:12]}" + (" with changes" if git["dirty"] else "")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@functools.cache
def code_hash() -> str:
    """Of this package's files, as they were when it was first asked for."""
    root = Path(jaxgan.__file__).resolve().parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _owner(file: int) -> str:
    try:
        owner = json.loads(os.pread(file, 1000, 0))
        return f"process {owner['pid']} on {owner['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "which hasn't said its name yet"
