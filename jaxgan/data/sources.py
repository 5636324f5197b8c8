"""Random-access image sources: `len(source)` and `source[i]`, [H, W, C], uint8 or float32.

A source is anything with these two (and, where there are files behind it, `names`). Its images
are all uint8 or all float32 in [-1, 1]. It returns the same pixels for the same index at every
call and from every thread; everything random belongs to `pipeline.py`.
"""

import hashlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import numpy as np
from PIL import Image, ImageOps

from jaxgan.data import arrays, transforms
from jaxgan.data.arrays import UINT8, OutOfRange, Values
from jaxgan.errors import UserError
from jaxgan.files import expanded

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
# Named, so that a file with a false suffix never reaches Pillow's less guarded decoders.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF")
KINDS = "JPEG, PNG, WebP, BMP, TIFF or .npy"
READ = (*SUFFIXES, arrays.SUFFIX)
UNPAIRED_LAYOUT = "trainA and trainB and, where there are test images, testA and testB"
HELD_OUT_SHARE = 0.05
HELD_OUT_MOST = 40
CACHE_SHARE = 0.25
CACHE_MOST = 4 * 2**30


class Source(Protocol):
    """Random access to images [H, W, C], uint8 or float32 in [-1, 1]."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> np.ndarray: ...


class Stored(Source, Protocol):
    """Images that lie on a disk, each with a name, fitted to `size`; some may be broken."""

    channels: int
    size: int | None
    names: list[str]

    def part(self, names: Sequence[str], size: int) -> "Stored":
        """Only the images of these names, at another size."""

    def refusal(self, broken: Sequence["UnreadableImage"]) -> str:
        """What to say where none of them can be read."""


class UnreadableImage(UserError):
    """A file that can't be decoded: `name` relative to its folder, and the `reason`."""

    def __init__(self, path: Path, name: str, reason: str):
        super().__init__(
            f"{path} can't be read as an image any more: {reason}. Restore the file, or remove it "
            "and start the run in a new workdir."
        )
        self.name = name
        self.reason = reason


def decode(
    path: str | os.PathLike | BinaryIO, channels: int = 3, on_white: bool = True
) -> np.ndarray:
    """The pixels of one image file, upright and without transparency.

    EXIF rotation is applied, transparency is composited on white, grey becomes RGB (RGB becomes
    luma for `channels=1`), palette and CMYK become RGB, 16 bits are scaled to 8 with rounding;
    of several frames the first is read. Embedded colour profiles are not applied, as in the
    published code.

    Args:
        path: a JPEG, PNG, WebP, BMP or TIFF file, of any size; or what is in one, as a file object.
        channels: 3 (RGB) or 1 (grey).
        on_white: whether transparency is composited; without it colours are as they are stored.

    Returns:
        uint8 [H, W, channels].

    Raises:
        Exception: whatever Pillow raises for a broken file; `ValueError` where pixels have no
            known range (32-bit integers and floats).
    """
    with Image.open(path, formats=FORMATS) as image:
        image.load()
        image = _upright(image)
        if image.mode.startswith(("I", "F")):
            image = Image.fromarray(_to_8_bits(image))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image) if on_white else image.convert("RGB")
        if image.mode not in ("L", "RGB"):
            image = image.convert("L" if image.mode == "1" else "RGB")
        pixels = np.array(image.convert("RGB" if channels == 3 else "L"))
    return pixels if channels == 3 else pixels[:, :, None]


def opacity(path: str | os.PathLike) -> np.ndarray | None:
    """How opaque each pixel of a picture is, uint8 [H, W, 1]; None of one without transparency."""
    with Image.open(path, formats=FORMATS) as image:
        image.load()
        image = _upright(image)
        if not image.has_transparency_data:
            return None
        return np.array(image.convert("RGBA").getchannel("A"))[..., None]


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF fails in many ways, and says nothing about the pixels
        return image


def _to_8_bits(image: Image.Image) -> np.ndarray:
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    pixels = np.asarray(image).astype(np.int64)
    if pixels.min() < 0 or pixels.max() > 65535:
        raise ValueError("32-bit pixels have no known range")
    return ((pixels + 128) // 257).astype(np.uint8)  # round(255 x / 65535)


class ImageFolder:
    """The images and `.npy` files under a folder and its sub-folders, sorted by relative path.

    Hidden files and folders, and files with another suffix, are left out.

    Args:
        path: the folder.
        channels: 3 (RGB), 1 (grey), or any other number for `.npy` files.
        size: every image is fitted to this square; None keeps its size.
        names: only these files (relative, with forward slashes) instead of all that are found.
        values: what the files hold; image files always hold uint8.
        fit: (image, size) -> image of that size; `transforms.resize` squeezes the whole of it.
        on_white: as `decode` takes it.

    Raises:
        UserError: the folder is absent, is a file, can't be listed or has no images.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        channels: int = 3,
        size: int | None = None,
        names: Sequence[str] | None = None,
        values: Values = UINT8,
        fit: Callable[[np.ndarray, int], np.ndarray] = transforms.resize,
        on_white: bool = True,
    ):
        self.path = Path(path)
        self.channels = channels
        self.size = size
        self.values = values
        self.fit = fit
        self.on_white = on_white
        self.names = list(_image_names(self.path) if names is None else names)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> np.ndarray:
        """[H, W, C], uint8 or float32 in [-1, 1]; raises `UnreadableImage`."""
        name = self.names[index]
        try:
            image = self._read(name)
            return image if self.size is None else self.fit(image, self.size)
        except Exception as error:  # Pillow's decoders raise nearly everything on broken files
            reason = " ".join(str(error).split()) or type(error).__name__
            reason = reason.replace(f" {str(self.path / name)!r}", "").rstrip(":")
            raise UnreadableImage(self.path / name, name, reason) from error

    def _read(self, name: str) -> np.ndarray:
        if is_array(name):
            return arrays.read(self.path / name, self.channels, self.values)
        if self.values.kind != "uint8":
            raise ValueError("image files are uint8, for runs with --config.data.dtype=uint8")
        if self.channels not in (1, 3):
            raise ValueError(
                "image files have 1 or 3 channels, for runs with --config.data.channels=3"
            )
        return decode(self.path / name, self.channels, self.on_white)

    def part(self, names: Sequence[str], size: int) -> "ImageFolder":
        """Only the files of these names, at another size."""
        return ImageFolder(
            self.path, self.channels, size, names, self.values, self.fit, self.on_white
        )

    def refusal(self, broken: Sequence[UnreadableImage]) -> str:
        """What to say where none of the files can be read: why, and what they should be."""
        shown = f": {listed(broken)}"
        if len(broken) > 1 and len({error.reason for error in broken}) == 1:
            shown = f", such as {broken[0].name}: {broken[0].reason}"
        kind, low, high = self.values
        shape = "[H, W]" if self.channels == 1 else f"[H, W, {self.channels}]"
        wanted = f".npy files of {kind} {shape}"
        if kind != "uint8":
            wanted += f" from {low} to {high}"
        elif self.channels in (1, 3):
            wanted = f"whole JPEG, PNG, WebP, BMP or TIFF files, or {wanted}"
        return (
            f"None of the {len(broken)} files in {self.path} can be read{shown}. With "
            f"data.channels={self.channels} and data.dtype={kind} they should be {wanted}."
        )


def is_array(name: str | os.PathLike) -> bool:
    """Whether a file is read as an array, by its suffix."""
    return os.fspath(name).lower().endswith(arrays.SUFFIX)


def _image_names(folder: Path) -> list[str]:
    if not folder.exists():
        raise UserError(f"{folder} does not exist{nearest_existing(folder)}")
    if not folder.is_dir():
        raise UserError(f"{folder} is a file; a folder of {KINDS} images is needed.")
    names, others = [], []
    for name in _file_names(folder):
        (names if name.lower().endswith(READ) else others).append(name)
    if not names:
        found = f", only other files such as {min(others)}" if others else ": it is empty"
        raise UserError(
            f"{folder} has no images{found}. {KINDS} files are looked for, in sub-folders too."
        )
    return sorted(names)


def _file_names(folder: Path) -> Iterator[str]:
    def refuse(error: OSError):
        raise UserError(f"{error.filename} can't be listed: {error.strerror}.") from error

    seen = set()
    for directory, subfolders, files in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(directory)
        if real in seen:  # a link to a folder above itself
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in files:
            if not name.startswith("."):
                yield (Path(directory) / name).relative_to(folder).as_posix()


def nearest_existing(path: Path) -> str:
    """For a message on a path that isn't there: which part of it is."""
    for parent in path.parents:
        if parent.is_dir():
            return f"; the part that exists is {parent.resolve()}"
    return ""


class Subset:
    """Some images of a source, in the order of `indices`."""

    def __init__(self, source: Source, indices: Sequence[int]):
        self.source = source
        self.indices = list(indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.source[self.indices[index]]

    @property
    def names(self) -> list[str]:
        return [self.source.names[index] for index in self.indices]


class Cached:
    """Keeps the images of a source in memory from their first visit on, as far as they fit.

    Values never depend on what is kept. The images come back read-only.

    Args:
        source: any source.
        budget_bytes: memory that the images may take; `default_budget()` where None.
    """

    def __init__(self, source: Source, budget_bytes: int | None = None):
        self.source = source
        self.budget_bytes = default_budget() if budget_bytes is None else budget_bytes
        self.nbytes = 0
        self._images = [None] * len(source)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> np.ndarray:
        image = self._images[index]
        if image is None:
            image = self.source[index]
            image.flags.writeable = False
            with self._lock:
                fits = self.nbytes + image.nbytes <= self.budget_bytes
                if fits and self._images[index] is None:
                    self._images[index] = image
                    self.nbytes += image.nbytes
        return image

    @property
    def names(self) -> list[str]:
        return self.source.names


def default_budget() -> int:
    """Bytes that caches may take together: a quarter of the free memory, at most 4 GiB."""
    return int(min(CACHE_MOST, CACHE_SHARE * _free_memory()))


def _free_memory() -> int:
    free = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        free += [] if limit == "max" else [max(0, int(limit) - used)]
    except (OSError, ValueError):
        pass  # not Linux, or no control group
    if not free and "SC_PHYS_PAGES" in os.sysconf_names:
        free = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2]
    return min(free, default=2**30)


def read_all(
    source: Source, threads: int | None = None, each: Callable[[], None] | None = None
) -> list[UnreadableImage]:
    """Reads every image once, in parallel: fills a cache, and finds the files that are broken.

    Args:
        source: any source; its indices are read in order.
        threads: number of threads; all cores where None.
        each: called after each image.

    Returns:
        what could not be read, in the source's order.
    """
    Image.init()  # not safe to leave to several threads at once

    def read(index: int) -> UnreadableImage | None:
        try:
            source[index]
        except UnreadableImage as error:
            return error

    broken = []
    executor = ThreadPoolExecutor(threads or available_cores(), thread_name_prefix="jaxgan-read")
    try:
        for error in executor.map(read, range(len(source))):
            broken += [error] if error else []
            if each:
                each()
    finally:
        executor.shutdown(cancel_futures=True)  # ctrl-C would wait for all the rest
    return broken


def available_cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class UnpairedData(NamedTuple):
    """The four sources of unpaired translation.

    `train_*` give [load_size, load_size, C], `test_*` [image_size, image_size, C]: uint8, or
    float32 in [-1, 1].
    `held_out` says that at least one test source was split off training images. `notes` are
    sentences for the user: what was skipped, what was held out.
    """

    train_A: Source
    train_B: Source
    test_A: Source
    test_B: Source
    held_out: bool
    notes: list[str]


def open_unpaired_folder(
    path: str | os.PathLike,
    channels: int = 3,
    *,
    image_size: int,
    load_size: int,
    values: Values = UINT8,
    budget_bytes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> UnpairedData:
    """Opens a folder that holds trainA and trainB, and perhaps testA and testB.

    Every file is decoded once, in parallel; that fills the caches, and finds the broken files,
    which are left out. Where a test folder is absent, a part of the training images is held out
    (`held_out_names`): it depends on the files' names alone, and is never trained on.

    Args:
        path: the folder; `~` is expanded.
        channels: 3 (RGB), 1 (grey), or any other number for `.npy` files.
        image_size: side of the test images.
        load_size: side of the training images before their random crop.
        values: what the files hold.
        budget_bytes: memory for all caches together; `default_budget()` where None.
        progress: called with (files decoded, files in all) after each file.

    Raises:
        UserError: the folder, trainA or trainB is absent or has no readable image, a test folder
            that exists has none, values lie outside of `values`' range, or there are too few
            images to hold any out.
    """
    if not os.fspath(path):
        raise UserError(
            f"data.path is not set. A folder with {UNPAIRED_LAYOUT} is needed: "
            "--config.data.path=DIR"
        )
    root = expanded(path)
    _check_unpaired_layout(root)
    sides = {"trainA": load_size, "trainB": load_size}
    sides |= {name: image_size for name in ("testA", "testB") if (root / name).exists()}
    folders = {
        name: ImageFolder(root / name, channels, size, values=values)
        for name, size in sides.items()
    }
    return divide_unpaired(
        folders,
        root,
        image_size=image_size,
        values=values,
        budget_bytes=budget_bytes,
        progress=progress,
    )


def divide_unpaired(
    folders: Mapping[str, Stored],
    root: Path,
    *,
    image_size: int,
    values: Values = UINT8,
    budget_bytes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> UnpairedData:
    """Reads everything once, leaves out what is broken and holds out what has no test images.

    Args:
        folders: trainA and trainB, and testA and testB where there are any.
        root: where they lie, for messages.
        image_size, values, budget_bytes, progress: as for `open_unpaired_folder`.

    Raises:
        UserError: as `open_unpaired_folder`.
    """
    notes: list[str] = []
    opened, _ = open_parts(folders, root, values, notes, budget_bytes, progress)
    held_out = False
    for domain in "AB":
        train, test = f"train{domain}", f"test{domain}"
        if test in opened:
            continue
        held_out = True
        names = opened[train].names
        if len(names) < 2:
            raise UserError(
                f"{root} has no {test}, and one readable image in {train} is too few to hold one "
                f"out. Add images to {train}, or make {test}."
            )
        chosen = set(held_out_names(names))
        kept = [index for index, name in enumerate(names) if name not in chosen]
        opened[train] = Subset(opened[train], kept)
        opened[test] = Cached(
            folders[train].part(sorted(chosen), image_size),
            len(chosen) * folders[train].channels * image_size**2 * values.dtype.itemsize,
        )
        verb = "are" if len(chosen) > 1 else "is"
        notes.append(
            f"There is no {test}: {len(chosen)} of the {len(names)} images in {train} {verb} held "
            "out for testing and never trained on."
        )
    return UnpairedData(
        *(opened[name] for name in ("trainA", "trainB", "testA", "testB")), held_out, notes
    )


def open_parts(
    parts: Mapping[str, Stored],
    root: Path,
    values: Values,
    notes: list[str],
    budget_bytes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[str, Cached | Subset], dict[str, list[UnreadableImage]]]:
    """Reads every image once, in parallel: fills the caches, and leaves out what is broken.

    Args:
        parts: name -> images.
        root: where they lie, for messages.
        values: what the files hold.
        notes: gets what is left out.
        budget_bytes: memory for all caches together; `default_budget()` where None.
        progress: called with (files decoded, files in all) after each file.

    Returns:
        name -> what can be read; name -> what can't.

    Raises:
        UserError: nothing of a part can be read, or values lie outside of `values`' range.
    """
    budget = default_budget() if budget_bytes is None else budget_bytes
    sizes = {name: len(part) * part.size**2 for name, part in parts.items()}
    done, total = itertools.count(1), sum(map(len, parts.values()))
    each = (lambda: progress(next(done), total)) if progress else None
    opened, broken = {}, {}
    for name, part in parts.items():
        opened[name] = Cached(part, budget * sizes[name] // sum(sizes.values()))
        broken[name] = read_all(opened[name], each=each)
    require_range(root, broken, total, values)
    return {name: readable(opened[name], name, broken[name], notes) for name in parts}, broken


def held_out_names(names: Sequence[str], most: int = HELD_OUT_MOST) -> list[str]:
    """The part of a training set that tests where there is no test set: 5 %, from 1 to `most`.

    The names with the smallest hashes are taken, so that the choice looks random, doesn't depend
    on the seed, and hardly changes when files are added.
    """
    count = min(max(1, round(HELD_OUT_SHARE * len(names))), most)
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())[:count]


def listed(broken: Sequence[UnreadableImage]) -> str:
    """Broken files by name and reason, for a message: the first twenty, and how many more."""
    shown = ", ".join(f"{error.name} ({error.reason})" for error in broken[:20])
    return shown + (f" and {len(broken) - 20} more" if len(broken) > 20 else "")


def require_range(
    root: Path, broken: Mapping[str, Sequence[UnreadableImage]], total: int, values: Values
):
    """A range that doesn't fit is a mistake in a flag, told once for all folders.

    Leaving such files out would train on a choice of the data by its values.
    """
    outside = {
        f"{folder}/{error.name}": error.__cause__
        for folder, errors in broken.items()
        for error in errors
        if isinstance(error.__cause__, OutOfRange)
    }
    if not outside:
        return
    low = min((found.lowest for found in outside.values()), key=float)
    high = max((found.highest for found in outside.values()), key=float)
    new = low, high
    if len(outside) < total:  # the other files lie anywhere within the range
        new = min(values.low, low, key=float), max(values.high, high, key=float)
    verb = "have" if len(outside) > 1 else "has"
    raise UserError(
        f"{len(outside)} of the {total} files in {root} {verb} values outside of "
        f"data.low={values.low} to data.high={values.high}, from {low!s} to {high!s}, such as "
        f"{next(iter(outside))}; try --config.data.low={new[0]!s} --config.data.high={new[1]!s}, "
        "or the bounds that your data has by its nature"
    )


def readable(
    source: Cached, label: str, broken: Sequence[UnreadableImage], notes: list[str]
) -> Cached | Subset:
    """A source without what is broken in it, which goes into `notes`.

    Raises:
        UserError: nothing is left.
    """
    if not broken:
        return source
    if len(broken) == len(source):
        raise UserError(source.source.refusal(broken))
    notes.append(
        f"{len(broken)} of {len(source)} files in {label} unreadable, skipped: {listed(broken)}."
    )
    skipped = {error.name for error in broken}
    return Subset(source, [i for i, name in enumerate(source.names) if name not in skipped])


def _check_unpaired_layout(root: Path):
    needed = ("trainA", "trainB")
    expected = f"A folder with {UNPAIRED_LAYOUT} is needed"
    if not root.exists():
        raise UserError(
            f"data.path={root} does not exist{nearest_existing(root)}. {expected}: "
            "--config.data.path=DIR"
        )
    if not root.is_dir():
        raise UserError(f"data.path={root} is a file. {expected}; unpack an archive first.")
    missing = [name for name in needed if not (root / name).is_dir()]
    if not missing:
        return
    there = sorted(entry.name for entry in root.iterdir() if not entry.name.startswith("."))
    shown = ", ".join(there[:8]) + (f" and {len(there) - 8} more" if len(there) > 8 else "")
    holds = f"it holds {shown}" if there else "it is empty"
    raise UserError(
        f"data.path={root} has no {' and no '.join(missing)} ({holds}). "
        f"{expected}{_layout_hint(root, there, missing) or ': --config.data.path=DIR'}"
    )


def _layout_hint(root: Path, there: list[str], missing: list[str]) -> str:
    def complete(folder: Path) -> bool:
        return (folder / "trainA").is_dir() and (folder / "trainB").is_dir()

    inside = [name for name in there if complete(root / name)]
    if inside:
        return f"; try --config.data.path={root / inside[0]}"
    if complete(root.resolve().parent):
        return f"; try --config.data.path={root.resolve().parent}"
    renamed = {}
    for name in missing:
        domain = name[-1]
        spellings = {domain.lower(), f"train{domain}".lower()}
        for other in there:
            plain = "".join(character for character in other.lower() if character.isalnum())
            if plain in spellings and (root / other).is_dir():
                renamed[name] = other
        if (root / "train" / domain).is_dir():
            renamed[name] = f"train/{domain}"
    if renamed:
        pairs = " and ".join(f"{other} to {name}" for name, other in renamed.items())
        return f"; rename {pairs}"
    return ""
