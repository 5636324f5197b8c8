"""Sets of images to be scored: a folder, read one after another, or an array file."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from jaxgan.data import transforms
from jaxgan.data.sources import ImageFolder, Source, UnreadableImage, available_cores
from jaxgan.errors import UserError
from jaxgan.files import digest, expanded

ARRAY_NAMES = ("images", "samples", "arr_0")  # in .npz files, the first that is there
AHEAD = 256  # images that are read ahead of their use


class ImageSet(NamedTuple):
    """Images of one size.

    Attributes:
      name: what the user calls it.
      source: [H, W, C], uint8 or float32 in [-1, 1]; some of a folder may be unreadable.
      digest: gives that of the files' bytes, in their order; read once, when it is asked for.
      size: side of the square that each is fitted to; 0: all have one size already.
      labels: int [N], the class of each, or the sub-folder that it lies in; None where there are
        none.
      classes: names of the labels.
    """

    name: str
    source: Source
    digest: Callable[[], str]
    size: int
    labels: np.ndarray | None = None
    classes: tuple[str, ...] | None = None


def open_set(path: str, size: int = 0) -> ImageSet:
    """A folder of pictures (in sub-folders, too), or a `.npy` or `.npz` file of [N, H, W, C].

    Arrays are uint8, or floating point in [-1, 1].

    Args:
      path: of it.
      size: what every image is fitted to (antialiased); 0: none is.

    Raises:
      UserError: there is no such thing, or its arrays are something else.
    """
    where, labels, classes = expanded(path), None, None
    if (where / "config.json").is_file() and (where / "checkpoints").is_dir():
        raise UserError(
            f"{path} is a run's folder, and no folder of images; python -m jaxgan.sample "
            f"--workdir={path} --output=FOLDER makes some (runs that translate: jaxgan.translate)"
        )
    if where.suffix.lower() in (".npz", ".npy"):
        source, files = _Array(where, size), [where]
    else:
        source = ImageFolder(where, channels=3, size=size or None)
        files = [where / name for name in source.names]
        folders = [str(Path(name).parent) for name in source.names]
        if len(set(folders)) > 1:
            names, labels = np.unique(folders, return_inverse=True)
            classes = tuple(map(str, names))
    return ImageSet(path, source, cache(partial(_digest, files)), size, labels, classes)


class _Array:
    """The images of an array file, perhaps fitted to a size."""

    def __init__(self, path: Path, size: int):
        self.images = _read(path)
        self.size = size

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> np.ndarray:
        image = self.images[index]
        return transforms.resize(image, self.size) if self.size else image


def read_arrays(
    path: Path | str, chosen: Callable[[list[str]], Iterable[str]] = list
) -> dict[str, np.ndarray]:
    """Arrays of a `.npz` file by name, or that of a `.npy` file by the name "".

    Args:
      path: of the file.
      chosen: of the names that are there, those that are read.

    Raises:
      UserError: it isn't there, or can't be read.
    """
    path = expanded(path)
    try:
        # Opened here, since NumPy leaves a file open that it can't read.
        with open(path, "rb") as file:
            found = np.load(file, allow_pickle=False)
            if isinstance(found, np.ndarray):
                return {"": found}
            return {name: found[name] for name in chosen(found.files)}
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except Exception as error:  # zip files break in many ways
        reason = " ".join(str(error).split())
        raise UserError(f"{path} can't be read as arrays: {reason}") from error


def _read(path: Path) -> np.ndarray:
    def first(there: list[str]) -> list[str]:
        return ([name for name in ARRAY_NAMES if name in there] or there)[:1]

    found = next(iter(read_arrays(path, first).values()), np.empty(0))
    if found.ndim == 3:
        found = found[..., None]
    if found.ndim != 4 or found.shape[-1] not in (1, 3) or 0 in found.shape:
        raise UserError(
            f"{path} holds an array {list(found.shape)}; images are [N, H, W, C], of 1 or 3 "
            "channels"
        )
    if found.dtype == np.uint8:
        return found
    if found.dtype.kind != "f":
        raise UserError(f"{path} holds {found.dtype}; images are uint8, or floats in [-1, 1]")
    low, high = float(found.min()), float(found.max())
    if not (low >= -1 and high <= 1):
        raise UserError(
            f"{path} holds values from {low:g} to {high:g}; floating-point images are in [-1, 1]"
        )
    return found.astype(np.float32)


def _digest(paths: Iterable[Path]) -> str:
    whole = hashlib.sha256()
    for path in paths:
        try:
            whole.update(digest(path).encode())
        except OSError:  # told where it is read
            whole.update(b"unreadable")
    return whole.hexdigest()[:16]


class Reading:
    """The images of a set, one after another, read ahead by all cores.

    Attributes:
      name: that of the set.
      files: how many there are to be read.
      broken: what couldn't be read, and was left out.
      labels: of those that could, once they are read.
      classes: names of the labels.
    """

    def __init__(self, images: ImageSet, num: int = 0):
        """
        Args:
          images: to be read.
          num: files at most; 0: all.
        """
        self.source, self.name = images.source, images.name
        self.files = min(num or len(images.source), len(images.source))
        self.broken: list[UnreadableImage] = []
        self.classes = images.classes
        self._all_labels, self._whole = images.labels, np.ones(self.files, bool)

    @property
    def labels(self) -> np.ndarray | None:
        return None if self._all_labels is None else self._all_labels[: self.files][self._whole]

    def __iter__(self) -> Iterator[np.ndarray]:
        """
        Raises:
          UserError: images of different sizes, or none that can be read.
        """
        first: tuple[str, tuple[int, ...]] | None = None
        names = getattr(self.source, "names", None)
        for index, image in enumerate(self._ahead()):
            if isinstance(image, UnreadableImage):
                self.broken.append(image)
                self._whole[index] = False
                continue
            name = names[index] if isinstance(names, list) else f"image {index}"
            first = first or (name, image.shape)
            if image.shape != first[1]:
                (a, b), (c, d) = first[1][:2], image.shape[:2]
                raise UserError(
                    f"images of different sizes in {self.name}: {first[0]} is {b} x {a}, "
                    f"{name} is {d} x {c}; --size={min(a, b, c, d)} fits all to one size"
                )
            yield image
        if first is None:
            raise UserError(f"none of the {self.files} files in {self.name} can be read")

    def _ahead(self) -> Iterator[np.ndarray | UnreadableImage]:
        Image.init()  # not safe to leave to several threads at once

        def one(index: int) -> np.ndarray | UnreadableImage:
            try:
                return self.source[index]
            except UnreadableImage as error:
                return error

        pool = ThreadPoolExecutor(available_cores(), thread_name_prefix="jaxgan-read")
        try:
            for start in range(0, self.files, AHEAD):
                yield from pool.map(one, range(start, min(start + AHEAD, self.files)))
        finally:
            pool.shutdown(cancel_futures=True)
