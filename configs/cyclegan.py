"""CycleGAN: unpaired image-to-image translation.

Paper: Zhu, Park, Isola, Efros, "Unpaired Image-to-Image Translation using Cycle-Consistent
Adversarial Networks", ICCV 2017, arXiv:1703.10593.

    python -m jaxgan.main --config=configs/cyclegan.py

turns summer into winter on the built-in scenes (64 pixels, nothing to download). The test pairs
have a known truth: see docs/results.md for what a run reaches and how long it takes.

    python -m jaxgan.main --config=configs/cyclegan.py:folder --config.data.path=DIR

trains on your own images: DIR holds trainA/, trainB/ and, if you like, testA/, testB/. With the
published code's settings: 256 pixels cropped from 286, flips, ResNet with 9 blocks, 200 epochs.
What isn't photography comes as .npy files, of any number of channels: see docs/data.md.

Presets (`:a,b` combines them): `smoke` takes seconds; `folder`; and the published data sets by
name (`horse2zebra`, `monet2photo`, ...), expected unzipped at datasets/NAME.
"""

from ml_collections import ConfigDict

from jaxgan.commandline import select_presets
from jaxgan.defaults import evaluation, few_steps

PUBLISHED = (
    "ae_photos",
    "apple2orange",
    "cezanne2photo",
    "cityscapes",
    "facades",
    "horse2zebra",
    "iphone2dslr_flower",
    "maps",
    "monet2photo",
    "summer2winter_yosemite",
    "ukiyoe2photo",
    "vangogh2photo",
)


def get_config(presets: str = "") -> ConfigDict:
    """The default run on the built-in scenes, changed by the presets in order."""
    c = ConfigDict()
    c.game = "cyclegan"
    c.seed = 0
    c.precision = "float32"  # or bfloat16, float64
    c.deterministic = False  # on a GPU: the same bits every time, at some cost
    c.devices = "auto"  # or a number
    c.awake = "auto"  # or on, off: idle cores of a CPU spin between operations

    c.train = ConfigDict()
    c.train.steps = 2000  # either steps or epochs; the other is 0
    c.train.epochs = 0.0
    c.train.accumulate = 1
    c.train.first = "generators"
    c.train.log_every = 50
    c.train.sample_every = 500

    c.data = ConfigDict()
    c.data.name = "scenes"  # or folder, tfds:NAME
    c.data.path = ""  # a folder; of tfds, where its prepared sets lie
    c.data.image_key = "image"  # the feature of a tfds set that is trained on
    c.data.batch_size = 1
    c.data.image_size = 64
    c.data.load_size = 0  # 0: image_size * 286 / 256, as published
    c.data.flip = True
    c.data.channels = 3  # or 1 (grey); other numbers for .npy files
    c.data.dtype = "uint8"  # or float32, of .npy files
    c.data.low = -1.0  # the float32 values that become -1 and 1
    c.data.high = 1.0
    c.data.count = 1000  # scenes in each training domain
    c.data.world = 0  # the scenes' own seed: another world has other scenes

    c.model = ConfigDict()
    c.model.remat = False
    c.model.convolution = "auto"  # or canonical, xla
    c.model.generator = ConfigDict()
    c.model.generator.kind = "resnet"
    c.model.generator.width = 32
    c.model.generator.blocks = 6
    c.model.generator.padding = "reflect"  # or zero
    c.model.generator.norm = "instance"  # or batch, none
    c.model.generator.dropout = 0.0
    c.model.discriminator = ConfigDict()
    c.model.discriminator.kind = "patch"  # or pixel
    c.model.discriminator.width = 32
    c.model.discriminator.layers = 3  # 70 x 70 patches
    c.model.discriminator.norm = "instance"

    c.loss = ConfigDict()
    c.loss.adversarial = "lsgan"  # or bce, saturating, hinge, wasserstein, relativistic[_average]
    c.loss.cycle = 10.0
    c.loss.cycles = "both"  # or forward (A to B and back alone), backward
    c.loss.identity = 0.5  # times cycle

    c.pool = ConfigDict({"size": 50})
    c.ema = ConfigDict({"half_life": 0.0, "ramp": 0.0})  # in images; 0: off

    c.optimizer = ConfigDict()
    for player in ("generator", "discriminator"):
        c.optimizer[player] = ConfigDict()
        c.optimizer[player].name = "adam"
        c.optimizer[player].learning_rate = 2e-4
        c.optimizer[player].b1 = 0.5
        c.optimizer[player].b2 = 0.999
        c.optimizer[player].schedule = "linear"  # flat, then to 0 over the second half

    c.checkpoint = ConfigDict({"every": 500, "keep": 2, "best": ""})
    c.evaluate = evaluation(500, 64)
    c.init = ConfigDict({"workdir": "", "step": "latest", "nets": "generators,discriminators"})
    return select_presets(presets, PRESETS, c)


def published(config: ConfigDict) -> None:
    """The published code's settings, on a folder."""
    config.train.steps = 0
    config.train.epochs = 200.0
    config.train.log_every = 100
    config.train.sample_every = 1000
    config.data.name = "folder"
    config.data.image_size = 256
    config.model.generator.width = 64
    config.model.generator.blocks = 9
    config.model.discriminator.width = 64
    config.checkpoint.every = 1000
    config.evaluate.every = 10000


def named(name: str):
    """A published data set, unzipped at datasets/NAME."""

    def preset(config: ConfigDict) -> None:
        published(config)
        config.data.path = f"datasets/{name}"

    return preset


def smoke(config: ConfigDict) -> None:
    """A few steps of tiny networks on tiny images: seconds."""
    few_steps(config)
    config.data.count = 8
    config.model.generator.width = 4
    config.model.generator.blocks = 1
    config.model.discriminator.width = 4
    config.model.discriminator.layers = 1
    config.pool.size = 2
    config.evaluate.num = 4


PRESETS = {"smoke": smoke, "folder": published} | {name: named(name) for name in PUBLISHED}
