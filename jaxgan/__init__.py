"""jaxgan: GAN research in JAX, made for reproducible seeded ablation studies."""

__version__ = "0.1.0"
