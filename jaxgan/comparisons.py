"""What a run makes, and the real images that it should be like: what scores compare."""

import functools
import hashlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from jaxgan.data.image_sets import ImageSet
from jaxgan.data.sources import Source
from jaxgan.pictures import to_uint8


class Fakes(NamedTuple):
    """Images that a run makes, one after another, as `image_sets.Reading` gives those of a set.

    Attributes:
      name: what they are called.
      files: how many.
      labels: int [N], the class that each was asked to be; None where none was.
      classes: their names.
      made: gives them, [H, W, C] in [-1, 1].
      whole: whether the run's data are bytes: then these are, too, as PNG files would hold them.
    """

    name: str
    files: int
    labels: np.ndarray | None
    classes: tuple[str, ...] | None
    made: Callable[[], Iterator[np.ndarray]]
    whole: bool = True

    def __iter__(self) -> Iterator[np.ndarray]:
        for image in self.made():
            yield to_uint8(image) if self.whole else image


class Comparison(NamedTuple):
    """What a run makes beside what it should be like.

    Attributes:
      suffix: what names of scores end with: "" where there is one comparison alone, or "_AtoB".
      real: images of the run's data.
      fakes: how many -> what the run makes; of test images, as many as there are, in any case.
    """

    suffix: str
    real: ImageSet
    fakes: Callable[[int], Fakes]


def images_of(
    name: str,
    source: Source,
    labels: np.ndarray | None = None,
    classes: tuple[str, ...] | None = None,
) -> ImageSet:
    """Images of a run's data, with a digest of their pixels."""
    hashed = functools.cache(functools.partial(digest, source))
    return ImageSet(name, source, hashed, 0, labels, classes)


def digest(images: Source) -> str:
    """Of the pixels of all images, in their order."""
    whole = hashlib.sha256()
    for i in range(len(images)):
        image = np.ascontiguousarray(images[i])
        whole.update(f"{image.dtype} {image.shape}".encode() + image.tobytes())
    return whole.hexdigest()[:16]
