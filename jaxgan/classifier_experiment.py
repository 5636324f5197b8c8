"""Config -> the game of images to their classes. Read by `experiment.py` alone."""

from collections.abc import Mapping
from typing import Any

from flax import linen as nn
from ml_collections import ConfigDict

from jaxgan.choices import SOME_CLASSES, choose, types
from jaxgan.errors import UserError
from jaxgan.games.classification import classification
from jaxgan.games.game import Game
from jaxgan.models import classifier


def classifier_game(config: ConfigDict) -> Game:
    """Images to classes with the config's network.

    Raises:
      UserError: for settings that don't go together, or images without classes.
    """
    if config.data.classes == 1:
        raise UserError(
            f"a classifier needs classes to tell apart, and data.name={config.data.name} has none; "
            "bring one sub-folder for each class, or other data, such as --config.data.name=glyphs"
        )
    if config.ema.half_life:
        raise UserError(
            f"ema.half_life={config.ema.half_life:g} averages generators, and a classifier has "
            "none; add --config.ema.half_life=0"
        )
    kind = choose("model.classifier.kind", config.model.classifier.kind, CLASSIFIERS)
    return classification(kind(config, types(config)))


def convolutional(config: ConfigDict, types: Mapping[str, Any]) -> nn.Module:
    """The convolutional classifier of a config; `types` are its dtype fields.

    Raises:
      UserError: where the images are too small for its stages.
    """
    c, size = config.model.classifier, config.data.image_size
    smallest = classifier.smallest_image(c.stages)
    if size < smallest:
        raise UserError(
            f"data.image_size={size} is too small for {c.stages} halvings, which take {smallest} "
            f"or more; add --config.model.classifier.stages={max(1, size.bit_length() - 1)}"
        )
    return classifier.Classifier(
        classes=config.data.classes or SOME_CLASSES,
        width=c.width,
        stages=c.stages,
        norm=c.norm,
        features=c.features,
        dropout=c.dropout,
        **types,
    )


CLASSIFIERS = {"convolutional": convolutional}
