"""A small classifier."""

from ml_collections import ConfigDict

from jaxgan import defaults
from jaxgan.commandline import select_presets


def get_config(presets: str = "") -> ConfigDict:
    """The default run on the built-in glyphs, changed by the presets in order."""
    c = defaults.classification()
    c.train.steps = 3000
    c.data.batch_size = 128
    return select_presets(presets, PRESETS, c)


def mnist(config: ConfigDict) -> None:
    """MNIST at `data.path` (its four files, or mnist.npz), 32 px, grey, shifted a little."""
    defaults.mnist(config)
    config.data.load_size = 34
    config.train.steps = 0
    config.train.epochs = 8.0


def cifar10(config: ConfigDict) -> None:
    """CIFAR-10 at `data.path` (its python batches), 32 px, shifted and flipped."""
    defaults.cifar10(config)
    config.data.load_size = 36
    config.data.flip = True
    config.model.classifier.width = 64
    config.model.classifier.dropout = 0.5
    config.train.steps = 0
    config.train.epochs = 30.0


def folder(config: ConfigDict) -> None:
    """Your own images at `data.path`, a sub-folder for each class, 64 px, shifted and flipped."""
    defaults.folder(config)
    config.data.load_size = 70
    config.data.flip = True
    config.model.classifier.stages = 4
    config.model.classifier.dropout = 0.5
    config.train.steps = 0
    config.train.epochs = 30.0


PRESETS = {
    "smoke": defaults.classifier_smoke,
    "mnist": mnist,
    "cifar10": cifar10,
    "folder": folder,
}
