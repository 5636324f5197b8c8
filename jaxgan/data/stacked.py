"""Stacked glyphs: three grey glyphs in the channels of one picture, which makes 1,000 modes.

The image form of mode counting, after Stacked MNIST (Metz et al. 2017; Srivastava et al. 2017),
of the built-in glyphs. Channel c of picture i in `world` is grey glyph i of the glyphs' world
3 world + c, so the three classes are independent of each other, as is all that varies within
them; the label is 100 a + 10 b + c. Pictures are the same bits on every machine, as glyphs are.
"""

from itertools import product

import numpy as np

from jaxgan.data import glyphs
from jaxgan.errors import UserError

CHANNELS = 3
_PLACES = np.array([100, 10, 1], np.int32)  # of the three classes in a label

CLASSES = tuple("-".join(names) for names in product(glyphs.CLASSES, repeat=CHANNELS))


def draw(index: int, size: int, world: int = 0) -> np.ndarray:
    """Picture `index` of `world`: uint8 [size, size, 3]. Raises UserError as `glyphs.draw` does."""
    return np.concatenate([glyphs.draw(index, size, w, 1) for w in _worlds(world)], axis=2)


def label(index: int, world: int = 0) -> int:
    """The class of picture `index`: an index into `CLASSES`."""
    return int(
        sum(p * glyphs.label(index, w) for p, w in zip(_PLACES, _worlds(world), strict=True))
    )


class Stacked:
    """A random-access source of `count` stacked glyphs from index `first` on.

    Indexing gives uint8 [size, size, 3]; `labels` is int32 [count], `names` says what they mean.
    Raises UserError as `draw` does, and for an empty range.
    """

    names = CLASSES

    def __init__(self, size: int, first: int, count: int, world: int = 0):
        self.sources = [glyphs.Glyphs(size, first, count, w, channels=1) for w in _worlds(world)]
        self.labels = np.stack([source.labels for source in self.sources], 1) @ _PLACES

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> np.ndarray:
        return np.concatenate([source[i] for source in self.sources], axis=2)


def read(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which class each picture shows: labels int32 [N] and scores float32 [N].

    `images` is uint8 [N, size, size, 3]. Each channel is read as a glyph; the score is the least
    of the three. Raises UserError for arrays of another form.
    """
    if images.ndim != 4 or images.shape[3] != CHANNELS:
        raise UserError(
            f"stacked glyphs are read from [N, size, size, {CHANNELS}], not {list(images.shape)}"
        )
    channels = np.moveaxis(images, 3, 1).reshape(-1, *images.shape[1:3], 1)
    labels, scores = glyphs.read(channels)
    return labels.reshape(-1, CHANNELS) @ _PLACES, scores.reshape(-1, CHANNELS).min(1)


def _worlds(world: int) -> range:
    return range(CHANNELS * world, CHANNELS * (world + 1))
