"""Data sets by name: what `data.name` may be."""

from collections.abc import Callable
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from jaxgan.data import (
    cifar,
    glyphs,
    idx,
    in_memory,
    labelled,
    paired,
    sources,
    stacked,
    stacks,
    stl,
    tfds,
    upscaling,
)
from jaxgan.data.arrays import Values
from jaxgan.data.labelled import Labelled
from jaxgan.data.paired import Beside, Paired
from jaxgan.data.scenes import MATERIALS, PALETTE, LabelMaps, Scenes
from jaxgan.data.sources import Source
from jaxgan.data.upscaling import Upscaling
from jaxgan.errors import UserError

TEST_SCENES = 64
TEST_UPSCALED = 16
TEST_GLYPHS = 3000  # 300 of each class: deviations within a class are off by 4 %
SMALLEST_SCENE = 16
DRAWN = ("scenes", "labels", "seasons", "glyphs")  # at the size that is asked for


class Dataset(NamedTuple):
    """Two domains to train on and to test on.

    Attributes:
      train_A, train_B: [load_size, load_size, C] by index, all uint8 or all float32 in [-1, 1].
      test_A, test_B: [image_size, image_size, C] by index, of the same type.
      paired: whether test_B[i] is the truth of test_A[i].
      notes: sentences for the user.
    """

    train_A: Source
    train_B: Source
    test_A: Source
    test_B: Source
    paired: bool
    notes: tuple[str, ...]


def default_load_size(data: ConfigDict) -> int:
    """The side from which images are cropped: 286 for 256 in translation, as published."""
    translation = "label_key" not in data and data.name not in DRAWN
    return round(data.image_size * 286 / 256) if translation else data.image_size


def values(data: ConfigDict) -> Values:
    """What a config's arrays hold."""
    return Values(data.dtype, data.low, data.high)


def folder(data: ConfigDict) -> Dataset:
    """A folder with trainA, trainB and perhaps testA, testB at `data.path`.

    Raises:
      UserError: where it isn't there, or isn't what it should be.
    """
    opened = sources.open_unpaired_folder(
        data.path, data.channels, values=values(data), **_sizes(data)
    )
    four = (opened.train_A, opened.train_B, opened.test_A, opened.test_B)
    return Dataset(*four, paired=False, notes=tuple(opened.notes))


def prepared(data: ConfigDict) -> Dataset:
    """What TensorFlow Datasets prepared below `data.path`: `data.name` is tfds:NAME.

    `data.name` gets the version that is read, so that the run's record says which.

    Raises:
      UserError: where it isn't there, or isn't what it should be.
    """
    _require_pictures(data)
    data.name, place = tfds.find(data.name, data.path)
    opened = tfds.open_unpaired(place, data.channels, key=data.image_key, **_sizes(data))
    four = (opened.train_A, opened.train_B, opened.test_A, opened.test_B)
    notes = (f"{data.name} is read from {place}.", *opened.notes)
    return Dataset(*four, paired=False, notes=notes)


def scenes(data: ConfigDict) -> Dataset:
    """The built-in world: A is summer, B is winter, `data.count` scenes in each.

    No scene is in both training domains or in the test set; the test set has each of its scenes
    in both seasons, which is the truth that translations are scored by.

    Raises:
      UserError: for other images than RGB bytes, or sizes that scenes aren't drawn at.
    """
    _require_scenes(data)
    size, count, world = data.image_size, data.count, data.world
    four = (
        Scenes("summer", size, 0, count, world),
        Scenes("winter", size, count, count, world),
        Scenes("summer", size, 2 * count, TEST_SCENES, world),
        Scenes("winter", size, 2 * count, TEST_SCENES, world),
    )
    cached = (sources.Cached(source) for source in four)
    return Dataset(*cached, paired=True, notes=())


def _require_colour(data: ConfigDict) -> None:
    if data.channels != 3:
        raise UserError(
            f"data.channels={data.channels} doesn't fit the built-in scenes, which are in colour; "
            "leave it at 3, or train on a folder of your own"
        )


def _require_scenes(data: ConfigDict) -> None:
    _require_colour(data)
    if data.dtype != "uint8":
        raise UserError(
            f"data.dtype={data.dtype} doesn't fit the built-in scenes, which are drawn in uint8; "
            "leave it, or train on a folder of your own"
        )
    if data.image_size < SMALLEST_SCENE:
        raise UserError(
            f"data.image_size={data.image_size} is too small for the built-in scenes; "
            f"try --config.data.image_size={SMALLEST_SCENE}"
        )
    if data.load_size != data.image_size:
        raise UserError(
            f"data.load_size={data.load_size} doesn't fit the built-in scenes, which are drawn at "
            f"data.image_size={data.image_size}; leave it at 0"
        )


def paired_scenes(data: ConfigDict) -> Paired:
    """The built-in world in pairs: summer, and the same scenes in winter.

    `data.count` of them to train on, others to test on; the other way round with BtoA.

    Raises:
      UserError: as `scenes`.
    """
    return _paired_world(data, lambda *where: (Scenes("summer", *where), Scenes("winter", *where)))


def scene_labels(data: ConfigDict) -> Paired:
    """The built-in world in pairs: label maps in colour, and the scenes in summer.

    Raises:
      UserError: as `scenes`.
    """
    opened = _paired_world(data, lambda *where: (LabelMaps(*where), Scenes("summer", *where)))
    half = "input" if data.direction == "AtoB" else "truth"
    return opened._replace(maps=paired.Maps(MATERIALS, PALETTE, half))


def _paired_world(data: ConfigDict, both) -> Paired:
    """A and B of `data.count` scenes; the test scenes are those of the unpaired world."""
    _require_scenes(data)
    opened = {}
    for part, first, count in (
        ("train", 0, data.count),
        ("test", 2 * data.count, TEST_SCENES),
    ):
        pair = both(data.image_size, first, count, data.world)
        pair = pair if data.direction == "AtoB" else pair[::-1]
        opened[part] = sources.Cached(Beside(*pair))
    return Paired(opened["train"], opened["test"], ())


def paired_folder(data: ConfigDict) -> Paired:
    """A folder of pairs at `data.path`: side by side in one picture, or in two folders.

    Raises:
      UserError: where it isn't there, or isn't what it should be.
    """
    return paired.open_folder(
        data.path,
        data.channels,
        direction=data.direction,
        values=values(data),
        **_sizes(data),
    )


def paired_prepared(data: ConfigDict) -> Paired:
    """What TensorFlow Datasets prepared below `data.path`, both halves side by side in a picture.

    `data.name` gets the version that is read, so that the run's record says which.

    Raises:
      UserError: where it isn't there, or isn't what it should be.
    """
    _require_pictures(data)
    data.name, place = tfds.find(data.name, data.path)
    opened = tfds.open_paired(
        place, data.channels, image_key=data.image_key, direction=data.direction, **_sizes(data)
    )
    return opened._replace(notes=(f"{data.name} is read from {place}.", *opened.notes))


def large_scenes(data: ConfigDict) -> Upscaling:
    """The built-in world in summer, `data.count` scenes of twice `data.image_size`.

    Raises:
      UserError: for other images than RGB, or sizes that scenes aren't drawn at.
    """
    if data.tests or data.path:
        raise UserError(
            "data.path and data.tests are of folders, and data.name=scenes draws its own images; "
            "add --config.data.name=folder"
        )
    _require_colour(data)
    size = 2 * data.image_size
    if size < SMALLEST_SCENE:
        raise UserError(
            f"data.image_size={data.image_size} is too small for the built-in scenes; "
            f"try --config.data.image_size={SMALLEST_SCENE}"
        )
    train = Scenes("summer", size, 0, data.count, data.world)
    test = Scenes("summer", size, 2 * data.count, TEST_UPSCALED, data.world)
    return Upscaling(sources.Cached(train), {"test": sources.Cached(test)}, ())


def large_folder(data: ConfigDict) -> Upscaling:
    """Pictures of any size at `data.path`, and sets to test on at `data.tests`.

    Raises:
      UserError: where they aren't there, or aren't what they should be.
    """
    if data.channels not in (1, 3):
        raise UserError(
            f"data.channels={data.channels} doesn't fit pictures, which have 3 channels, or 1"
        )
    return upscaling.open_folder(data.path, data.tests, data.channels, data.scale, data.image_size)


def glyph_set(data: ConfigDict) -> Labelled:
    """The built-in glyphs: `data.count` of them; those behind them are for tests.

    Raises:
      UserError: for sizes that glyphs aren't drawn at, or other values than bytes.
    """
    _require_drawn_size(data)
    if data.dtype != "uint8":
        raise UserError(
            f"data.dtype={data.dtype} doesn't fit the built-in glyphs, which are drawn in uint8"
        )
    drawn = (data.world, data.channels)
    train = glyphs.Glyphs(data.image_size, 0, data.count, *drawn)
    test = glyphs.Glyphs(data.image_size, data.count, TEST_GLYPHS, *drawn)
    cached = sources.Cached(train), sources.Cached(test)
    labels = train.labels, test.labels
    return Labelled(*cached, *labels, glyphs.CLASSES, (), glyphs.read, glyphs.measure)


def _require_pictures(data: ConfigDict) -> None:
    if data.dtype != "uint8" or data.channels not in (1, 3):
        raise UserError(
            f"data.dtype={data.dtype} with data.channels={data.channels} doesn't fit "
            f"data.name={data.name}, which holds pictures; leave them at uint8 and 3"
        )


def _sizes(data: ConfigDict) -> dict[str, int]:
    return {"image_size": data.image_size, "load_size": data.load_size}


def published(read: Callable[[str], tuple[Any, Any, tuple[str, ...]]]):
    """A published set of pictures at `data.path`.

    Args:
      read: path -> what is to train on, to test on, and the names of the classes.
    """

    def opened(data: ConfigDict) -> Labelled:
        _require_pictures(data)
        train, test, classes = read(data.path)
        where = f"data.path={data.path}"
        sizes = _sizes(data)
        return in_memory.open_splits(train, test, classes, where, channels=data.channels, **sizes)

    return opened


def labelled_folder(data: ConfigDict) -> Labelled:
    """A folder with one folder per class, or with images alone, at `data.path`.

    Raises:
      UserError: where it isn't there, or isn't what it should be.
    """
    return labelled.open_folder(data.path, data.channels, values=values(data), **_sizes(data))


def array_set(data: ConfigDict) -> Labelled:
    """A `.npy` or `.npz` file at `data.path`, with `data.image_key` and `data.label_key`.

    Raises:
      UserError: where it isn't there, or isn't what it should be.
    """
    keys = data.image_key, data.label_key
    train, test, classes, where = stacks.open_stacks(data.path, data.channels, values(data), *keys)
    return in_memory.open_splits(
        train, test, classes, where, channels=data.channels, **_sizes(data)
    )


def labelled_prepared(data: ConfigDict) -> Labelled:
    """What TensorFlow Datasets prepared below `data.path`: `data.name` is tfds:NAME.

    `data.name` gets the version that is read, so that the run's record says which.

    Raises:
      UserError: where it isn't there, or isn't what it should be.
    """
    _require_pictures(data)
    data.name, place = tfds.find(data.name, data.path)
    keys = {"image_key": data.image_key, "label_key": data.label_key}
    opened = tfds.open_labelled(place, data.channels, **keys, **_sizes(data))
    return opened._replace(notes=(f"{data.name} is read from {place}.", *opened.notes))


def _require_drawn_size(data: ConfigDict) -> None:
    if data.load_size != data.image_size:
        raise UserError(
            f"data.load_size={data.load_size} doesn't fit the built-in glyphs, which are drawn at "
            f"data.image_size={data.image_size}; leave it at 0"
        )


def stacked_set(data: ConfigDict) -> Labelled:
    """Three grey glyphs on top of each other, `data.count` times: 1,000 classes.

    Raises:
      UserError: for other images than RGB bytes, or sizes that glyphs aren't drawn at.
    """
    _require_drawn_size(data)
    if data.channels != stacked.CHANNELS or data.dtype != "uint8":
        raise UserError(
            "data.name=stacked has a glyph in each of three channels, in uint8; leave "
            "data.channels at 3 and data.dtype at uint8"
        )
    drawn = data.image_size, data.world
    train = stacked.Stacked(drawn[0], 0, data.count, drawn[1])
    test = stacked.Stacked(drawn[0], data.count, TEST_GLYPHS, drawn[1])
    cached = sources.Cached(train), sources.Cached(test)
    return Labelled(
        *cached, train.labels, test.labels, stacked.CLASSES, (), stacked.read, counted=True
    )


DATASETS = {"scenes": scenes, "folder": folder, "tfds": prepared}
PAIRED = {
    "labels": scene_labels,
    "seasons": paired_scenes,
    "folder": paired_folder,
    "tfds": paired_prepared,
}
UPSCALING = {"scenes": large_scenes, "folder": large_folder}
LABELLED = {
    "glyphs": glyph_set,
    "stacked": stacked_set,
    "mnist": published(lambda path: (*idx.open_mnist(path), idx.DIGITS)),
    "fashion_mnist": published(lambda path: (*idx.open_mnist(path), idx.FASHION)),
    "cifar10": published(lambda path: cifar.open_cifar(path, cifar.CIFAR10)),
    "cifar100": published(lambda path: cifar.open_cifar(path, cifar.CIFAR100)),
    "stl10": published(stl.open_stl),
    "folder": labelled_folder,
    "arrays": array_set,
    "tfds": labelled_prepared,
}
