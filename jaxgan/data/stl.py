"""STL-10's binary files.

Source: Coates, Lee, Ng, "An Analysis of Single Layer Networks in Unsupervised Feature Learning",
AISTATS 2011: images of 96 x 96 pixels, each channel by columns; labels from 1 to 10.
"""

from pathlib import Path

import numpy as np

from jaxgan.data import labelled
from jaxgan.data.in_memory import Split
from jaxgan.errors import UserError

SIDE = 96
CLASSES = (
    "airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck",
)  # fmt: skip
FILES = ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin")
PLACES = (".", "stl10_binary")
WANTED = f"STL-10's folder stl10_binary with {', '.join(FILES)} is needed"


def open_stl(path: str) -> tuple[Split, Split, tuple[str, ...]]:
    """What is to train on and to test on, uint8 [N, 96, 96, 3] and labels, and the classes' names.

    The 100,000 images without a label are left alone.

    Raises:
        UserError: a file is missing or cut off.
    """
    root = labelled.existing(path, WANTED)
    if not root.is_dir():
        raise UserError(f"data.path={root} is a file. {WANTED}; unpack an archive first.")
    folder = next((root / p for p in PLACES if (root / p / FILES[0]).is_file()), root)
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise labelled.missing_files(folder, missing, len(FILES), WANTED)
    train, test = (
        Split(_images(folder / f"{split}_X.bin"), _labels(folder / f"{split}_y.bin"))
        for split in ("train", "test")
    )
    names = folder / "class_names.txt"
    classes = tuple(names.read_text(errors="replace").split()) if names.is_file() else CLASSES
    return train, test, classes


def _images(path: Path) -> np.ndarray:
    values = np.fromfile(path, np.uint8)
    each = 3 * SIDE * SIDE
    if values.size % each or not values.size:
        raise UserError(
            f"{path} has {values.size} bytes, which is no number of whole images of {each} bytes; "
            "download it again"
        )
    return np.ascontiguousarray(values.reshape(-1, 3, SIDE, SIDE).transpose(0, 3, 2, 1))


def _labels(path: Path) -> np.ndarray:
    labels = np.fromfile(path, np.uint8).astype(np.int32)
    if labels.size and not 1 <= labels.min() <= labels.max() <= len(CLASSES):
        raise UserError(
            f"{path} has labels from {labels.min()} to {labels.max()}, and STL-10's go from 1 to "
            f"{len(CLASSES)}; download it again"
        )
    return labels - 1
