"""Files that are either whole or not there, and full disks in words."""

import contextlib
import errno
import hashlib
import os
import socket
from pathlib import Path

from jaxgan.errors import UserError


def disk_error(path: Path | str, error: OSError) -> UserError:
    """What to tell the user about a file that could not be written or read."""
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        advice = "Free some space and run the same command again: it goes on where it was."
    elif error.errno in (errno.EEXIST, errno.ENOTDIR):
        reason, advice = "a part of that path is a file", "Name another folder."
    else:
        advice = "Make the folder writable, or name another one."
    return UserError(f"{path} can't be written: {reason}. {advice}")


def expanded(path: Path | str) -> Path:
    """The path with its `~`, or as it is where nobody has such a home."""
    with contextlib.suppress(RuntimeError):
        return Path(path).expanduser()
    return Path(path)


def digest(path: Path | str) -> str:
    """The SHA-256 of a file's bytes, 64 hexadecimal digits.

    Raises:
      OSError: it can't be read.
    """
    with open(expanded(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(
    path: Path | str, data: bytes, *, sync: bool = False, shared: bool = False
) -> None:
    """Writes a file at once: a process killed here leaves the old file or the new one.

    Folders are made as needed.

    Args:
      path: of the file.
      data: all of it.
      sync: the bytes are on the disk before they get their name.
      shared: others may write it at the same time; the last one's stays.

    Raises:
      UserError: the disk is full, or the place can't be written.
    """
    path = Path(path)
    of = f".{socket.gethostname()}-{os.getpid()}" if shared else ""
    temporary = path.with_name(f".{path.name}{of}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb", buffering=0) as file:
            write_all(file, data)
            if sync:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise disk_error(path, error) from error


def write_all(file, data: bytes) -> None:
    """Writes all of `data` to an unbuffered file, whose `write` may take only a part."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
