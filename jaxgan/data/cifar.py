"""CIFAR-10 and CIFAR-100 as published for Python: pickled batches, read without unpickling.

Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. A batch is a dict
with `data`, uint8 [N, 3072] (32 x 32 red values by rows, then green, then blue), and a list of
labels. `pickles.py` carries such a program out without running code.
"""

import io
import re
import tarfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxgan import pickles
from jaxgan.data import labelled
from jaxgan.data.in_memory import Split
from jaxgan.errors import UserError

SIDE = 32
DTYPE = re.compile(r"[<>|=]?[uif][1248]")
ADVICE = "arrays, lists and names are read; download the published batches again"


class Layout(NamedTuple):
    """A published set: its folder, its files, and the names of the lists in them."""

    name: str
    folder: str
    train: tuple[str, ...]
    test: str
    meta: str
    labels: str
    classes: str

    @property
    def files(self) -> tuple[str, ...]:
        """All that are read."""
        return (*self.train, self.test, self.meta)


BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
CIFAR10 = Layout(
    "cifar10", "cifar-10-batches-py", BATCHES, "test_batch", "batches.meta", "labels", "label_names"
)
CIFAR100 = Layout(
    "cifar100", "cifar-100-python", ("train",), "test", "meta", "fine_labels", "fine_label_names"
)


def open_cifar(path: str, layout: Layout) -> tuple[Split, Split, tuple[str, ...]]:
    """What is to train on and to test on, uint8 [N, 32, 32, 3] and labels, and the classes' names.

    Args:
        path: the folder of the batches, the folder around it, or the published .tar.gz.
        layout: CIFAR10, or CIFAR100 (its fine labels).

    Raises:
        UserError: a file is missing, cut off, something else, or asks for code to be run.
    """
    wanted = (
        f"The published folder {layout.folder}, or its .tar.gz, is needed, and for a folder of "
        "images --config.data.name=folder"
    )
    root = labelled.existing(path, wanted)
    if root.is_dir():
        inner = root / layout.folder
        folder = inner if inner.is_dir() and not (root / layout.test).is_file() else root
        files = {name: folder / name for name in layout.files if (folder / name).is_file()}
        there = {entry.name for entry in folder.iterdir()}
        contents = {name: file.read_bytes() for name, file in files.items()}
    else:
        folder = root
        contents, there = _unpacked(root, layout, wanted)
    missing = [name for name in layout.files if name not in contents]
    if missing:
        (other,) = {CIFAR10, CIFAR100} - {layout}
        if other.folder in there or set(other.files) <= there:
            raise UserError(f"{folder} is {other.name}; add --config.data.name={other.name}")
        raise labelled.missing_files(folder, missing, len(layout.files), wanted)
    batches = [_batch(folder / name, contents.pop(name), layout) for name in layout.train]
    train = Split(*(np.concatenate(parts) for parts in zip(*batches, strict=True)))
    test = _batch(folder / layout.test, contents.pop(layout.test), layout)
    names = read_pickle(folder / layout.meta, contents[layout.meta]).get(layout.classes)
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise UserError(f"{folder / layout.meta} has no list {layout.classes}; download it again")
    return train, test, tuple(names)


def _unpacked(path: Path, layout: Layout, wanted: str) -> tuple[dict[str, bytes], set[str]]:
    """The batches in an archive, and the names of all that is in it, without their folder."""
    contents, there = {}, set()
    if not path.is_file() or not tarfile.is_tarfile(path):
        raise UserError(
            f"data.path={path} is neither a folder nor an archive. {wanted}: "
            "--config.data.path=PATH"
        )
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                folder, _, name = member.name.removeprefix("./").rpartition("/")
                there.add(name if member.isfile() else Path(member.name).name)
                if member.isfile() and folder == layout.folder and name in layout.files:
                    contents[name] = archive.extractfile(member).read()
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} can't be unpacked ({reason}); download it again") from error
    return contents, there


def _batch(path: Path, data: bytes, layout: Layout) -> Split:
    batch = read_pickle(path, data)
    images, labels = (batch.get(key) for key in ("data", layout.labels))
    if isinstance(images, _Array):
        images = images.values
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        raise UserError(f"{path} has no uint8 array data; download it again")
    if images.ndim != 2 or images.shape[1] != 3 * SIDE**2:
        raise UserError(
            f"{path} has data of {list(images.shape)}, not [N, {3 * SIDE**2}]; download it again"
        )
    if not isinstance(labels, list) or not all(isinstance(label, int) for label in labels):
        raise UserError(f"{path} has no list {layout.labels} of integers; download it again")
    if len(labels) != len(images):
        raise UserError(
            f"{path} has {len(images)} images and {len(labels)} {layout.labels}; each image needs "
            "one"
        )
    planes = images.reshape(-1, 3, SIDE, SIDE)
    labels = np.clip(np.array(labels, object), -1, 2**31 - 1).astype(np.int32)
    return Split(np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels)


def read_pickle(path: Path, data: bytes) -> dict[str, Any]:
    """The dict that a batch is; `path` is for messages.

    Raises:
        UserError: it isn't one, or asks for anything but arrays.
    """
    try:
        found = pickles.load(io.BytesIO(data), FUNCTIONS, ADVICE, build=_build)
        if not isinstance(found, dict):
            raise ValueError(f"it holds a {type(found).__name__}")
    except UserError as error:
        raise UserError(f"{path} is refused: {error}") from error
    except Exception as error:  # of any kind, for bytes of any kind
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"{path} can't be read as a published batch ({reason}); download it again"
        ) from error
    return found


class _Array:
    """What a pickle makes empty and fills afterwards."""

    values: np.ndarray | None = None


class _Type:
    """A number's type."""

    def __init__(self, text: str, *_: Any):
        if not DTYPE.fullmatch(text):
            raise ValueError(f"its arrays are of {text[:20]}")
        self.dtype = np.dtype(text)


def _build(made: Any, state: Any) -> None:
    if isinstance(made, _Type) and state[1] in ("<", ">", "|"):
        made.dtype = made.dtype.newbyteorder(state[1])
    elif isinstance(made, _Array):
        _, shape, kind, by_columns, data = state
        data = data.encode("latin-1") if isinstance(data, str) else data
        made.values = np.frombuffer(data, kind.dtype).reshape(shape, order="CF"[by_columns])


FUNCTIONS = {
    "numpy ndarray": None,
    "numpy dtype": _Type,
    "numpy.core.multiarray _reconstruct": lambda *_: _Array(),
    "numpy._core.multiarray _reconstruct": lambda *_: _Array(),
    "_codecs encode": lambda text, _: text.encode("latin-1"),
}
