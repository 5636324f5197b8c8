"""The networks from noise to images: published sizes, classes in closed form, refusals."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jaxgan.errors import UserError
from jaxgan.models import dcgan, mlp, residual
from jaxgan.models.layers import Conv, leaky_relu

TYPES = {"dtype": jnp.float64, "param_dtype": jnp.float64}
GENERATORS = {
    "dcgan": partial(dcgan.Generator, 8, width=2),
    "mlp": partial(mlp.Generator, (8, 8, 3), widths=(4, 5)),
    "residual": partial(residual.Generator, 8, width=2),
}
DISCRIMINATORS = {
    "dcgan": partial(dcgan.Discriminator, width=2),
    "mlp": partial(mlp.Discriminator, widths=(4, 3)),
    "residual": partial(residual.Discriminator, width=2, blocks=1),
}
LABEL = np.array([0, 2, 1])


def variables_of(module, *inputs):
    """Shapes; nothing is computed."""
    return jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs, train=False))


def count(module, *shape):
    params = variables_of(module, jnp.zeros((1, *shape)))["params"]
    return sum(np.prod(leaf.shape, dtype=int) for leaf in jax.tree.leaves(params))


def leaves(tree, name):
    """Where leaves of this name are."""
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
    return {jax.tree_util.keystr(path[:-1]) for path in paths if path[-1].key == name}


def images(count=3, size=8):
    return np.random.default_rng(0).uniform(-1, 1, (count, size, size, 3))


def run(module, variables, *inputs, train=False):
    return tiny.jit(partial(module.apply, train=train))(variables, *inputs)


def larger(variables):
    """Weights of which something can be seen, biases included."""
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), variables)


MAXOUT = mlp.Discriminator(widths=(240, 240), maxout=5)


@pytest.mark.parametrize(
    ("module", "shape", "weights"),
    [
        # PyTorch's DCGAN example has no bias in its last layers, nor in its first convolution.
        (dcgan.Generator(64), (100,), 3_576_704 + 3),
        (dcgan.Discriminator(), (64, 64, 3), 2_765_568 + 64 + 1),
        (mlp.Generator((28, 28, 1)), (100,), 1_486_352),
        (mlp.Discriminator(), (28, 28, 1), 533_505),
        (mlp.Generator((28, 28, 1), widths=(1200, 1200)), (100,), 2_503_984),
        (MAXOUT, (28, 28, 1), 785 * 1200 + 241 * 1200 + 241),
        (residual.Generator(32, width=128), (128,), 1_204_483),
        (residual.Discriminator(width=128), (32, 32, 3), 1_053_825),
        (residual.Generator(32, width=256), (128,), 4_276_739),
    ],
    ids=["dcgan_g", "dcgan_d", "mnist_g", "mnist_d", "gan_g", "gan_d", "wgan_gp_g", "d", "sngan_g"],
)
def test_published_number_of_weights(module, shape, weights):
    assert count(module, *shape) == weights


def test_weights_of_the_conditional_gan():
    noise, pictures, label = jnp.zeros((1, 100)), jnp.zeros((1, 28, 28, 1)), jnp.zeros(1, int)
    generator = variables_of(mlp.ConditionalGenerator((28, 28, 1), 10), noise, label)["params"]
    assert {name: leaf["kernel"].shape for name, leaf in generator.items()} == {
        "latent": (100, 200),
        "label": (10, 1000),
        "joint": (1200, 1200),
        "last": (1200, 784),
    }
    params = variables_of(mlp.ConditionalDiscriminator(10), pictures, label)["params"]
    assert {name: leaf["kernel"].shape for name, leaf in params.items()} == {
        "image": (784, 240 * 5),
        "label": (10, 50 * 5),
        "joint": (290, 240 * 4),
        "last": (240, 1),
    }


@pytest.mark.parametrize("conditioning", ["none", "concatenation", "projection", "auxiliary"])
@pytest.mark.parametrize("network", DISCRIMINATORS)
def test_answers_of_discriminators(network, conditioning):
    """In bfloat16 logits are float32, and every kernel has its vector, those of heads too."""
    classes = 0 if conditioning == "none" else 5
    module = DISCRIMINATORS[network](
        conditioning=conditioning, classes=classes, spectral=True, dtype=jnp.bfloat16
    )
    label = [LABEL] if conditioning in ("concatenation", "projection") else []
    inputs = jnp.zeros((3, 8, 8, 3)), *label
    variables = variables_of(module, *inputs)
    collections = [name for name in variables if name != "params"]
    answer, changed = jax.eval_shape(
        lambda v: module.apply(v, *inputs, train=True, mutable=collections), variables
    )
    expected = [(3, 1), (3, 5)] if conditioning == "auxiliary" else [(3, 1)]
    assert [x.shape for x in jax.tree.leaves(answer)] == expected
    assert {x.dtype for x in jax.tree.leaves(answer)} == {jnp.dtype(jnp.float32)}
    kernels = leaves(variables["params"], "kernel")
    assert leaves(variables["spectral"], "u") == kernels
    assert len(kernels) > 2 + (conditioning in ("projection", "auxiliary")) - (network == "dcgan")
    assert jax.tree.map(jnp.shape, changed) == jax.tree.map(
        jnp.shape, {name: variables[name] for name in collections}
    )


@pytest.mark.parametrize(
    "module",
    [
        *(make(dtype=jnp.bfloat16) for make in GENERATORS.values()),
        residual.Generator(64, channels=1, width=2),
        mlp.Generator((2,), widths=(4,), norm="batch", output="linear"),
    ],
)
def test_answers_of_generators(module):
    noise = jnp.zeros((3, 7))
    answer, _ = jax.eval_shape(
        lambda: module.init_with_output(jax.random.key(0), noise, train=True)
    )
    shape = getattr(module, "shape", None) or (module.size, module.size, module.channels)
    assert (answer.shape, answer.dtype) == ((3, *shape), jnp.float32)


@pytest.mark.parametrize("network", GENERATORS)
def test_a_generator_sees_one_hot_labels(network, x64):
    module = GENERATORS[network](classes=3, **TYPES)
    noise = np.random.default_rng(0).normal(size=(3, 4))
    plain = GENERATORS[network](**TYPES)
    joined = np.concatenate([noise, np.eye(3)[LABEL]], 1)
    variables = larger(variables_of(module, noise, LABEL))
    made = run(module, variables, noise, LABEL)
    np.testing.assert_allclose(made, run(plain, variables, joined), atol=1e-12)


@pytest.mark.parametrize("network", ["dcgan", "mlp"])
def test_a_discriminator_sees_one_hot_labels(network, x64):
    """Concatenation is the unconditional network on what is joined."""
    module = DISCRIMINATORS[network](conditioning="concatenation", classes=3, norm="none", **TYPES)
    plain = DISCRIMINATORS[network](norm="none", **TYPES)
    x = images() if network == "dcgan" else images().reshape(3, -1)
    variables = larger(variables_of(module, x, LABEL))
    made = run(module, variables, x, LABEL)
    maps = np.broadcast_to(np.eye(3)[LABEL].reshape(3, *(1,) * (x.ndim - 2), 3), (*x.shape[:-1], 3))
    joined = np.concatenate([x, maps], -1)
    np.testing.assert_allclose(made, run(plain, variables, joined), rtol=1e-9)
    shifted = run(module, variables, x, (LABEL + 1) % 3)
    assert np.all(np.abs(shifted - made) > 1e-6)


def test_projection(x64):
    """Without hidden layers the features are the points themselves."""
    x = np.random.default_rng(0).normal(size=(3, 2))
    module = mlp.Discriminator(widths=(), conditioning="projection", classes=3, **TYPES)
    variables = larger(variables_of(module, x, LABEL))
    params = jax.tree.map(np.asarray, variables["params"])
    expected = x @ params["last"]["kernel"] + params["last"]["bias"]
    expected += np.sum(params["embed"]["kernel"][LABEL] * x, axis=1, keepdims=True)
    np.testing.assert_allclose(run(module, variables, x, LABEL), expected, rtol=1e-12)


def test_projection_of_convolutions(x64):
    """The features, summed over their pixels."""
    x = images()
    module = dcgan.Discriminator(2, conditioning="projection", classes=3, **TYPES)
    variables = larger(variables_of(module, x, LABEL))
    params = variables["params"]

    @tiny.jit
    def features(params):
        first = Conv(2, 4, strides=2, padding=1, **TYPES)
        return leaky_relu(first.apply({"params": params}, x)).sum((1, 2))

    embedded = np.asarray(params["embed"]["kernel"])[LABEL]
    expected = run(dcgan.Discriminator(2, **TYPES), variables, x)
    expected += np.sum(embedded * features(params["conv_0"]), axis=1, keepdims=True)
    np.testing.assert_allclose(run(module, variables, x, LABEL), expected, rtol=1e-10)


def test_an_auxiliary_head_leaves_the_logits_alone(x64):
    x = np.random.default_rng(0).normal(size=(3, 2))
    module = mlp.Discriminator(widths=(4,), conditioning="auxiliary", classes=3, **TYPES)
    variables = larger(variables_of(module, x))
    params = jax.tree.map(np.asarray, variables["params"])
    logits, classes = run(module, variables, x)
    plain = mlp.Discriminator(widths=(4,), **TYPES)
    np.testing.assert_allclose(logits, run(plain, variables, x), rtol=1e-12)
    features = x @ params["dense_0"]["kernel"] + params["dense_0"]["bias"]
    features = np.where(features > 0, features, 0.2 * features)
    head = params["classes_head"]
    np.testing.assert_allclose(classes, features @ head["kernel"] + head["bias"], rtol=1e-12)


@pytest.mark.parametrize("network", DISCRIMINATORS)
def test_labels_that_are_missing_or_for_nothing(network):
    noise, x = jnp.zeros((3, 4)), jnp.zeros((3, 8, 8, 3))
    generator, discriminator = GENERATORS[network], DISCRIMINATORS[network]
    for module, inputs, message in (
        (generator(classes=3), (noise,), "classes=3 needs the label"),
        (generator(), (noise, LABEL), "classes=0 takes no label"),
        (discriminator(), (x, LABEL), "conditioning=none takes no label"),
        (discriminator(conditioning="auxiliary", classes=3), (x, LABEL), "takes no label"),
        (discriminator(conditioning="projection", classes=3), (x,), "needs the label"),
        (discriminator(conditioning="projection"), (x, LABEL), "go with classes=0"),
        (discriminator(classes=3), (x,), "go with classes=3"),
        (discriminator(conditioning="film", classes=3), (x,), "expected one of none, concat"),
    ):
        with pytest.raises(ValueError, match=message):
            variables_of(module, *inputs)


def test_labels_of_the_conditional_gan_are_wanted():
    for module in (mlp.ConditionalGenerator((2,), 3), mlp.ConditionalDiscriminator(3)):
        with pytest.raises(ValueError, match="needs the label"):
            variables_of(module, jnp.zeros((3, 4)))


def test_refusals():
    noise, x = jnp.zeros((3, 4)), jnp.zeros((3, 24, 24, 3))
    for module, inputs in ((mlp.Generator((2,), norm="instance"), noise),):
        with pytest.raises(UserError, match="its norm is batch or none"):
            variables_of(module, inputs)
    for module, inputs in ((residual.Generator(24), noise), (residual.Discriminator(), x)):
        with pytest.raises(UserError, match=r"=24 doesn't fit the residual networks.*size=32"):
            variables_of(module, inputs)
    for module, expected in (
        (mlp.Generator((2,), activation="tanh"), "expected one of leaky_relu, relu"),
        (mlp.Generator((2,), output="softmax"), "expected one of tanh, sigmoid, linear"),
        (residual.Discriminator(pool="max"), "expected mean or sum"),
    ):
        given = noise if isinstance(module, mlp.Generator) else x
        with pytest.raises(ValueError, match=expected):
            variables_of(module, given)


def test_a_generator_of_dense_layers_by_hand(x64):
    noise = np.random.default_rng(0).normal(size=(3, 4))
    module = mlp.Generator((2, 2, 1), (5,), activation="relu", output="sigmoid", **TYPES)
    variables = larger(variables_of(module, noise))
    params = jax.tree.map(np.asarray, variables["params"])
    first, last = params["dense_0"], params["last"]
    hidden = np.maximum(noise @ first["kernel"] + first["bias"], 0)
    expected = 2 / (1 + np.exp(-(hidden @ last["kernel"] + last["bias"]))) - 1
    made = run(module, variables, noise)
    np.testing.assert_allclose(made, expected.reshape(3, 2, 2, 1), rtol=1e-9)


def test_maxout_and_dropout(x64):
    """The largest piece of each unit; dropout in training alone, by its own key."""
    x = np.random.default_rng(0).normal(size=(3, 4))
    module = mlp.Discriminator((3,), maxout=2, dropout=0.5, input_dropout=0.2, **TYPES)
    variables = larger(variables_of(module, x))
    params = jax.tree.map(np.asarray, variables["params"])
    first, last = params["dense_0"], params["last"]
    pieces = x @ first["kernel"] + first["bias"]
    hidden = np.maximum(pieces[:, ::2], pieces[:, 1::2])
    expected = hidden @ last["kernel"] + last["bias"]
    np.testing.assert_allclose(run(module, variables, x), expected, rtol=1e-12)

    @tiny.jit
    def train(key):
        return module.apply(variables, x, train=True, rngs={"dropout": key})

    one, again, other = (train(jax.random.key(i)) for i in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)
    assert not np.allclose(one, expected)


def test_both_networks_of_the_conditional_gan_drop(x64):
    noise = np.random.default_rng(0).normal(size=(3, 4))
    for module in (mlp.ConditionalGenerator((2,), 3, **TYPES), mlp.ConditionalDiscriminator(3)):
        module = module.clone(widths=(4, 4, 4), **TYPES)
        variables = larger(variables_of(module, noise, LABEL))

        @tiny.jit
        def answers(variables, module=module):
            evaluate = partial(module.apply, variables, noise, train=False)
            rngs = {"dropout": jax.random.key(0)}
            moving = module.apply(variables, noise, LABEL, train=True, rngs=rngs)
            return evaluate(LABEL), evaluate((LABEL + 1) % 3), moving

        still, other, moving = answers(variables)
        assert not np.allclose(still, other)
        assert not np.allclose(still, moving)


def test_resampling(x64):
    x = images()
    up, down = tiny.jit(lambda x: (residual.upsample(x), residual.downsample(x)))(x)
    np.testing.assert_array_equal(up, x.repeat(2, axis=1).repeat(2, axis=2))
    for i, j in ((0, 0), (1, 2)):
        mean = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean((1, 2))
        np.testing.assert_allclose(down[:, i, j], mean, rtol=1e-12)


@pytest.mark.parametrize("resample", ["up", "down", "none"])
def test_a_residual_block_by_hand(resample, x64):
    """With features as they are, a block of equal size has no shortcut layer."""
    x = images()
    module = residual.Block(3, resample, **TYPES)
    variables = larger(jax.eval_shape(lambda: module.init(jax.random.key(0), x, True)))
    params = variables["params"]
    assert ("shortcut" in params) == (resample != "none")
    up = residual.upsample if resample == "up" else lambda x: x
    down = residual.downsample if resample == "down" else lambda x: x

    def conv(name, size, x):
        return Conv(3, size, padding=size // 2, **TYPES).apply({"params": params[name]}, x)

    @tiny.jit
    def by_hand(x):
        y = conv("conv_1", 3, nn.relu(conv("conv_0", 3, up(nn.relu(x)))))
        # As published: the shortcut's convolution at the larger size.
        return down(y) + (down(conv("shortcut", 1, up(x))) if "shortcut" in params else x)

    made = tiny.jit(lambda x: module.apply(variables, x, True))(x)
    np.testing.assert_allclose(made, by_hand(x), rtol=1e-10)


def test_blocks_of_a_residual_discriminator():
    """Down to 8 x 8, then the plain ones; the first block's ReLU would hide half of the image."""
    names = {
        size: sorted(
            variables_of(residual.Discriminator(2), jnp.zeros((1, size, size, 3)))["params"]
        )
        for size in (8, 16, 32, 64)
    }
    plain = ["block_0", "block_1"]
    for size, halvings in ((8, 1), (16, 1), (32, 2), (64, 3)):
        assert names[size] == [*plain, *(f"down_{i}" for i in range(halvings)), "last"]


def test_pooling(x64):
    """The head of a sum over 4 x 4 pixels is that of the mean with 16-fold weights."""
    x = images()
    of_sum, of_mean = (
        residual.Discriminator(2, blocks=0, pool=pool, **TYPES) for pool in ("sum", "mean")
    )
    variables = larger(variables_of(of_sum, x))
    last = variables["params"]["last"]
    scaled = {"params": {**variables["params"], "last": {**last, "kernel": last["kernel"] * 16}}}
    np.testing.assert_allclose(run(of_sum, variables, x), run(of_mean, scaled, x), rtol=1e-10)
