"""The layers against closed forms: padding, norms with their statistics and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.models.layers import (
    BatchNorm,
    Conv,
    ConvTranspose,
    Dense,
    Embed,
    InstanceNorm,
    leaky_relu,
    normalise,
    reflect_pad,
    with_spread,
)


def images(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("width", [1, 3])
def test_reflect_pad(width, x64):
    x = images(2, 4, 5, 3)
    widths = ((0, 0), (width, width), (width, width), (0, 0))
    np.testing.assert_array_equal(reflect_pad(jnp.asarray(x), width), np.pad(x, widths, "reflect"))

    # The adjoint: every padded pixel's cotangent comes back to the pixel that it mirrors.
    cotangent = images(2, 4 + 2 * width, 5 + 2 * width, 3, seed=1)
    source = np.pad(np.arange(x.size).reshape(x.shape), widths, "reflect")
    expected = np.bincount(source.ravel(), cotangent.ravel()).reshape(x.shape)
    _, pull = jax.vjp(lambda x: reflect_pad(x, width), jnp.asarray(x))
    np.testing.assert_allclose(pull(jnp.asarray(cotangent))[0], expected, atol=1e-12)


def test_reflect_pad_needs_pixels():
    with pytest.raises(ValueError, match="cannot reflect 3 pixels of an axis of 3"):
        reflect_pad(jnp.zeros((1, 4, 3, 1)), 3)


def test_leaky_relu():
    np.testing.assert_allclose(leaky_relu(jnp.array([-2.0, 0.0, 3.0])), [-0.4, 0.0, 3.0])


def plain_instance_norm(x, epsilon=1e-5):
    mean = x.mean((1, 2), keepdims=True)
    return (x - mean) / jnp.sqrt(x.var((1, 2), keepdims=True) + epsilon)


def test_instance_norm(x64):
    x = jnp.asarray(images(2, 4, 5, 3) * 7 + 2)
    norm = InstanceNorm()
    assert norm.init(jax.random.key(0), x) == {}, "as published, nothing is learned"
    np.testing.assert_allclose(norm.apply({}, x), plain_instance_norm(x), atol=1e-12)


def test_gradients_of_instance_norm(x64):
    """It has a backward pass of its own; a gradient penalty goes through that, too."""
    x, weights = jnp.asarray(images(2, 4, 5, 3)), jnp.asarray(images(2, 4, 5, 3, seed=1))

    def answers(norm):
        def score(x):
            return jnp.sum(weights * jnp.tanh(norm(x)))

        slope = jax.grad(score)
        return slope(x), jax.grad(lambda x: jnp.sum(slope(x) ** 2))(x)

    ours = answers(lambda x: InstanceNorm().apply({}, x))
    for a, b in zip(ours, answers(plain_instance_norm), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-10)


def test_affine_instance_norm(x64):
    x = jnp.asarray(images(1, 4, 4, 2))
    norm = InstanceNorm(affine=True, param_dtype=jnp.float64)
    variables = norm.init(jax.random.key(0), x)
    np.testing.assert_allclose(norm.apply(variables, x), plain_instance_norm(x), atol=1e-12)
    variables = {"params": {"scale": jnp.array([2.0, 3.0]), "bias": jnp.array([-1.0, 1.0])}}
    np.testing.assert_allclose(
        norm.apply(variables, x),
        plain_instance_norm(x) * np.array([2, 3]) + np.array([-1, 1]),
        atol=1e-12,
    )


def test_batch_norm(x64):
    """Normalises by the biased variance, remembers the unbiased one, evaluates by memory."""
    x = images(3, 4, 5, 2) * 3 + 1
    norm = BatchNorm(param_dtype=jnp.float64)
    variables = norm.init(jax.random.key(0), jnp.asarray(x), train=True)
    start = {"mean": np.zeros(2), "var": np.ones(2)}
    for name, value in start.items():
        np.testing.assert_array_equal(variables["batch_stats"][name], value)
    scale, bias = variables["params"]["scale"], variables["params"]["bias"]

    made, changed = norm.apply(variables, jnp.asarray(x), train=True, mutable=["batch_stats"])
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    np.testing.assert_allclose(made, (x - mean) / np.sqrt(var + 1e-5) * scale + bias, atol=1e-12)
    kept = changed["batch_stats"]
    count = 3 * 4 * 5
    np.testing.assert_allclose(kept["mean"], 0.1 * mean, atol=1e-12)
    np.testing.assert_allclose(kept["var"], 0.9 + 0.1 * var * count / (count - 1), atol=1e-12)

    variables = {**variables, **changed}
    made = norm.apply(variables, jnp.asarray(x), train=False)
    expected = (x - kept["mean"]) / np.sqrt(kept["var"] + 1e-5) * scale + bias
    np.testing.assert_allclose(made, expected, atol=1e-12)


def test_batch_norm_of_vectors(x64):
    """As if each were an image of one pixel."""
    x = jnp.asarray(images(5, 2))
    norm = BatchNorm(param_dtype=jnp.float64)
    variables = norm.init(jax.random.key(0), x, train=True)
    for train in (True, False):
        flat, square = (
            norm.apply(variables, x, train=train, mutable=["batch_stats"])
            for x in (x, x.reshape(5, 1, 1, 2))
        )
        np.testing.assert_allclose(flat[0], square[0][:, 0, 0], rtol=1e-12)
        jax.tree.map(np.testing.assert_array_equal, flat[1], square[1])


def test_dense_and_embed_by_hand(x64):
    kernel = jnp.arange(6.0).reshape(3, 2)
    params = {"kernel": kernel, "bias": jnp.array([0.5, -0.5])}
    made = Dense(2, param_dtype=jnp.float64).apply({"params": params}, jnp.array([[1.0, 0, 2]]))
    np.testing.assert_allclose(made, [[8.5, 10.5]])
    embed = Embed(3, 2, param_dtype=jnp.float64)
    made = embed.apply({"params": {"kernel": kernel}}, jnp.array([2, 0]))
    np.testing.assert_array_equal(made, [[4, 5], [0, 1]])


def test_conv_pads_by_reflection(x64):
    x = jnp.asarray(images(1, 6, 7, 2))
    types = {"param_dtype": jnp.float64}
    reflecting = Conv(3, 3, padding=1, padding_mode="reflect", **types)
    variables = reflecting.init(jax.random.key(0), x)
    padded = jnp.asarray(np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect"))
    np.testing.assert_allclose(
        reflecting.apply(variables, x), Conv(3, 3, **types).apply(variables, padded), atol=1e-12
    )


def test_conv_by_hand(x64):
    """One 2x2 kernel over a 3x3 image, with a bias: cross-correlation, kernels are HWIO."""
    x = jnp.arange(9.0).reshape(1, 3, 3, 1)
    kernel = jnp.array([[1.0, 2.0], [3.0, 4.0]]).reshape(2, 2, 1, 1)
    variables = {"params": {"kernel": kernel, "bias": jnp.array([0.5])}}
    made = Conv(1, 2, param_dtype=jnp.float64).apply(variables, x)
    expected = [[0 + 2 + 9 + 16, 1 + 4 + 12 + 20], [3 + 8 + 18 + 28, 4 + 10 + 21 + 32]]
    np.testing.assert_allclose(made[0, :, :, 0], np.array(expected) + 0.5, atol=1e-12)


def test_conv_transpose_by_hand(x64):
    """A single pixel paints the kernel, cropped by the padding."""
    kernel = jnp.arange(9.0).reshape(3, 3, 1, 1)
    variables = {"params": {"kernel": kernel, "bias": jnp.array([1.0])}}
    up = ConvTranspose(1, 3, strides=2, padding=1, output_padding=1, param_dtype=jnp.float64)
    made = up.apply(variables, jnp.full((1, 1, 1, 1), 2.0))
    np.testing.assert_allclose(made[0, :, :, 0], 2 * np.array([[4, 5], [7, 8]]) + 1, atol=1e-12)


def test_normalise_knows_its_names():
    x = jnp.ones((1, 2, 2, 1))
    assert normalise("none", x, True, name="norm") is x
    with pytest.raises(ValueError, match="expected instance, batch or none"):
        normalise("layer", x, True, name="norm")


def test_how_far_a_batch_spreads_is_seen(x64):
    """One more channel: the deviation over the batch, in the mean over places and features."""
    x = np.random.default_rng(0).normal(size=(6, 3, 3, 4))
    seen = np.asarray(with_spread(jnp.asarray(x)))
    np.testing.assert_array_equal(seen[..., :4], x)
    np.testing.assert_allclose(seen[..., 4], np.std(x, 0).mean(), rtol=1e-6)
    alike = jnp.ones((6, 3, 3, 4))
    assert float(with_spread(alike)[0, 0, 0, 4]) < 1e-3
    slope = jax.grad(lambda x: with_spread(x)[..., 4].sum())(alike)
    assert np.isfinite(slope).all()
