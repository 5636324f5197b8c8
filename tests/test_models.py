"""The networks' shapes, sizes, receptive fields and refusals, against the published ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jaxgan.errors import UserError
from jaxgan.models import patchgan, resnet
from jaxgan.models.patchgan import PatchDiscriminator, PixelDiscriminator
from jaxgan.models.resnet import ResNetGenerator


def shapes(module, size=256, batch=1):
    """Shapes of the answer and of the parameters; nothing is computed."""
    x = jax.ShapeDtypeStruct((batch, size, size, 3), jnp.float32)
    variables = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, train=False), x)
    answer = jax.eval_shape(lambda v, x: module.apply(v, x, train=False), variables, x)
    return answer, variables["params"]


def count(params):
    return sum(np.prod(leaf.shape, dtype=int) for leaf in jax.tree.leaves(params))


# The numbers of weights that the published code prints for its networks.
@pytest.mark.parametrize(
    ("module", "weights"),
    [
        (ResNetGenerator(width=64, blocks=9), 11_378_179),
        (ResNetGenerator(width=64, blocks=6), 7_837_699),
        (PatchDiscriminator(width=64, layers=3), 2_764_737),
    ],
    ids=["resnet_9blocks", "resnet_6blocks", "patchgan_70x70"],
)
def test_published_number_of_weights(module, weights):
    assert count(shapes(module)[1]) == weights


def test_weights_of_the_pixel_discriminator():
    # 1x1 convolutions 3 -> 64 -> 128 -> 1, with biases, since instance norm has none.
    expected = (3 * 64 + 64) + (64 * 128 + 128) + (128 + 1)
    assert count(shapes(PixelDiscriminator(width=64))[1]) == expected


@pytest.mark.parametrize("size", [(256, 256), (64, 96)])
def test_generators_keep_the_size(size):
    x = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    module = ResNetGenerator(width=8, blocks=1)
    answer = jax.eval_shape(
        lambda x: module.init_with_output(jax.random.key(0), x, train=False)[0], x
    )
    assert (answer.shape, answer.dtype) == (x.shape, jnp.float32)


@pytest.mark.parametrize(("layers", "logits"), [(1, 126), (2, 62), (3, 30), (4, 14), (5, 6)])
def test_logits_of_a_patchgan(layers, logits):
    answer, _ = shapes(PatchDiscriminator(layers=layers))
    assert answer.shape == (1, logits, logits, 1)


def test_logits_of_a_pixelgan():
    answer, _ = shapes(PixelDiscriminator(), size=32)
    assert answer.shape == (1, 32, 32, 1)


@pytest.mark.parametrize("layers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_receptive_field(layers):
    """One logit looks at a square of exactly the stated side, wherever the gradient says so."""
    field = patchgan.receptive_field(layers)
    size = 3 * field // 2 * 2
    module = PatchDiscriminator(width=4, layers=layers, norm="none")
    x = jax.random.normal(jax.random.key(1), (1, size, size, 3))
    variables = module.init(jax.random.key(0), x, train=False)

    @jax.jit
    def seen(x):
        def logit(x):
            logits = module.apply(variables, x, train=False)
            return logits[0, logits.shape[1] // 2, logits.shape[2] // 2, 0]

        return jax.grad(logit)(x)

    touched = np.abs(np.asarray(seen(x))).sum((0, 3)) > 0
    for axis in (0, 1):
        along = np.flatnonzero(touched.any(axis))
        assert along[-1] - along[0] + 1 == field


def test_stated_receptive_fields():
    assert [patchgan.receptive_field(n) for n in range(1, 6)] == [16, 34, 70, 142, 286]


def test_a_pixelgan_looks_at_one_pixel():
    module = PixelDiscriminator(width=4, norm="none")
    x = jax.random.normal(jax.random.key(1), (1, 4, 4, 3))
    variables = module.init(jax.random.key(0), x, train=False)
    slope = jax.grad(lambda x: module.apply(variables, x, train=False)[0, 1, 2, 0])(x)
    assert np.argwhere(np.abs(np.asarray(slope)).sum((0, 3)) > 0).tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("module", "smallest"),
    [
        (ResNetGenerator(width=4, blocks=1), resnet.smallest_image()),
        (ResNetGenerator(width=4, blocks=1, padding="zero", norm="batch"), 4),
        (PatchDiscriminator(width=4, layers=2), patchgan.smallest_image(2)),
        (PixelDiscriminator(width=4), patchgan.smallest_pixel_image()),
    ],
    ids=["resnet", "resnet_zero_batch", "patchgan", "pixelgan"],
)
def test_smallest_images(module, smallest):
    answer, _ = shapes(module, smallest)
    assert min(answer.shape) >= 1
    with pytest.raises(UserError, match=f"these have {smallest - 1} x {smallest - 1}"):
        shapes(module, smallest - 1)


def test_refusals():
    with pytest.raises(UserError, match="multiples of 4 and at least 8 pixels; these have 30 x 30"):
        shapes(ResNetGenerator(width=4, blocks=1), 30)
    with pytest.raises(UserError, match="1 to 5 layers, not 6"):
        shapes(PatchDiscriminator(layers=6))


@pytest.mark.slow
def test_dropout_only_while_training():
    module = ResNetGenerator(width=4, blocks=1, dropout=0.5)
    x = jax.random.uniform(jax.random.key(1), (1, 8, 8, 3), minval=-1)
    variables = module.lazy_init(jax.random.key(0), x, train=False)
    # Of the published scale of 0.02 nothing would be seen.
    variables = jax.tree.map(lambda leaf: 10 * leaf, variables)

    @tiny.jit
    def train(variables, key):
        return module.apply(variables, x, train=True, rngs={"dropout": key})

    one, again, other = (train(variables, jax.random.key(i)) for i in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)

    without = module.clone(dropout=0.0)
    evaluate, without = (
        tiny.jit(lambda variables, net=net: net.apply(variables, x, train=False))
        for net in (module, without)
    )
    np.testing.assert_array_equal(evaluate(variables), without(variables))


@pytest.mark.slow
def test_blocks_in_a_loop_and_unrolled(x64, monkeypatch):
    """The same gradients, with dropout: how the blocks are compiled is no part of the network."""
    types = {"dtype": jnp.float64, "param_dtype": jnp.float64}
    module = ResNetGenerator(width=4, blocks=3, norm="none", dropout=0.5, path="canonical", **types)
    x = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (1, 8, 8, 3)))
    params = module.init(jax.random.key(0), x, train=False)["params"]

    def loss(params):
        rngs = {"dropout": jax.random.key(1)}
        return jnp.sum(module.apply({"params": params}, x, train=True, rngs=rngs) ** 2)

    gradients, loops = [], []
    for pixels in (resnet.UNROLLED, 0):
        monkeypatch.setattr(resnet, "UNROLLED", pixels)
        function = tiny.jit(lambda params: jax.grad(loss)(params)).lower(params)
        loops.append(function.as_text().count("stablehlo.while"))
        gradients.append(function.compile()(params))
    assert loops[0] < loops[1], "the first is unrolled, the second a loop"
    assert tiny.difference(*gradients) < 1e-12
