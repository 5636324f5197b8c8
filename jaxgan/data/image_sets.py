"""Sets of images to be scored: a folder, or an array file. Read one after another, never all."""

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from jaxgan.data import transforms
from jaxgan.data.sources import ImageFolder, Source, UnreadableImage, available_cores
from jaxgan.errors import UserError
from jaxgan.files import expanded

ARRAY_NAMES = ("images", "samples", "arr_0")  # in .npz files, the first that is there
AHEAD = 256  # images that are read ahead of their use


class ImageSet(NamedTuple):
    """Images of one size.

    Attributes:
      name: what the user calls it.
      source: [H, W, C], uint8 or float32 in [-1, 1]; some of a folder may be unreadable.
      digest: of the files' bytes, in their order.
      size: side of the square that each is fitted to; 0: all have one size already.
    """

    name: str
    source: Source
    digest: str
    size: int


def open_set(path: str, size: int = 0) -> ImageSet:
    """A folder of pictures (in sub-folders, too), or a `.npy` or `.npz` file of [N, H, W, C].

    Arrays are uint8, or floating point in [-1, 1].

    Args:
      path: of it.
      size: what every image is fitted to (antialiased); 0: none is.

    Raises:
      UserError: there is no such thing, or its arrays are something else.
    """
    where = expanded(path)
    if where.suffix.lower() in (".npz", ".npy"):
        return ImageSet(path, _Array(where, size), _digest([where]), size)
    folder = ImageFolder(where, channels=3, size=size or None)
    return ImageSet(path, folder, _digest(where / name for name in folder.names), size)


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


def _read(path: Path) -> np.ndarray:
    try:
        with open(path, "rb") as file:
            found = np.load(file, allow_pickle=False)
            if isinstance(found, np.lib.npyio.NpzFile):
                names = [name for name in ARRAY_NAMES if name in found.files] or found.files[:1]
                found = found[names[0]]
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} can't be read as arrays: {reason}") from error
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
            with open(path, "rb") as file:
                whole.update(hashlib.file_digest(file, "sha256").digest())
        except OSError:  # told where it is read
            whole.update(b"unreadable")
    return whole.hexdigest()[:16]


class Reading:
    """The images of a set, one after another, read ahead by all cores.

    Attributes:
      name: that of the set.
      files: how many there are to be read.
      count: images that were given so far.
      broken: what couldn't be read, and was left out.
    """

    def __init__(self, images: ImageSet, num: int = 0):
        """
        Args:
          images: to be read.
          num: files at most; 0: all.
        """
        self.images = images
        self.name = images.name
        self.files = min(num or len(images.source), len(images.source))
        self.count = 0
        self.broken: list[UnreadableImage] = []

    def __iter__(self) -> Iterator[np.ndarray]:
        """
        Raises:
          UserError: images of different sizes, or none that can be read.
        """
        first: tuple[str, tuple[int, ...]] | None = None
        names = getattr(self.images.source, "names", None)
        for index, image in enumerate(self._ahead()):
            if isinstance(image, UnreadableImage):
                self.broken.append(image)
                continue
            name = names[index] if isinstance(names, list) else f"image {index}"
            first = first or (name, image.shape)
            if image.shape != first[1]:
                (a, b), (c, d) = first[1][:2], image.shape[:2]
                raise UserError(
                    f"images of different sizes in {self.images.name}: {first[0]} is {b} x {a}, "
                    f"{name} is {d} x {c}; --size={min(a, b, c, d)} fits all to one size"
                )
            self.count += 1
            yield image
        if not self.count:
            raise UserError(f"none of the {self.files} files in {self.images.name} can be read")

    def _ahead(self) -> Iterator[np.ndarray | UnreadableImage]:
        Image.init()  # not safe to leave to several threads at once
        source = self.images.source

        def one(index: int) -> np.ndarray | UnreadableImage:
            try:
                return source[index]
            except UnreadableImage as error:
                return error

        pool = ThreadPoolExecutor(available_cores(), thread_name_prefix="jaxgan-read")
        try:
            for start in range(0, self.files, AHEAD):
                yield from pool.map(one, range(start, min(start + AHEAD, self.files)))
        finally:
            pool.shutdown(cancel_futures=True)
