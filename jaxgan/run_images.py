"""A run's images, to be scored: what it was trained on, and what its generator makes of noise."""

import functools
import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jaxgan import experiment, sample, trained
from jaxgan.data.image_sets import ImageSet
from jaxgan.data.sources import Source
from jaxgan.errors import UserError
from jaxgan.pictures import to_uint8


def require_noise(run: trained.Run, folder: str) -> None:
    """
    Raises:
      UserError: for a run that doesn't make images of noise.
    """
    trained.require_images(run, folder)
    if not sample.makes_of_noise(run):
        raise UserError(
            f"{folder} translates pictures. Its own scores are in scores.jsonl; to compare sets, "
            f"write them with python -m jaxgan.translate --workdir={folder} and give both as "
            "--real and --fake"
        )
    if len(run.built.batch["image"].shape) != 6:  # rounds, micro-batches, images, H, W, C
        raise UserError(f"{folder} makes points in the plane and no pictures")
    if "generator" not in run.weights:
        raise UserError(f"{folder} holds no generator, so nothing can be made with it")


def real(run: trained.Run) -> ImageSet:
    """The images that a run was trained on, with a digest of their pixels."""
    data = experiment.open_data(run.config, run.built.task)
    name = f"the run's data ({run.config.data.name})"
    return ImageSet(name, data.train, functools.cache(functools.partial(digest, data.train)), 0)


def digest(images: Source) -> str:
    """Of the pixels of all images, in their order."""
    whole = hashlib.sha256()
    for i in range(len(images)):
        image = np.ascontiguousarray(images[i])
        whole.update(f"{image.dtype} {image.shape}".encode() + image.tobytes())
    return whole.hexdigest()[:16]


class Making(NamedTuple):
    """Samples of a run, one after another, as `image_sets.Reading` gives those of a set.

    Attributes:
      run: of a game that takes noise.
      files: how many.
      seed: of their noise.
      name: what they are called.
    """

    run: trained.Run
    files: int
    seed: int
    name: str

    def __iter__(self) -> Iterator[np.ndarray]:
        """Bytes, as they would be written to PNG files, where the data are bytes."""
        classes = tuple(range(self.run.built.game.classes))
        asked = sample.Asked(self.seed, self.files, classes)
        whole = self.run.config.data.get("dtype", "uint8") == "uint8"
        for image in sample.samples(self.run, asked):
            yield to_uint8(image) if whole else image
