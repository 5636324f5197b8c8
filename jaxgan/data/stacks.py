"""Data sets that are stacks of images: one `.npy`, or one `.npz` with labels. Never unpickled."""

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxgan.data import arrays, labelled, sources
from jaxgan.data.arrays import UINT8, Values
from jaxgan.data.in_memory import Split
from jaxgan.errors import UserError

IMAGES = ("image", "images", "x", "arr_0")
LABELS = ("label", "labels", "y")
CLASSES = ("classes", "class_names", "label_names")
WANTED = "A .npy file of images [N, H, W, C], or an .npz file of images and labels, is needed"
KEYS = "image (or images, x, arr_0) and label (or labels, y), or train_image, test_image, ..."
MOST_CLASSES = 1000  # or as many as there are images


def open_stacks(
    path: str, channels: int, values: Values, image_key: str = "", label_key: str = ""
) -> tuple[Split, Split | None, tuple[str, ...], str]:
    """What is to train on, to test on (None where there is nothing), the classes, and the file.

    Args:
        path: a `.npy` or `.npz` file.
        channels: grey and colour pictures fit 1 and 3; otherwise images have just so many.
        values: what the images hold.
        image_key, label_key: names to look for first.

    Raises:
        UserError: the file is missing, broken, or holds something else.
    """
    file = labelled.existing(path, WANTED)
    if not file.is_file() or file.suffix not in (".npy", ".npz"):
        what = "is a folder" if file.is_dir() else "ends neither with .npy nor with .npz"
        raise UserError(f"data.path={file} {what}. {WANTED}: --config.data.path=PATH")
    if file.suffix == ".npy":
        train = Split(_images(f"{file}", _load(file), values), None)
        test = names = None
    else:
        train, test, names = read(file, values, image_key, label_key)
        if train is None:
            raise UserError(f"{file} has no images. {WANTED}, with {KEYS}")
    for split in filter(None, (train, test)):
        _require_channels(file, split.images, channels, values)
    train, test, classes = _classified(file, train, test, names)
    return train, test, classes, str(file)


def read(
    file: Path, values: Values = UINT8, image_key: str = "", label_key: str = ""
) -> tuple[Split | None, Split | None, np.ndarray | None]:
    """The splits in an `.npz`, and the names of the classes where it has them.

    Images are [N, H, W, C], uint8 or float32 in [-1, 1]; labels are as they were stored, and None
    where there are none.

    Raises:
        UserError: it is broken, or its arrays don't fit.
    """
    if not zipfile.is_zipfile(file):
        raise UserError(
            f"{file} is cut off, or no .npz file, whatever its name; restore it, or write it anew"
        )
    try:
        with np.load(file, allow_pickle=False) as archive:
            there = archive.files
            images, labels = (image_key, *IMAGES), (label_key, *LABELS)
            image = _among(there, "train", images) or _among(there, "", images)
            label = _among(there, "train", labels) or _among(there, "", labels)
            test_image, test_label = (_among(there, "test", keys) for keys in (images, labels))
            names = _among(there, "", CLASSES)
            keys = [image, label, test_image, test_label, names]
            found = {key: archive[key] for key in filter(None, keys)}
    except Exception as error:  # NumPy and zipfile raise nearly everything on broken files
        raise _broken(file, error) from error
    splits = []
    for key, of in ((image, label), (test_image, test_label)):
        split = Split(_images(f"{file}: {key}", found[key], values), found.get(of)) if key else None
        splits.append(split)
    return *splits, found.get(names)


def _among(there: Sequence[str], part: str, stems: Sequence[str]) -> str | None:
    for stem in filter(None, stems):
        for key in (f"{part}_{stem}", f"{stem}_{part}") if part else (stem,):
            if key in there:
                return key
    return None


def _load(file: Path) -> np.ndarray:
    """In memory; bytes that don't fit there stay on the disk."""
    try:
        kind, shape = arrays.header(file)
        size = math.prod(shape) * kind.itemsize
        large = kind == np.uint8 and size > sources.default_budget()
        return np.asarray(np.load(file, "r" if large else None, allow_pickle=False))
    except Exception as error:  # as above, and MemoryError for an absurd shape
        raise _broken(file, error) from error


def _broken(file: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split())[:200]
    if "allow_pickle" in reason:
        reason = "it holds pickled objects, which are never loaded"
    return UserError(f"{file} can't be read ({reason}); restore it, or write it anew")


def _images(where: str, array: np.ndarray, values: Values) -> np.ndarray:
    """[N, H, W, C] in the range of images."""
    shape, kind = list(array.shape), array.dtype
    if array.ndim == 3 and shape[2] in (1, 3, 4):
        raise UserError(f"{where} is one image {shape}; images are stacked as [N, H, W, C]")
    if array.ndim not in (3, 4):
        hint = "; reshape them" if array.ndim == 2 else ""
        raise UserError(f"{where} is {shape}, and images are [N, H, W, C] or [N, H, W]{hint}")
    if array.ndim == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3):
        raise UserError(f"{where} is {shape}, [N, C, H, W]; save np.moveaxis(array, 1, -1) instead")
    if 0 in shape:
        raise UserError(f"{where} is empty: {shape}")
    floating = kind.kind == "f" and kind.itemsize <= 8
    if not floating and kind != np.uint8:
        raise UserError(
            f"{where} is {kind.name}; save it as uint8, or as float32 for "
            "--config.data.dtype=float32"
        )
    wanted = "float32" if floating else "uint8"
    if wanted != values.kind:
        words = "floating point" if floating else "uint8"
        hint = " --config.data.low=LOW --config.data.high=HIGH" if floating else ""
        raise UserError(f"{where} is {words}; add --config.data.dtype={wanted}{hint}")
    array = array[..., None] if array.ndim == 3 else array
    return _units(where, array, values) if floating else array


def _units(where: str, array: np.ndarray, values: Values) -> np.ndarray:
    """Floating point to float32 in [-1, 1], in place where it is float32 already."""
    try:
        arrays.require_range(array, values)
    except arrays.OutOfRange as error:
        raise UserError(
            f"{where} has values from {error.lowest!s} to {error.highest!s}, outside of "
            f"data.low={values.low} to data.high={values.high}; try "
            f"--config.data.low={error.lowest!s} --config.data.high={error.highest!s}, or the "
            "bounds that your data has by its nature"
        ) from error
    except ValueError as error:
        raise UserError(f"{where}: {error}; mend or leave out such images") from error
    units = array if array.dtype == np.float32 else np.empty(array.shape, np.float32)
    for i, image in enumerate(array):
        units[i] = values.to_unit(image)
    return units


def _require_channels(file: Path, images: np.ndarray, channels: int, values: Values) -> None:
    found = images.shape[3]
    pictures = values.kind == "uint8" and {found, channels} <= {1, 3}
    if found != channels and not pictures:
        raise UserError(
            f"{file} has images of {found} channels, and data.channels={channels}; add "
            f"--config.data.channels={found}"
        )


def _classified(
    file: Path, train: Split, test: Split | None, names: np.ndarray | None
) -> tuple[Split, Split | None, tuple[str, ...]]:
    """Labels as integers, and the names of the classes."""
    splits = [split for split in (train, test) if split is not None]
    if all(split.labels is None for split in splits):
        zeros = [Split(s.images, np.zeros(len(s.images), np.int32)) for s in splits]
        return zeros[0], zeros[1] if test else None, labelled.UNLABELLED
    if any(split.labels is None for split in splits):
        raise UserError(f"{file} has labels of one of its two splits; both need them, or neither")
    stored = []
    for images, labels in splits:
        labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
        if labels.ndim != 1 or labels.dtype.kind not in "iubU":
            hint = "; save their argmax" if labels.ndim == 2 else ""
            raise UserError(
                f"{file} has labels of {labels.dtype.name} {list(labels.shape)}, and they are "
                f"integers (or names) [N]{hint}"
            )
        stored.append(Split(images, labels))
    if any(s.labels.dtype.kind == "U" for s in stored):
        known = np.unique(stored[0].labels)
        for i, (images, labels) in enumerate(stored):
            unknown = np.setdiff1d(labels, known)
            if unknown.size:
                raise UserError(f"{file} has test images of {unknown[0]}, which none is trained on")
            stored[i] = Split(images, np.searchsorted(known, labels))
        names = known
    largest = max((int(s.labels.max()) for s in stored if s.labels.size), default=0)
    if largest >= max(MOST_CLASSES, *(len(s.images) for s in stored)):
        raise UserError(
            f"{file} has the label {largest}, more than there are images; number the classes from 0"
        )
    classes = tuple(map(str, range(largest + 1) if names is None else names.ravel().tolist()))
    return stored[0], stored[1] if test else None, classes
