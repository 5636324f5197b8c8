"""Data sets that TensorFlow Datasets prepared, read from their files alone.

`tfds.data_source(NAME)` looks a name up among the code that makes data sets, which may import
TensorFlow, and then reads what lies on the disk. Only that second half is used here: no network,
no TensorFlow, even where it is installed. The images are decoded by `sources.decode`, from the
same bytes that the set was made of, so that they are the same pixels as in a folder.
"""

import functools
import io
import os
import re
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from jaxgan.data import labelled, paired, sources, transforms
from jaxgan.data.labelled import Labelled
from jaxgan.data.paired import Paired
from jaxgan.errors import UserError
from jaxgan.files import expanded

PREFIX = "tfds:"
COMMAND = "python -m jaxgan.data.prepare"
EXAMPLE = "cycle_gan/horse2zebra"
FORMAT = "array_record"  # TFDS's own default can't be read in any order
NEEDED = ("trainA", "trainB")
SPLITS = (*NEEDED, "testA", "testB")
NAME = re.compile(r"([a-zA-Z]\w*)(?:/([\w+.-]+))?(?::(\d+\.\d+\.\d+))?")
VERSION = re.compile(r"\d+\.\d+\.\d+")


class Name(NamedTuple):
    """`cycle_gan/horse2zebra:3.0.0`; config and version are "" where they are left out."""

    dataset: str
    config: str
    version: str

    def __str__(self) -> str:
        return "/".join(filter(None, self[:2])) + (self.version and f":{self.version}")


def parse(text: str, prefix: str = "") -> Name:
    """A name's parts.

    Args:
      text: as typed, but for `prefix`.
      prefix: for messages.

    Raises:
      UserError: where it isn't one.
    """
    found = NAME.fullmatch(text)
    if not found:
        raise UserError(
            f"{prefix + text!r} doesn't fit: a data set is named {prefix}NAME[/CONFIG][:VERSION], "
            f"such as {prefix}{EXAMPLE}"
        )
    return Name(*(part or "" for part in found.groups()))


def data_dir(path: str) -> Path:
    """Where prepared sets lie: `path`, or TFDS's own default.

    Raises:
      UserError: for a URL.
    """
    path = path or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    if "://" in path:
        raise UserError(f"{path} is a URL; data sets are read from a local folder")
    return expanded(path)


def library() -> ModuleType:
    """TFDS, imported when it is first needed, since that takes half a second.

    Raises:
      UserError: where it isn't installed.
    """
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise UserError(
            f"tensorflow_datasets can't be imported ({error}); run: "
            'pip install -c constraints.txt -e "."'
        ) from None
    return tensorflow_datasets


def find(text: str, path: str) -> tuple[str, Path]:
    """A prepared set: its whole name with the version, and its folder.

    Args:
      text: `tfds:NAME[/CONFIG][:VERSION]`; the newest version on the disk where it is left out.
      path: where prepared sets lie; "" for TFDS's default.

    Raises:
      UserError: where it isn't there, with the command that prepares it.
    """
    name = parse(text.removeprefix("tfds").removeprefix(":"), PREFIX)
    root = data_dir(path)
    parent = root / name.dataset / name.config
    there = versions(parent)
    version = name.version or (there[-1] if there else "")
    if version in there:
        return f"{PREFIX}{name._replace(version=version)}", parent / version
    if there:
        raise UserError(
            f"data.name={text}: {parent} has no version {version}; there is {', '.join(there)}"
        )
    configs = [] if name.config else sorted(p.name for p in subfolders(parent) if versions(p))
    if configs:
        raise UserError(
            f"data.name={text}: {parent} holds {', '.join(configs)}; choose one, such as "
            f"--config.data.name={PREFIX}{name._replace(config=configs[0])}"
        )
    where = f" --data_dir={shlex.quote(path)}" if path else ""
    raise UserError(
        f"data.name={text} is not prepared in {root}; run: {COMMAND} {name}{where}. Without "
        "TensorFlow, unzip its published archive and train with --config.data.name=folder "
        "--config.data.path=DIR"
    )


def versions(folder: Path) -> list[str]:
    """The versions prepared in a folder, the newest last; half-prepared ones have other names."""
    there = [
        path.name
        for path in subfolders(folder)
        if VERSION.fullmatch(path.name) and (path / "dataset_info.json").is_file()
    ]
    return sorted(there, key=lambda version: [int(part) for part in version.split(".")])


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, which need not exist."""
    try:
        return [path for path in folder.iterdir() if path.is_dir()]
    except OSError:
        return []


def open_unpaired(
    folder: Path,
    channels: int = 3,
    *,
    key: str = "image",
    image_size: int,
    load_size: int,
    budget_bytes: int | None = None,
) -> sources.UnpairedData:
    """Opens a prepared set with the splits trainA and trainB, and perhaps testA and testB.

    Args:
      folder: of one version.
      channels: 3 (RGB) or 1 (grey).
      key: the feature that holds the images.
      image_size, load_size, budget_bytes: as for `sources.open_unpaired_folder`.

    Raises:
      UserError: where it isn't such a set, or can't be read in any order.
    """
    builder, counts = _builder(folder)
    _require_splits(folder, [name for name, count in counts.items() if count])
    _require_images(folder, builder.info.features, key)
    skip = {key: library().decode.SkipDecoding()}
    opened = {
        split: Records(
            builder.as_data_source(split, decoders=skip, file_format=FORMAT),
            folder,
            split,
            key,
            channels,
            load_size if split in NEEDED else image_size,
        )
        for split in SPLITS
        if counts.get(split)
    }
    return sources.divide_unpaired(opened, folder, image_size=image_size, budget_bytes=budget_bytes)


def open_labelled(
    folder: Path,
    channels: int = 3,
    *,
    image_key: str = "image",
    label_key: str = "label",
    image_size: int,
    load_size: int,
    budget_bytes: int | None = None,
) -> Labelled:
    """Opens a prepared set with the split train, and perhaps test or validation.

    Args:
      folder: of one version.
      channels: 3 (RGB) or 1 (grey).
      image_key, label_key: the features that hold the images and their classes.
      image_size, load_size, budget_bytes: as for `labelled.open_folder`.

    Raises:
      UserError: where it isn't such a set, or can't be read in any order.
    """
    builder, counts = _builder(folder)
    _require_train(folder, counts, "labelled images")
    features = builder.info.features
    _require_images(folder, features, image_key)
    classes = _classes(folder, features, label_key)
    pictures = (name for name in features if isinstance(features[name], library().features.Image))
    skip = {name: library().decode.SkipDecoding() for name in pictures}
    notes = [] if classes else [f"It has no classes in the feature {label_key}."]

    def part(split: str, size: int) -> labelled.Part:
        records = builder.as_data_source(split, decoders=skip, file_format=FORMAT)
        images = Records(records, folder, split, image_key, channels, size, fit=transforms.centre)
        return labelled.Part(images, _labels(records, label_key, folder, split, bool(classes)))

    train, test = part("train", load_size), None
    if (train.labels < 0).any():
        raise UserError(
            f"{folder} has images without a label in its split train, which can't be trained on "
            "with labels; for none at all, --config.data.label_key="
        )
    for split in ("test", "validation"):
        if counts.get(split) and test is None:
            test = part(split, image_size)
            if (test.labels < 0).any():
                notes.append(f"The split {split} has images without a label, and is not read.")
                test = None
    return labelled.divide(
        train,
        test,
        classes or labelled.UNLABELLED,
        folder,
        image_size=image_size,
        budget_bytes=budget_bytes,
        notes=notes,
    )


def open_paired(
    folder: Path,
    channels: int = 3,
    *,
    image_key: str = "image",
    direction: str = "AtoB",
    image_size: int,
    load_size: int,
) -> Paired:
    """Opens a prepared set of pictures with both halves of a pair side by side.

    Args:
      folder: of one version.
      channels: 3 (RGB) or 1 (grey), of each half.
      image_key: the feature that holds the pictures.
      direction: which half is the input.
      image_size, load_size: sides of the test and of the training pairs.

    Raises:
      UserError: where it isn't such a set, or can't be read in any order.
    """
    builder, counts = _builder(folder)
    _require_train(folder, counts, "pairs")
    _require_images(folder, builder.info.features, image_key)
    skip = {image_key: library().decode.SkipDecoding()}
    test = next((split for split in ("test", "validation") if counts.get(split)), None)

    def part(split: str, size: int) -> Records:
        records = builder.as_data_source(split, decoders=skip, file_format=FORMAT)
        fit = functools.partial(paired.halves, direction=direction)
        return Records(records, folder, split, image_key, channels, size, fit=fit)

    parts = {"train": part("train", load_size)}
    if test:
        parts["test"] = part(test, image_size)
    return paired.divide(parts, folder, channels, image_size)


def _classes(folder: Path, features: Any, key: str) -> tuple[str, ...]:
    """The names of the classes; none where the set has no labels, or none are asked for."""
    kind = library().features.ClassLabel
    there = sorted(name for name in features if isinstance(features[name], kind))
    if key in there:
        return tuple(features[key].names)
    if key and (there or key != "label"):
        hint = f"try --config.data.label_key={there[0]}" if there else "none of them holds classes"
        raise UserError(
            f"data.label_key={key} is no feature with classes of {folder}, which has "
            f"{', '.join(sorted(features))}; {hint}, or --config.data.label_key= for no labels"
        )
    return ()


def _labels(records: Any, key: str, folder: Path, split: str, there: bool) -> np.ndarray:
    if not there:
        return np.zeros(len(records), np.int32)
    try:
        return np.array([int(record[key]) for record in records], np.int32)
    except Exception as error:  # ArrayRecord raises nearly everything
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UserError(
            f"The labels in {split} of {folder} can't be read ({reason}); delete that folder and "
            f"prepare it anew with {COMMAND}"
        ) from error


def _builder(folder: Path) -> tuple[Any, dict[str, int]]:
    """What reads a prepared set, and how many records its splits have."""
    try:
        builder = library().builder_from_directory(os.fspath(folder))
        formats = {kind.value for kind in builder.info.available_file_formats()}
        counts = {name: split.num_examples for name, split in builder.info.splits.items()}
    except UserError:
        raise
    except Exception as error:  # whatever TFDS and protobuf raise for files that aren't theirs
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UserError(
            f"{folder} can't be read as a prepared data set ({reason}); delete that folder and "
            f"prepare it anew with {COMMAND}"
        ) from error
    _require_format(builder, formats)
    return builder, counts


def _require_format(builder: Any, formats: Collection[str]):
    if FORMAT not in formats:
        name = builder.info.full_name.rpartition("/")[0]
        raise UserError(
            f"{builder.data_path} was prepared as {', '.join(sorted(formats))}, which can't be "
            f"read in any order; prepare it anew as {FORMAT}, in a folder of its own: {COMMAND} "
            f"{name} --data_dir=DIR, and train with --config.data.path=DIR"
        )


def _require_train(folder: Path, counts: Mapping[str, int], what: str):
    if not counts.get("train"):
        raise UserError(
            f"{folder} has no split train (it has {', '.join(sorted(counts)) or 'none'}), from "
            f"which {what} are read"
        )


def _require_splits(folder: Path, there: Sequence[str]):
    missing = [split for split in NEEDED if split not in there]
    if missing:
        raise UserError(
            f"{folder} has no split {' and no '.join(missing)} (it has "
            f"{', '.join(sorted(there)) or 'none with images'}); two domains are read from the "
            "splits trainA and trainB and, where there are test images, testA and testB"
        )


def _require_images(folder: Path, features: Any, key: str):
    def holds_images(name: str) -> bool:
        feature = features[name]
        # Floating point is stored as the bytes of another picture.
        return isinstance(feature, library().features.Image) and feature.np_dtype != np.float32

    named = sorted(features) if hasattr(features, "keys") else []
    if key in named and holds_images(key):
        return
    images = [name for name in named if holds_images(name)]
    hint = f"try --config.data.image_key={images[0]}" if images else "none of them holds images"
    raise UserError(
        f"data.image_key={key} is no feature with images of {folder}, which has "
        f"{', '.join(named) or 'none with a name'}; {hint}"
    )


class UnreadableRecord(sources.UnreadableImage):
    """An image of a prepared set that can't be decoded."""

    def __init__(self, folder: Path, name: str, reason: str):
        super().__init__(folder / name, name, reason)
        self.args = (
            f"{name} of {folder} can't be read as an image any more: {reason}. Restore the "
            "files, or delete that folder, prepare it anew and start the run in a new workdir.",
        )


class Records:
    """The images of one split, by index; they are named by split and index.

    Args:
      records: TFDS's data source of the split; its images are still encoded.
      folder, split: where they are from, for messages.
      key: the feature that holds the images.
      channels: 3 (RGB) or 1 (grey).
      size: every image is fitted to this square.
      names: only these; all where None.
      fit: as for `sources.ImageFolder`.
    """

    def __init__(
        self,
        records: Sequence[dict[str, Any]],
        folder: Path,
        split: str,
        key: str,
        channels: int,
        size: int,
        names: Sequence[str] | None = None,
        fit: Callable[[np.ndarray, int], np.ndarray] = transforms.resize,
    ):
        self.records = records
        self.fit = fit
        self.folder, self.split, self.key = folder, split, key
        self.channels, self.size = channels, size
        self.names = [f"{split} {i}" for i in range(len(records))] if names is None else list(names)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> np.ndarray:
        """uint8 [size, size, C]; raises `UnreadableRecord`."""
        name = self.names[index]
        try:
            encoded = self.records[int(name.rpartition(" ")[2])][self.key]
            image = sources.decode(io.BytesIO(encoded), self.channels)
            return self.fit(image, self.size)
        except Exception as error:  # ArrayRecord's and Pillow's decoders raise nearly everything
            reason = " ".join(str(error).split()) or type(error).__name__
            reason = re.sub(r" <_io\.BytesIO object at \w+>", "", reason)
            raise UnreadableRecord(self.folder, name, reason) from error

    def part(self, names: Sequence[str], size: int) -> "Records":
        """Only the images of these names, at another size."""
        same = (self.records, self.folder, self.split, self.key, self.channels)
        return Records(*same, size, names, self.fit)

    def refusal(self, broken: Sequence[sources.UnreadableImage]) -> str:
        """What to say where none of them can be read."""
        return (
            f"None of the {len(broken)} images in {self.split} of {self.folder} can be read, such "
            f"as {broken[0].name}: {broken[0].reason}. Delete that folder and prepare it anew with "
            f"{COMMAND}."
        )
