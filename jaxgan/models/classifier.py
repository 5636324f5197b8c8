"""A small classifier: strided convolutions, a dense layer of features, class logits."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.models.convolution import Path
from jaxgan.models.initializers import variance_scaling
from jaxgan.models.layers import Conv, Dense, Norm, leaky_relu, normalise

HE = variance_scaling(2.0, "fan_in", "normal")  # no layer makes its input larger or smaller
GLOROT = variance_scaling()


def smallest_image(stages: int) -> int:
    """The smallest height and width of which `stages` halvings leave a pixel."""
    return 2**stages


class Classifier(nn.Module):
    """Images to their features and class logits.

    Attributes:
      classes: how many.
      width: features of the first stage, doubled in each further one.
      stages: 4x4 convolutions of stride 2; sides that are odd are halved downwards.
      norm: ``batch`` or ``none``, of each stage.
      features: numbers that the last layer but one makes of an image.
      dropout: share of these that the logits don't see in training.
      dtype: of the computation; None: that of `x` and the parameters together.
      param_dtype: of the parameters.
      path: of the convolutions, see `jaxgan.models.convolution.chosen_path`.
    """

    classes: int
    width: int = 32
    stages: int = 3
    norm: Norm = "batch"
    features: int = 128
    dropout: float = 0.0
    dtype: jnp.dtype | None = None
    param_dtype: jnp.dtype = jnp.float32
    path: Path = "auto"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> dict[str, jax.Array]:
        """``[N, H, W, C]`` in [-1, 1] to `features` ``[N, features]``, behind their leaky ReLU, and
        `logits` ``[N, classes]``; both float32 or wider. H and W are at least `smallest_image`."""
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        for i in range(self.stages):
            x = Conv(
                self.width * 2**i,
                4,
                strides=2,
                padding=1,
                use_bias=self.norm == "none",
                kernel_init=HE,
                path=self.path,
                name=f"conv_{i}",
                **types,
            )(x)
            ones = {"scale_init": nn.initializers.ones}
            x = normalise(self.norm, x, train, name=f"norm_{i}", **ones, **types)
            x = leaky_relu(x)
        x = x.reshape(x.shape[0], -1)
        x = leaky_relu(Dense(self.features, kernel_init=HE, name="features", **types)(x))
        seen = x
        if self.dropout:
            seen = nn.Dropout(self.dropout)(x, deterministic=not train)
        logits = Dense(self.classes, kernel_init=GLOROT, name="logits", **types)(seen)
        found = {"features": x, "logits": logits}
        return {
            name: y.astype(jnp.promote_types(y.dtype, jnp.float32)) for name, y in found.items()
        }
