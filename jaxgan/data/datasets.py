"""Data sets by name: what `data.name` may be."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from jaxgan.data import glyphs, sources, tfds
from jaxgan.data.arrays import Values
from jaxgan.data.scenes import Scenes
from jaxgan.data.sources import Source
from jaxgan.errors import UserError

TEST_SCENES = 64
TEST_GLYPHS = 500
SMALLEST_SCENE = 16


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


class Labelled(NamedTuple):
    """Images with classes, to train on.

    Attributes:
      train: [load_size, load_size, C] by index, all uint8 or all float32 in [-1, 1].
      test: [image_size, image_size, C] by index, never trained on.
      labels, test_labels: int32, an index into `classes` for each image.
      classes: their names; one of unlabelled images.
      notes: sentences for the user.
      judge: uint8 images [N, H, W, C] -> (classes int32 [N], how surely float32 [N]), where the
        data come with one.
    """

    train: Source
    test: Source
    labels: np.ndarray
    test_labels: np.ndarray
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    judge: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] | None = None


def default_load_size(data: ConfigDict) -> int:
    """The side from which a folder's images are cropped: 286 for 256, as published."""
    drawn = data.name in ("scenes", "glyphs")
    return data.image_size if drawn else round(data.image_size * 286 / 256)


def values(data: ConfigDict) -> Values:
    """What a config's arrays hold."""
    return Values(data.dtype, data.low, data.high)


def folder(data: ConfigDict) -> Dataset:
    """A folder with trainA, trainB and perhaps testA, testB at `data.path`.

    Raises:
      UserError: where it isn't there, or isn't what it should be.
    """
    opened = sources.open_unpaired_folder(
        data.path,
        data.channels,
        image_size=data.image_size,
        load_size=data.load_size,
        values=values(data),
    )
    four = (opened.train_A, opened.train_B, opened.test_A, opened.test_B)
    return Dataset(*four, paired=False, notes=tuple(opened.notes))


def prepared(data: ConfigDict) -> Dataset:
    """What TensorFlow Datasets prepared below `data.path`: `data.name` is tfds:NAME.

    `data.name` gets the version that is read, so that the run's record says which.

    Raises:
      UserError: where it isn't there, or isn't what it should be.
    """
    if data.dtype != "uint8" or data.channels not in (1, 3):
        raise UserError(
            f"data.dtype={data.dtype} with data.channels={data.channels} doesn't fit "
            f"data.name={data.name}, which holds pictures; leave them at uint8 and 3"
        )
    data.name, place = tfds.find(data.name, data.path)
    opened = tfds.open_unpaired(
        place,
        data.channels,
        key=data.image_key,
        image_size=data.image_size,
        load_size=data.load_size,
    )
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
    if data.channels != 3:
        raise UserError(
            f"data.channels={data.channels} doesn't fit the built-in scenes, which are in colour; "
            "leave it at 3, or train on a folder of your own"
        )
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
    size, count, world = data.image_size, data.count, data.world
    four = (
        Scenes("summer", size, 0, count, world),
        Scenes("winter", size, count, count, world),
        Scenes("summer", size, 2 * count, TEST_SCENES, world),
        Scenes("winter", size, 2 * count, TEST_SCENES, world),
    )
    cached = (sources.Cached(source) for source in four)
    return Dataset(*cached, paired=True, notes=())


def glyph_set(data: ConfigDict) -> Labelled:
    """The built-in glyphs: `data.count` of them; those behind them are for tests.

    Raises:
      UserError: for sizes that glyphs aren't drawn at, or other values than bytes.
    """
    if data.load_size != data.image_size:
        raise UserError(
            f"data.load_size={data.load_size} doesn't fit the built-in glyphs, which are drawn at "
            f"data.image_size={data.image_size}; leave it at 0"
        )
    if data.dtype != "uint8":
        raise UserError(
            f"data.dtype={data.dtype} doesn't fit the built-in glyphs, which are drawn in uint8"
        )
    drawn = (data.world, data.channels)
    train = glyphs.Glyphs(data.image_size, 0, data.count, *drawn)
    test = glyphs.Glyphs(data.image_size, data.count, TEST_GLYPHS, *drawn)
    cached = sources.Cached(train), sources.Cached(test)
    return Labelled(*cached, train.labels, test.labels, glyphs.CLASSES, (), glyphs.read)


DATASETS = {"scenes": scenes, "folder": folder, "tfds": prepared}
LABELLED = {"glyphs": glyph_set}
