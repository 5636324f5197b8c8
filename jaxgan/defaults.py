"""The fields that configs of one game share: of noise to image, of paired images, of classifiers.

A config takes them and states what its paper says: what it doesn't mention is as here. Every field
can be given to every config of the game (`--config=configs/dcgan.py --help` lists them all).
"""

from ml_collections import ConfigDict


def _run(game: str) -> ConfigDict:
    """What every run has."""
    c = ConfigDict()
    c.game = game
    c.seed = 0
    c.precision = "float32"  # or bfloat16, float64
    c.deterministic = False  # on a GPU: the same bits every time, at some cost
    c.devices = "auto"  # or a number
    c.awake = "auto"  # or on, off: idle cores of a CPU spin between operations
    return c


def _labelled() -> ConfigDict:
    """Images with classes: the built-in glyphs."""
    c = ConfigDict()
    c.name = "glyphs"  # mnist, fashion_mnist, cifar10, cifar100, stl10, folder, arrays, tfds:
    c.path = ""
    c.image_key = "image"  # the features of a tfds set
    c.label_key = "label"
    c.classes = 0  # 0: as many as the data have
    c.batch_size = 64
    c.image_size = 16
    c.load_size = 0  # 0: image_size
    c.flip = False
    c.channels = 1  # grey; or 3
    c.dtype = "uint8"
    c.low = -1.0
    c.high = 1.0
    c.count = 20000  # glyphs to train on
    c.world = 0  # the glyphs' own seed: another world has other glyphs
    return c


def evaluation(every: int, num: int) -> ConfigDict:
    """How often a run is scored, of so many images, and by what besides the task's own scores."""
    c = ConfigDict({"every": every, "num": num})
    c.metrics = ""  # of sets: fid, kid, prdc, ...
    c.features = "random"  # that these are of; or inception, classifier:RUN, module:function
    c.weights = ""  # the file of inception's
    c.resize = "tf1"  # of inception's images; or clean
    return c


def synthesis() -> ConfigDict:
    """A plain GAN of convolutions on the built-in glyphs."""
    c = _run("synthesis")
    c.task = "labelled"  # images; or points

    c.train = ConfigDict()
    c.train.steps = 1000  # of the generator; either steps or epochs, the other is 0
    c.train.epochs = 0.0
    c.train.seeds = 1  # so many runs side by side: seed, seed + 1, ...
    c.train.accumulate = 1
    c.train.critic_rounds = 1  # of the discriminator, for one of the generator
    c.train.warmup = ConfigDict()
    c.train.warmup.rounds = 0  # rounds instead of critic_rounds ...
    c.train.warmup.steps = 0  # ... in so many first steps,
    c.train.warmup.every = 0  # ... and in every n-th; 0: in no other
    c.train.first = "discriminator"  # or generator
    c.train.handed = False  # both players play with the same fakes
    c.train.generator_multiple = 1  # the generator's batch, in batches of the discriminator
    c.train.log_every = 100
    c.train.sample_every = 1000

    c.data = _labelled()

    c.model = ConfigDict()
    c.model.convolution = "auto"  # or canonical, xla
    c.model.conditioning = "none"  # or concatenation, projection, auxiliary
    c.model.latent = ConfigDict({"size": 100, "law": "normal"})  # or uniform
    g = c.model.generator = ConfigDict()
    g.kind = "dcgan"  # or resnet, mlp, cgan_mlp
    g.width = 64
    g.norm = "batch"
    g.widths = "256,512,1024"  # of an mlp's layers
    g.activation = "leaky_relu"  # of an mlp; or relu
    g.output = "tanh"  # of an mlp; or sigmoid, linear
    g.init_range = 0.0  # of an mlp's uniform initial weights; 0: Glorot's
    g.dropout = 0.0  # of a cgan_mlp
    d = c.model.discriminator = ConfigDict()
    d.kind = "dcgan"  # or resnet, mlp, cgan_mlp
    d.width = 64
    d.norm = "batch"
    d.pool = "mean"  # of a resnet's last features; or sum
    d.spectral = False  # spectral normalisation
    d.spread = False  # of a dcgan: it sees how far its batch spreads (minibatch deviation)
    d.widths = "512,256"  # of an mlp's layers
    d.maxout = 0  # pieces of an mlp's units; 0: leaky ReLU
    d.dropout = 0.0  # of an mlp's layers
    d.input_dropout = 0.0
    d.init_range = 0.0

    c.loss = ConfigDict()
    c.loss.adversarial = "bce"  # or saturating, lsgan, hinge, wasserstein, relativistic[_average]
    c.loss.smoothing = 0.0  # of the real images' label, in bce and saturating
    c.loss.labels = ConfigDict({"fake": 0.0, "real": 1.0, "wanted": 1.0})  # lsgan's a, b, c
    c.loss.weight = ConfigDict({"discriminator": 1.0, "generator": 1.0})
    c.loss.classes = ConfigDict()  # of an auxiliary classifier
    c.loss.classes.discriminator = 1.0
    c.loss.classes.generator = 1.0
    c.loss.classes.fake = True  # whether it learns from fake images, too

    c.penalty = ConfigDict()
    c.penalty.gp = ConfigDict({"weight": 0.0, "every": 1, "target": 1.0, "one_sided": False})
    c.penalty.r1 = ConfigDict({"weight": 0.0, "every": 1})
    c.penalty.r2 = ConfigDict({"weight": 0.0, "every": 1})
    c.penalty.dragan = ConfigDict({"weight": 0.0, "every": 1, "target": 1.0})
    c.penalty.clip = ConfigDict({"limit": 0.0})

    c.augment = ConfigDict()
    c.augment.noise = ConfigDict()  # on the discriminator's inputs
    c.augment.noise.deviation = 0.0
    c.augment.noise.images = 0.0  # falls to 0 over so many; 0: stays

    c.ema = ConfigDict({"half_life": 0.0, "ramp": 0.0})  # in images; 0: off

    c.optimizer = ConfigDict()
    for player in ("generator", "discriminator"):
        o = c.optimizer[player] = ConfigDict()
        o.name = "adam"  # or sgd, momentum (b1 is what it is called), rmsprop (b2 is its decay)
        o.learning_rate = 2e-4
        o.b1 = 0.5
        o.b2 = 0.999
        o.schedule = (
            "constant"  # or linear (flat for half of the run), to_zero, cosine, exponential
        )
        o.decay = 1.0  # exponential: the rate is divided by it at every step
        o.lowest = 0.0  # exponential: the rate stays above
        o.last_b1 = 0.0  # momentum: it moves there from b1
        o.last_b1_images = 0.0  # ... over so many images; 0: it stays

    c.checkpoint = ConfigDict({"every": 1000, "keep": 2, "best": ""})
    c.evaluate = evaluation(1000, 1000)
    c.init = ConfigDict({"workdir": "", "step": "latest", "nets": "generator,discriminator"})
    return c


def adam(config: ConfigDict, rate: float, b1: float, b2: float) -> None:
    """Adam with the same settings for both players."""
    for player in ("generator", "discriminator"):
        config.optimizer[player].update({"learning_rate": rate, "b1": b1, "b2": b2})


# Presets by which a run is a paper's: those that name data, networks of its own, and `published`.
PUBLISHED = ("published", "mnist", "cifar10", "folder", "resnet")


def for_glyphs(config: ConfigDict, presets: str, steps: int, rate: float = 0.0) -> None:
    """What teaches the built-in glyphs in minutes: narrow networks, averages, perhaps another rate.

    With any of the presets of `PUBLISHED` nothing changes.
    """
    if set(presets.split(",")) & set(PUBLISHED):
        return
    config.train.steps = steps
    config.ema.half_life = 10000.0
    for net in (config.model.generator, config.model.discriminator):
        net.width = 32
    for player in ("generator", "discriminator") if rate else ():
        config.optimizer[player].learning_rate = rate


def published(config: ConfigDict) -> None:
    """The preset for other data by `data.name`: it keeps what `for_glyphs` would change."""


def with_r1(config: ConfigDict) -> None:
    """What learns the glyphs fast: R1 (Mescheder et al. 2018) instead of batch norm, averages."""
    config.train.steps = 12000
    for net in (config.model.generator, config.model.discriminator):
        net.width = 32
    config.model.discriminator.norm = "none"
    config.penalty.r1.weight = 0.05
    config.ema.half_life = 10000.0
    adam(config, 1e-3, 0.0, 0.999)


def without_r1(config: ConfigDict) -> None:
    """The preset that undoes it: DCGAN's batch norm and Adam."""
    for net in (config.model.generator, config.model.discriminator):
        net.width = 64
    config.model.discriminator.norm = "batch"
    config.penalty.r1.weight = 0.0
    config.ema.half_life = 0.0
    adam(config, 2e-4, 0.5, 0.999)


def few_steps(config: ConfigDict) -> None:
    """What all presets called `smoke` have in common: little of everything, all of it once."""
    config.train.steps = 4
    config.train.epochs = 0.0
    config.train.log_every = 2
    config.train.sample_every = 4
    config.data.image_size = 16
    config.checkpoint.every = 2
    config.evaluate.every = 4


def smoke(config: ConfigDict) -> None:
    """The preset of all: a few steps of tiny networks on tiny images, seconds."""
    few_steps(config)
    config.data.batch_size = 8
    config.data.count = 40
    config.model.latent.size = 8
    for net in (config.model.generator, config.model.discriminator):
        net.width = 4
        net.widths = "16,16"
    config.evaluate.num = 16


def mnist(config: ConfigDict) -> None:
    """The preset of most: MNIST at `data.path` (its four files, or mnist.npz), 32 px, grey."""
    config.data.name = "mnist"
    config.data.image_size = 32
    config.data.channels = 1


def cifar10(config: ConfigDict) -> None:
    """The preset of most: CIFAR-10 at `data.path` (its python batches), 32 px."""
    config.data.name = "cifar10"
    config.data.image_size = 32
    config.data.channels = 3


def folder(config: ConfigDict) -> None:
    """The preset of most: your own images at `data.path`, 64 px; sub-folders are classes."""
    config.data.name = "folder"
    config.data.image_size = 64
    config.data.channels = 3


def paired() -> ConfigDict:
    """pix2pix on the built-in label maps: as published, but half as wide."""
    c = _run("paired")

    c.train = ConfigDict()
    c.train.steps = 4000  # either steps or epochs; the other is 0
    c.train.epochs = 0.0
    c.train.accumulate = 1
    c.train.first = "discriminator"  # or generator
    c.train.log_every = 100
    c.train.sample_every = 1000

    c.data = ConfigDict()
    c.data.name = "labels"  # or seasons, folder, tfds:NAME
    c.data.path = ""
    c.data.image_key = "image"  # the feature of a tfds set that holds both halves
    c.data.direction = "AtoB"  # or BtoA
    c.data.batch_size = 1
    c.data.image_size = 64
    c.data.load_size = 0  # 0: of folders image_size * 286 / 256, as published; else image_size
    c.data.flip = True
    c.data.channels = 3  # of each half; or 1 (grey)
    c.data.dtype = "uint8"  # or float32, of .npy files
    c.data.low = -1.0  # the float32 values that become -1 and 1
    c.data.high = 1.0
    c.data.count = 1000  # scenes to train on
    c.data.world = 0  # the scenes' own seed: another world has other scenes

    c.model = ConfigDict()
    c.model.convolution = "auto"  # or canonical, xla
    c.model.inference = "published"  # dropout and the image's own statistics; or deterministic
    g = c.model.generator = ConfigDict()
    g.kind = "unet"
    g.levels = 0  # halvings; 0: down to one pixel, at most 8
    g.width = 32
    g.norm = "batch"  # or instance, none
    g.dropout = 0.5
    g.dropout_where = "published"  # or paper: the three innermost doublings
    d = c.model.discriminator = ConfigDict()
    d.kind = "patch"  # or pixel
    d.width = 32
    d.layers = 3  # 70 x 70 patches
    d.norm = "batch"
    d.conditional = True  # it sees the input, too

    c.loss = ConfigDict()
    c.loss.adversarial = "bce"  # or lsgan, saturating, hinge, wasserstein, relativistic[_average]
    c.loss.l1 = 100.0

    c.ema = ConfigDict({"half_life": 0.0, "ramp": 0.0})  # in images; 0: off
    c.optimizer = ConfigDict()
    for player in ("generator", "discriminator"):
        o = c.optimizer[player] = ConfigDict()
        o.name = "adam"  # or sgd, rmsprop
        o.learning_rate = 2e-4
        o.b1 = 0.5
        o.b2 = 0.999
        o.schedule = "linear"  # flat for half of the run; or constant, to_zero, cosine

    c.checkpoint = ConfigDict({"every": 500, "keep": 2, "best": ""})
    c.evaluate = evaluation(1000, 0)
    c.init = ConfigDict({"workdir": "", "step": "latest", "nets": "generator,discriminator"})
    return c


def seasons(config: ConfigDict) -> None:
    """The built-in scenes in pairs, summer to winter."""
    config.data.name = "seasons"


def paired_folder(config: ConfigDict) -> None:
    """The published settings, on pairs of your own at `data.path`."""
    config.train.steps = 0
    config.train.epochs = 200.0
    config.train.sample_every = 1000
    config.data.name = "folder"
    config.data.image_size = 256
    config.model.generator.width = 64
    config.model.discriminator.width = 64
    config.checkpoint.every = 1000
    config.evaluate.every = 5000


def paired_smoke(config: ConfigDict) -> None:
    """A few steps of tiny networks on tiny images: seconds."""
    few_steps(config)
    config.data.count = 8
    config.model.generator.width = 4
    config.model.discriminator.width = 4
    config.model.discriminator.layers = 1
    config.evaluate.num = 4


def upscaling() -> ConfigDict:
    """Super-resolution on the built-in scenes: what SRGAN and ESRGAN share."""
    c = _run("upscaling")

    c.train = ConfigDict()
    c.train.steps = 3000  # with those of pretraining; either steps or epochs, the other is 0
    c.train.epochs = 0.0
    c.train.accumulate = 1
    c.train.first = "discriminator"  # or generator
    c.train.log_every = 100
    c.train.sample_every = 500

    c.pretraining = ConfigDict()  # of the generator alone
    c.pretraining.steps = 0
    c.pretraining.loss = "l2"  # or l1
    c.pretraining.learning_rate = 1e-4

    c.data = ConfigDict()
    c.data.name = "scenes"  # or folder
    c.data.path = ""
    c.data.tests = ""  # folders of test images, with commas between them; each is a set
    c.data.batch_size = 16
    c.data.image_size = 48  # of the large crops
    c.data.scale = 4  # or 2, 8
    c.data.kernel = "pillow"  # of the reduction; or matlab
    c.data.flip = True
    c.data.rotate = True
    c.data.channels = 3  # or 1 (grey)
    c.data.count = 500  # scenes to train on, of twice image_size
    c.data.world = 0  # the scenes' own seed: another world has other scenes

    c.model = ConfigDict()
    c.model.convolution = "auto"  # or canonical, xla
    c.model.remat = False  # compute an rrdb's blocks again instead of keeping their activations
    g = c.model.generator = ConfigDict()
    g.kind = "srresnet"  # or rrdb
    g.width = 32
    g.blocks = 5
    g.norm = "batch"  # of an srresnet; or none
    g.behind = "norm"  # the blocks of an srresnet; or prelu
    g.output = "linear"  # of an srresnet; or tanh
    g.growth = 16  # of an rrdb
    d = c.model.discriminator = ConfigDict()
    d.kind = "vgg"  # or patch, pixel
    d.width = 16
    d.stages = 4  # of a vgg: halvings
    d.kernel = 3  # of a vgg's strided convolutions
    d.dense = 128  # of a vgg's last layer but one
    d.layers = 3  # of a patch
    d.norm = "batch"  # or instance, none

    c.loss = ConfigDict()
    c.loss.adversarial = "bce"  # or relativistic_average, lsgan, hinge, ...
    c.loss.weight = 1e-3  # of the adversarial part; 0: there is no discriminator
    c.loss.l1 = 0.0
    c.loss.l2 = 0.0
    c.loss.perceptual = ConfigDict()
    c.loss.perceptual.weight = 1.0
    c.loss.perceptual.layers = "relu5_4"  # of VGG-19, perhaps with weights: relu2_2:0.5,relu5_4
    c.loss.perceptual.distance = "l2"  # or l1
    c.loss.perceptual.rescale = 1 / 12.75  # of the features
    c.loss.perceptual.weights = "random"  # a stand-in; or a file, torchvision's vgg19

    c.ema = ConfigDict({"half_life": 0.0, "ramp": 0.0})  # in images; 0: off
    c.optimizer = ConfigDict()
    for player in ("generator", "discriminator"):
        o = c.optimizer[player] = ConfigDict()
        o.name = "adam"  # or sgd, rmsprop
        o.learning_rate = 1e-4
        o.b1 = 0.9
        o.b2 = 0.999
        o.schedule = "stepped"  # or constant, linear, to_zero, cosine; after pretraining
        o.milestones = "0.5"  # stepped: at these shares of the run ...
        o.factor = 0.1  # ... the rate is multiplied by it

    c.checkpoint = ConfigDict({"every": 500, "keep": 2, "best": ""})
    c.evaluate = ConfigDict({"every": 500, "num": 0})  # images of each test set; 0: all
    c.init = ConfigDict({"workdir": "", "step": "latest", "nets": "generator"})
    return c


def pretrain_first(presets: str) -> str:
    """The presets with `pretrain` before the others, some of which look at what it did."""
    return ",".join(sorted(presets.split(","), key=lambda name: name != "pretrain"))


def pretrain(config: ConfigDict) -> None:
    """Super-resolution's first stage alone: the generator, by its distance to the truth."""
    config.loss[config.pretraining.loss] = 1.0
    config.loss[{"l1": "l2", "l2": "l1"}[config.pretraining.loss]] = 0.0
    config.loss.weight = 0.0
    config.loss.perceptual.weight = 0.0
    config.optimizer.generator.schedule = "constant"
    config.optimizer.generator.learning_rate = config.pretraining.learning_rate
    config.pretraining.steps = 0


def upscaling_smoke(config: ConfigDict) -> None:
    """A few steps of tiny networks on tiny images: seconds."""
    few_steps(config)
    config.train.log_every = 1
    config.pretraining.steps = min(config.pretraining.steps, 2)
    config.data.batch_size = 2
    config.data.count = 8
    config.model.generator.width = 4
    config.model.generator.blocks = 1
    config.model.generator.growth = 2
    config.model.discriminator.width = 4
    config.model.discriminator.stages = 2
    config.model.discriminator.dense = 4
    config.loss.perceptual.layers = "conv1_1"
    config.evaluate.num = 2


def classification() -> ConfigDict:
    """A small classifier of the built-in glyphs."""
    c = _run("classification")

    c.train = ConfigDict()
    c.train.steps = 1000  # either steps or epochs; the other is 0
    c.train.epochs = 0.0
    c.train.accumulate = 1
    c.train.log_every = 100
    c.train.sample_every = 1000

    c.data = _labelled()

    c.model = ConfigDict()
    c.model.convolution = "auto"  # or canonical, xla
    n = c.model.classifier = ConfigDict()
    n.kind = "convolutional"
    n.width = 32  # features of the first stage, doubled in each further one
    n.stages = 3  # halvings
    n.norm = "batch"  # or none
    n.features = 128  # numbers that the last layer but one makes of an image
    n.dropout = 0.0  # of these, in training

    c.ema = ConfigDict({"half_life": 0.0, "ramp": 0.0})  # of generators; there is none
    c.optimizer = ConfigDict()
    o = c.optimizer.classifier = ConfigDict()
    o.name = "adam"  # or sgd, rmsprop
    o.learning_rate = 1e-3
    o.b1 = 0.9
    o.b2 = 0.999
    o.schedule = "cosine"  # or constant, linear, to_zero

    c.checkpoint = ConfigDict({"every": 1000, "keep": 2, "best": ""})
    c.evaluate = ConfigDict({"every": 1000, "num": 0})  # test images; 0: all
    c.init = ConfigDict({"workdir": "", "step": "latest", "nets": "classifier"})
    return c


def classifier_smoke(config: ConfigDict) -> None:
    """A few steps of a tiny network on tiny images: seconds."""
    few_steps(config)
    config.data.batch_size = 8
    config.data.load_size = 0
    config.data.count = 40
    config.model.classifier.width = 4
    config.model.classifier.features = 16
    config.evaluate.num = 40
