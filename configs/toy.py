"""The toy world: points in the plane, where a lost mode can be counted.

    python -m jaxgan.main --config=configs/toy.py

trains WGAN-GP on the ring of eight Gaussians, five seeds side by side, and says how many modes each
has reached. Every field of the other configs can be given: `--config.loss.adversarial=bce`.

Presets (`:a,b` combines them): `smoke` takes seconds; `grid` (25 Gaussians) and `swiss_roll` are
other worlds; `relativistic` is R3GAN's loss with R1 and R2; `clipping` is WGAN, `vanilla`
cross-entropy without any penalty; `stacked` draws three glyphs on top of each other, 1,000 modes,
as images.
"""

from ml_collections import ConfigDict

from jaxgan import defaults
from jaxgan.commandline import select_presets


def get_config(presets: str = "") -> ConfigDict:
    """WGAN-GP on the ring, changed by the presets in order."""
    c = defaults.synthesis()
    c.task = "points"
    c.train.steps = 4000
    c.train.seeds = 5  # a group: seed, seed + 1, ...
    c.train.critic_rounds = 5
    c.train.log_every = 500
    c.train.sample_every = 1000
    c.data.name = "ring"
    c.data.batch_size = 256
    c.model.latent.size = 4
    for net in (c.model.generator, c.model.discriminator):
        net.kind = "mlp"
        net.norm = "none"
        net.widths = "64,64,64"
    c.model.generator.output = "linear"
    c.model.generator.activation = "relu"
    c.loss.adversarial = "wasserstein"
    c.penalty.gp.weight = 0.1
    defaults.adam(c, 1e-3, 0.5, 0.9)
    c.ema.half_life = 35000.0  # about 0.995 a step
    c.checkpoint.every = c.evaluate.every = 1000
    c.evaluate.num = 10000
    return select_presets(presets, PRESETS, c)


def ring(config: ConfigDict) -> None:
    """Eight Gaussians on a circle of radius 1, deviation 0.05: the default."""
    config.data.name = "ring"


def grid(config: ConfigDict) -> None:
    """25 Gaussians, 1 apart, deviation 0.05."""
    config.data.name = "grid"
    config.train.steps = 8000


def swiss_roll(config: ConfigDict) -> None:
    """A noisy spiral."""
    config.data.name = "swiss_roll"


def vanilla(config: ConfigDict) -> None:
    """Cross-entropy, one round, no penalty: the game of 2014."""
    config.loss.adversarial = "bce"
    config.train.critic_rounds = 1
    config.penalty.gp.weight = 0.0


def clipping(config: ConfigDict) -> None:
    """WGAN: weights are clipped, RMSProp."""
    config.penalty.gp.weight = 0.0
    config.penalty.clip.limit = 0.1
    for player in ("generator", "discriminator"):
        config.optimizer[player].update({"name": "rmsprop", "learning_rate": 5e-4, "b2": 0.99})


def relativistic(config: ConfigDict) -> None:
    """R3GAN's game (Huang et al. 2024): relativistic pairs, R1 and R2, one round."""
    config.loss.adversarial = "relativistic"
    config.train.critic_rounds = 1
    config.penalty.gp.weight = 0.0
    config.penalty.r1.weight = config.penalty.r2.weight = 0.1


def stacked(config: ConfigDict) -> None:
    """Three glyphs on top of each other, one in each channel: 1,000 modes, by DCGAN's networks."""
    config.task = "labelled"
    config.train.seeds = 1
    config.train.critic_rounds = 1
    config.data.name = "stacked"
    config.data.channels = 3
    config.data.image_size = 16
    config.data.batch_size = 64
    config.model.latent.size = 100
    for net in (config.model.generator, config.model.discriminator):
        net.kind = "dcgan"
        net.norm = "batch"
    config.loss.adversarial = "bce"
    config.penalty.gp.weight = 0.0
    defaults.adam(config, 2e-4, 0.5, 0.999)
    config.evaluate.num = 10000


def smoke(config: ConfigDict) -> None:
    """A few steps of tiny networks: seconds."""
    seeds = config.train.seeds
    defaults.smoke(config)
    config.train.seeds = min(seeds, 2)


PRESETS = {
    "smoke": smoke,
    "ring": ring,
    "grid": grid,
    "swiss_roll": swiss_roll,
    "vanilla": vanilla,
    "clipping": clipping,
    "relativistic": relativistic,
    "stacked": stacked,
}
