"""jaxgan: GAN research in JAX, made for reproducible seeded ablation studies."""

import time

__version__ = "0.1.0"
STARTED = time.perf_counter()  # when the command began, but for Python's own start
