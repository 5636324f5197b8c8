"""SRGAN: images four times as large, first near to the truth, then like it.

Paper: Ledig, Theis, Huszar et al., "Photo-Realistic Single Image Super-Resolution Using a
Generative Adversarial Network", CVPR 2017, arXiv:1609.04802.

    python -m jaxgan.main --config=configs/srgan.py

learns on the built-in scenes (nothing to download): 2,000 steps of the generator alone by squared
distance (SRResNet), then 1,000 against a discriminator. A run keeps one order of both stages, and a
kill between them loses nothing. On folders of your own,

    python -m jaxgan.main --config=configs/srgan.py:pretrain,folder --config.data.path=DIR \\
        --config.data.tests=Set5,Set14 --workdir=runs/srresnet
    python -m jaxgan.main --config=configs/srgan.py:folder --config.data.path=DIR \\
        --config.data.tests=Set5,Set14 --config.init.workdir=runs/srresnet

are the paper's two runs; `python -m jaxgan.translate` enlarges pictures of any size with either.
With `pretrain` the loss and the rate are those of `loss.l1`, `loss.l2` and `optimizer.generator`.

The paper sees with VGG-19's last features (relu5_4). Without a file of weights in
`loss.perceptual.weights` the VGG is one of fixed random weights, a weak stand-in, of which the
default takes early features (relu2_2), which still say something.

Presets (`:a,b` combines them): `smoke` takes seconds; `pretrain`: the first stage alone; `folder`:
the paper's networks, crops and rates on pictures at --config.data.path, the second stage (or, with
`pretrain`, the first).
"""

from ml_collections import ConfigDict

from jaxgan import defaults
from jaxgan.commandline import select_presets


def get_config(presets: str = "") -> ConfigDict:
    """The default run on the built-in scenes, changed by the presets in order."""
    c = defaults.upscaling()
    c.pretraining.steps = 2000
    c.pretraining.learning_rate = 1e-3  # the paper's 1e-4 is of a million steps
    c.loss.perceptual.layers = "relu2_2"
    return select_presets(defaults.pretrain_first(presets), PRESETS, c)


def folder(config: ConfigDict) -> None:
    """Ledig et al.'s settings, on pictures of your own."""
    first = config.loss.weight == 0  # `pretrain` stands before it
    config.train.steps = 1000000 if first else 200000
    config.train.sample_every = 5000
    config.pretraining.steps = 0
    config.data.name = "folder"
    config.data.image_size = 96
    config.model.generator.width = 64
    config.model.generator.blocks = 16
    config.model.discriminator.width = 64
    config.model.discriminator.dense = 1024
    config.loss.perceptual.layers = "relu5_4"
    if first:
        config.optimizer.generator.learning_rate = 1e-4
    config.checkpoint.every = 5000
    config.evaluate.every = 5000


PRESETS = {
    "smoke": defaults.upscaling_smoke,
    "pretrain": defaults.pretrain,
    "folder": folder,
}
