"""DCGAN: images of noise by convolutions alone.

Paper: Radford, Metz, Chintala, "Unsupervised Representation Learning with Deep Convolutional
Generative Adversarial Networks", ICLR 2016, arXiv:1511.06434.

    python -m jaxgan.main --config=configs/dcgan.py

draws the built-in glyphs at 32 pixels (nothing to download) with the paper's settings: batches of
128, Adam 2e-4 (0.5, 0.999), 100 numbers of noise, batch norm, N(0, 0.02). The noise is normal, as
in the published code; the paper's is uniform (`--config.model.latent.law=uniform`).

The step is exact (tests/test_parity.py), the default run is a first one and not tuned yet: after
1,500 steps (4 minutes on 2 cores) its samples are blots on a plain ground, none of them readable.

Presets (`:a,b` combines them): `smoke` takes seconds.
"""

from ml_collections import ConfigDict

from jaxgan.commandline import select_presets


def get_config(presets: str = "") -> ConfigDict:
    """The default run on the built-in glyphs, changed by the presets in order."""
    c = ConfigDict()
    c.game = "synthesis"
    c.seed = 0
    c.precision = "float32"  # or bfloat16, float64
    c.deterministic = False  # on a GPU: the same bits every time, at some cost
    c.devices = "auto"  # or a number
    c.awake = "auto"  # or on, off: idle cores of a CPU spin between operations

    c.train = ConfigDict()
    c.train.steps = 1500  # either steps or epochs; the other is 0
    c.train.epochs = 0.0
    c.train.accumulate = 1
    c.train.critic_rounds = 1
    c.train.handed = True  # the generator plays with the noise that the discriminator has seen
    c.train.log_every = 50
    c.train.sample_every = 250

    c.data = ConfigDict()
    c.data.name = "glyphs"
    c.data.path = ""
    c.data.batch_size = 128
    c.data.image_size = 32
    c.data.load_size = 0
    c.data.flip = False
    c.data.channels = 3  # or 1 (grey)
    c.data.dtype = "uint8"
    c.data.low = -1.0
    c.data.high = 1.0
    c.data.count = 10000  # glyphs to train on
    c.data.world = 0  # the glyphs' own seed: another world has other glyphs

    c.model = ConfigDict()
    c.model.convolution = "auto"  # or canonical, xla
    c.model.latent = ConfigDict({"size": 100, "law": "normal"})  # or uniform
    c.model.generator = ConfigDict({"kind": "dcgan", "width": 32, "norm": "batch"})
    c.model.discriminator = ConfigDict({"kind": "dcgan", "width": 32, "norm": "batch"})

    c.loss = ConfigDict()
    c.loss.adversarial = "bce"  # or saturating, lsgan, hinge, wasserstein, relativistic[_average]
    c.penalty = ConfigDict()
    c.penalty.gp = ConfigDict({"weight": 0.0, "target": 1.0, "one_sided": False})

    c.ema = ConfigDict({"half_life": 0.0, "ramp": 0.0})  # in images; 0: off

    c.optimizer = ConfigDict()
    for player in ("generator", "discriminator"):
        c.optimizer[player] = ConfigDict()
        c.optimizer[player].name = "adam"
        c.optimizer[player].learning_rate = 2e-4
        c.optimizer[player].b1 = 0.5
        c.optimizer[player].b2 = 0.999
        c.optimizer[player].schedule = "constant"

    c.checkpoint = ConfigDict({"every": 500, "keep": 2, "best": ""})
    c.evaluate = ConfigDict({"every": 500, "num": 1000})
    c.init = ConfigDict({"workdir": "", "step": "latest", "nets": "generator,discriminator"})
    return select_presets(presets, PRESETS, c)


def smoke(config: ConfigDict) -> None:
    """A few steps of tiny networks on tiny images: seconds."""
    config.train.steps = 4
    config.train.epochs = 0.0
    config.train.log_every = 2
    config.train.sample_every = 4
    config.data.batch_size = 8
    config.data.image_size = 16
    config.data.count = 40
    config.model.latent.size = 8
    config.model.generator.width = 4
    config.model.discriminator.width = 4
    config.checkpoint.every = 2
    config.evaluate.every = 4
    config.evaluate.num = 16


PRESETS = {"smoke": smoke}
