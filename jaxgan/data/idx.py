"""MNIST and what is published like it: four IDX files, or one `.npz`.

Format: LeCun, Cortes, Burges, "The MNIST database of handwritten digits": two zero bytes, the type
(8: unsigned bytes), the number of axes, each axis's length as a big-endian int32, the values.
"""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from jaxgan.data import labelled, stacks
from jaxgan.data.arrays import UINT8
from jaxgan.data.in_memory import Split
from jaxgan.errors import UserError

DIGITS = tuple("0123456789")
# Xiao, Rasul, Vollgraf, "Fashion-MNIST", arXiv:1708.07747, table 1
FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
STEMS = {"train": "train", "test": "t10k"}
PLACES = (".", "raw", "MNIST/raw", "FashionMNIST/raw")  # where others' programs unpack them
UNSIGNED_BYTES = 8
AXES = {"images": 3, "labels": 1}
WANTED = (
    "The folder of train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and "
    "t10k-labels-idx1-ubyte (or .gz), or one .npz file, is needed"
)


def open_mnist(path: str) -> tuple[Split, Split]:
    """What is to train on and to test on: uint8 [N, H, W, 1] and labels.

    Args:
        path: the folder, one of the files in it, or an `.npz` with train_image, train_label,
            test_image and test_label, or Keras's x_train, y_train, x_test and y_test.

    Raises:
        UserError: a file is missing, cut off, or something else.
    """
    root = labelled.existing(path, WANTED)
    file = root.is_file() and "-ubyte" in root.name
    if root.is_file() and not file:
        return _archive(root)
    places = [root.parent] if file else [root / place for place in PLACES]
    folder = next((place for place in places if _find(place, "train", "images")), places[0])
    archives = sorted(folder.glob("*.npz"))
    if len(archives) == 1 and not _find(folder, "train", "images"):
        return _archive(archives[0])
    found = {(split, kind): _find(folder, split, kind) for split in STEMS for kind in AXES}
    missing = [_name(*key) for key, file in found.items() if file is None]
    if missing:
        raise labelled.missing_files(folder, missing, len(found), WANTED)
    read = {key: read_idx(file, AXES[key[1]]) for key, file in found.items()}
    return tuple(Split(read[split, "images"][..., None], read[split, "labels"]) for split in STEMS)


def _archive(file: Path) -> tuple[Split, Split]:
    if file.suffix != ".npz":
        raise UserError(f"data.path={file} is no such file. {WANTED}: --config.data.path=PATH")
    train, test, classes, _ = stacks.open_stacks(str(file), 1, UINT8)
    if test is None or classes == labelled.UNLABELLED:
        what = "test images" if test is None else "labels"
        raise UserError(f"{file} has no {what}. {WANTED}: --config.data.path=PATH")
    return train, test


def _name(split: str, kind: str) -> str:
    return f"{STEMS[split]}-{kind}-idx{AXES[kind]}-ubyte"


def _find(folder: Path, split: str, kind: str) -> Path | None:
    name = _name(split, kind)
    stems = (name, name.replace("-idx", ".idx"))
    files = [folder / (stem + end) for stem in stems for end in ("", ".gz")]
    return next((file for file in files if file.is_file()), None)


def read_idx(path: Path, axes: int) -> np.ndarray:
    """The unsigned bytes in one file, plain or compressed.

    Args:
        axes: that it has to have: 3 of images, 1 of labels.

    Raises:
        UserError: it has others, is cut off, or is no such file.
    """
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} can't be read ({error}); download it again") from error
    wanted, header = bytes([0, 0, UNSIGNED_BYTES, axes]), 4 + 4 * axes
    if data[:4] != wanted:
        raise UserError(
            f"{path} begins with {data[:4].hex(' ') or 'nothing'}, where an IDX file of "
            f"{'images' if axes == 3 else 'labels'} begins with {wanted.hex(' ')}; put the "
            "published file there"
        )
    shape = np.frombuffer(data[4:header].ljust(4 * axes, b"\0"), ">i4").tolist()
    size = math.prod(shape)
    if min(shape) < 0 or len(data) != header + size:
        verb = "is cut off" if len(data) < header + size else "is too long"
        raise UserError(
            f"{path} {verb}: it has {max(0, len(data) - header)} values, and its header promises "
            f"{' x '.join(map(str, shape))}; download it again"
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)
