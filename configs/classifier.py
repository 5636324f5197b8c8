"""A small classifier, whose features and answers others' images are scored by.

    python -m jaxgan.main --config=configs/classifier.py

learns the built-in glyphs (nothing to download), 16 px and grey as the configs that draw them have
them: three strided convolutions with batch norm, 128 features, Adam at 1e-3 falling to 0 by a
cosine. Then

    python -m jaxgan.evaluate --workdir=RUN --metrics=fid,is --features=classifier:CLASSIFIER

scores a run's samples by what tells classes apart, where Inception's weights aren't at hand.
Expected: at least 99.9 % of 3,000 test glyphs after 1,000 steps, a minute of one core.

    python -m jaxgan.main --config=configs/classifier.py:mnist --config.data.path=MNIST.npz

is right about 99.2 % of MNIST's test digits after 5 passes over the others, 5 minutes of one core.
Presets (`:a,b` combines them): `mnist`, `cifar10` and `folder` (a sub-folder for each class), both
not measured yet; `smoke` takes seconds. Any size from 8 pixels on is taken; images that are scored
are fitted to it.
"""

from ml_collections import ConfigDict

from jaxgan import defaults
from jaxgan.commandline import select_presets


def get_config(presets: str = "") -> ConfigDict:
    """The default run on the built-in glyphs, changed by the presets in order."""
    c = defaults.classification()
    c.train.steps = 1000
    c.train.sample_every = c.evaluate.every = c.checkpoint.every = 500
    c.data.batch_size = 128
    return select_presets(presets, PRESETS, c)


def mnist(config: ConfigDict) -> None:
    """MNIST at `data.path` (its four files, or mnist.npz), 32 px, grey, shifted by a pixel."""
    defaults.mnist(config)
    config.data.load_size = 34
    config.model.classifier.width = 24
    config.optimizer.classifier.learning_rate = 2e-3
    _epochs(config, 5)


def cifar10(config: ConfigDict) -> None:
    """CIFAR-10 at `data.path` (its python batches), 32 px, shifted and flipped."""
    defaults.cifar10(config)
    config.data.load_size = 36
    _photographs(config)


def folder(config: ConfigDict) -> None:
    """Your own images at `data.path`, a sub-folder for each class, 64 px, shifted and flipped."""
    defaults.folder(config)
    config.data.load_size = 72
    config.model.classifier.stages = 4
    _photographs(config)


def _photographs(config: ConfigDict) -> None:
    config.data.flip = True
    config.model.classifier.dropout = 0.5
    _epochs(config, 20)


def _epochs(config: ConfigDict, count: float) -> None:
    config.train.steps = 0
    config.train.epochs = float(count)


PRESETS = {
    "smoke": defaults.classifier_smoke,
    "mnist": mnist,
    "cifar10": cifar10,
    "folder": folder,
}
