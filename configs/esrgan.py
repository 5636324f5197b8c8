"""ESRGAN: SRGAN without batch norm, with dense blocks and a relativistic discriminator.

Paper: Wang, Yu, Wu et al., "ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks",
ECCV workshops 2018, arXiv:1809.00219.

    python -m jaxgan.main --config=configs/esrgan.py

learns on the built-in scenes (nothing to download): 1,500 steps of the generator alone by absolute
distance, then 1,000 against a discriminator. On folders of your own, the paper's two runs:

    python -m jaxgan.main --config=configs/esrgan.py:pretrain,folder --config.data.path=DIR \\
        --config.data.tests=Set5,Set14 --workdir=runs/psnr
    python -m jaxgan.main --config=configs/esrgan.py:folder --config.data.path=DIR \\
        --config.data.tests=Set5,Set14 --config.init.workdir=runs/psnr --workdir=runs/esrgan

The paper's network interpolation between them (section 3.4) is a matter of enlarging:

    python -m jaxgan.translate --workdir=runs/esrgan --mix=runs/psnr --share=0.8 \\
        --input=PICTURES --output=ENLARGED

The paper sees with VGG-19 before its last activation (conv5_4); for what stands in for it without
`loss.perceptual.weights` see configs/srgan.py. The published discriminator has five stages with 4x4
convolutions, and so has `folder`.

Presets (`:a,b` combines them): `smoke` takes seconds; `pretrain`: the first stage alone; `folder`.
"""

from ml_collections import ConfigDict

from jaxgan import defaults
from jaxgan.commandline import select_presets


def get_config(presets: str = "") -> ConfigDict:
    """The default run on the built-in scenes, changed by the presets in order."""
    c = defaults.upscaling()
    c.train.steps = 2500
    c.train.first = "generator"
    c.pretraining.steps = 1500
    c.pretraining.loss = "l1"
    c.pretraining.learning_rate = 5e-4  # the paper's 2e-4 is of a million steps
    g = c.model.generator
    g.kind, g.width, g.blocks, g.growth = "rrdb", 32, 2, 16
    c.loss.adversarial = "relativistic_average"
    c.loss.weight = 5e-3
    c.loss.l1 = 1e-2
    p = c.loss.perceptual
    p.layers, p.distance, p.rescale = "conv2_2", "l1", 1.0
    c.ema.half_life = 11000.0  # 0.999 a step of 16 images
    for player in ("generator", "discriminator"):
        o = c.optimizer[player]
        o.b2 = 0.99
        o.milestones, o.factor = "0.125,0.25,0.5,0.75", 0.5
    return select_presets(defaults.pretrain_first(presets), PRESETS, c)


def folder(config: ConfigDict) -> None:
    """Wang et al.'s settings, on pictures of your own."""
    first = config.loss.weight == 0  # `pretrain` stands before it
    config.train.steps = 1000000 if first else 400000
    config.train.sample_every = 5000
    config.pretraining.steps = 0
    config.data.name = "folder"
    config.data.image_size = 128
    g, d = config.model.generator, config.model.discriminator
    g.width, g.blocks, g.growth = 64, 23, 32
    d.width, d.stages, d.kernel, d.dense = 64, 5, 4, 100
    config.loss.perceptual.layers = "conv5_4"
    if first:  # halved every 200,000 steps
        o = config.optimizer.generator
        o.learning_rate, o.schedule, o.milestones = 2e-4, "stepped", "0.2,0.4,0.6,0.8"
    config.checkpoint.every = 5000
    config.evaluate.every = 5000


PRESETS = {
    "smoke": defaults.upscaling_smoke,
    "pretrain": defaults.pretrain,
    "folder": folder,
}
