"""GAN: two perceptrons, the first of all.

Paper: Goodfellow et al., "Generative Adversarial Nets", NeurIPS 2014, arXiv:1406.2661.

    python -m jaxgan.main --config=configs/gan.py

draws the built-in glyphs in grey (nothing to download), in the form that most tutorials have:
generator 100 -> 256 -> 512 -> 1024 -> pixels, discriminator pixels -> 512 -> 256 -> 1, leaky
ReLU, Adam 2e-4 (0.5, 0.999), batches of 32.

    python -m jaxgan.main --config=configs/gan.py:mnist --config.data.path=DIR

trains on MNIST at 28 pixels for 50 epochs.

Presets (`:a,b` combines them): `smoke` takes seconds; `mnist`; `paper`: 2014's networks and SGD.
"""

from ml_collections import ConfigDict

from jaxgan import defaults
from jaxgan.commandline import select_presets


def get_config(presets: str = "") -> ConfigDict:
    """The default run on the built-in glyphs, changed by the presets in order."""
    c = defaults.synthesis()
    c.train.steps = 25000
    c.data.batch_size = 32
    c.model.latent.size = 100
    for net in (c.model.generator, c.model.discriminator):
        net.kind = "mlp"
        net.norm = "none"
    c.model.generator.widths = "256,512,1024"
    c.model.discriminator.widths = "512,256"
    c.loss.adversarial = "bce"
    defaults.adam(c, 2e-4, 0.5, 0.999)
    c.checkpoint.every = c.evaluate.every = c.train.sample_every = 5000
    return select_presets(presets, PRESETS, c)


def mnist(config: ConfigDict) -> None:
    """MNIST at `data.path` as the tutorials take it: 28 px, 50 epochs."""
    defaults.mnist(config)
    config.data.image_size = 28
    config.train.steps = 0
    config.train.epochs = 50.0


def paper(config: ConfigDict) -> None:
    """2014's: ReLU against maxout with dropout, uniform noise, SGD with its two schedules."""
    config.data.batch_size = 100
    config.model.latent.law = "uniform"
    g, d = config.model.generator, config.model.discriminator
    g.widths, g.activation, g.output, g.init_range = "1200,1200", "relu", "sigmoid", 0.05
    d.widths, d.maxout, d.init_range = "240,240", 5, 0.005
    d.dropout, d.input_dropout = 0.5, 0.2
    for player in ("generator", "discriminator"):
        o = config.optimizer[player]
        o.name = "momentum"
        o.learning_rate, o.schedule, o.decay, o.lowest = 0.1, "exponential", 1.000004, 1e-6
        o.b1, o.last_b1, o.last_b1_images = 0.5, 0.7, 250 * 50000.0


PRESETS = {"smoke": defaults.smoke, "mnist": mnist, "paper": paper}
