"""Super-resolution's discriminator: 3x3 convolutions, every second one halving, and dense layers.

(SRGAN, Ledig et al. 2017, arXiv:1609.04802, figure 4; ESRGAN's published code has another depth.)
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.models.convolution import Path
from jaxgan.models.initializers import variance_scaling
from jaxgan.models.layers import Conv, Dense, Norm, leaky_relu, normalise

INIT = variance_scaling(1 / 3, "fan_in", "uniform")  # PyTorch's own, as its codes leave it
WIDEST = 8  # times the width


class VGGDiscriminator(nn.Module):
    """One logit of a whole crop.

    Attributes:
      width: features of the first stage; doubled at most three times.
      stages: each two convolutions, the second of stride 2: SRGAN has 4, ESRGAN's code 5.
      kernel: of the strided convolutions: SRGAN 3, ESRGAN's code 4.
      dense: features of the first dense layer: SRGAN 1024, ESRGAN's code 100.
      norm: ``batch``, ``instance`` or ``none``, on all convolutions but the first.
      dtype: of the computation; None: that of `x` and the parameters together.
      param_dtype: of the parameters.
      path: of the convolutions, see `jaxgan.models.convolution.chosen_path`.
    """

    width: int = 64
    stages: int = 4
    kernel: int = 3
    dense: int = 1024
    norm: Norm = "batch"
    dtype: jnp.dtype | None = None
    param_dtype: jnp.dtype = jnp.float32
    path: Path = "auto"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """``[N, H, W, C]`` in [-1, 1] to logits ``[N, 1]``, float32 or wider; H and W are multiples
        of 2^stages."""
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        for stage in range(self.stages):
            features = self.width * min(2**stage, WIDEST)
            for i, (size, strides) in enumerate(((3, 1), (self.kernel, 2))):
                normalised = self.norm != "none" and (stage or i)
                x = Conv(
                    features,
                    size,
                    strides=strides,
                    padding=1,
                    use_bias=not normalised,
                    kernel_init=INIT,
                    path=self.path,
                    name=f"conv_{stage}_{i}",
                    **types,
                )(x)
                if normalised:
                    ones = {"scale_init": nn.initializers.ones}
                    name = f"norm_{stage}_{i}"
                    x = normalise(self.norm, x, train, name=name, **ones, **types)
                x = leaky_relu(x)
        x = x.reshape(x.shape[0], -1)
        x = leaky_relu(Dense(self.dense, kernel_init=INIT, name="dense", **types)(x))
        x = Dense(1, kernel_init=INIT, name="last", **types)(x)
        return x.astype(jnp.promote_types(x.dtype, jnp.float32))
