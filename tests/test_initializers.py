"""Initial weights: their law, and that the key alone decides them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxgan.models.initializers import normal, uniform, unit, variance_scaling
from jaxgan.models.layers import BatchNorm
from jaxgan.models.patchgan import PatchDiscriminator
from jaxgan.models.resnet import ResNetGenerator

SHAPE = (50, 40, 10)


@pytest.mark.parametrize(("stddev", "mean"), [(0.02, 0.0), (0.02, 1.0)])
def test_law(stddev, mean):
    weights = normal(stddev, mean)(jax.random.key(3), SHAPE)
    assert weights.shape == SHAPE
    assert weights.dtype == jnp.float32
    drawn = (np.asarray(weights, np.float64).ravel() - mean) / stddev
    # Kolmogorov and Smirnov: a sample of the law falls below 1e-4 once in 10,000 keys.
    assert stats.kstest(drawn, "norm").pvalue > 1e-4


@pytest.mark.parametrize(
    ("draw", "bound"),
    [
        (uniform(0.05), 0.05),
        (variance_scaling(), np.sqrt(6 / (2000 + 500))),  # 50 x 40 and 50 x 10
        (variance_scaling(2.0, "fan_in"), np.sqrt(6 / 2000)),
    ],
    ids=["uniform", "glorot", "he"],
)
def test_uniform_laws(draw, bound):
    weights = np.ravel(np.asarray(draw(jax.random.key(3), SHAPE), np.float64))
    assert stats.kstest((weights / bound + 1) / 2, "uniform").pvalue > 1e-4


def test_law_of_scaled_normals():
    weights = variance_scaling(2.0, "fan_out", "normal")(jax.random.key(3), SHAPE)
    drawn = np.ravel(np.asarray(weights, np.float64)) / np.sqrt(2 / 500)
    assert stats.kstest(drawn, "norm").pvalue > 1e-4


def test_unknown_laws():
    with pytest.raises(ValueError, match="expected fan_in, fan_out or fan_avg"):
        variance_scaling(mode="fan")
    with pytest.raises(ValueError, match="expected normal or uniform"):
        variance_scaling(distribution="truncated")


def test_unit_vectors(x64):
    vectors = [unit()(jax.random.key(i), (40,), jnp.float64) for i in range(2)]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-12)
    assert abs(vectors[0] @ vectors[1]) < 0.8


def test_the_key_decides():
    draw = normal(1.0)
    first, again = draw(jax.random.key(0), SHAPE), draw(jax.random.key(0), SHAPE)
    np.testing.assert_array_equal(first, again)
    others = [jax.random.key(1), *jax.random.split(jax.random.key(0), 2)]
    for key in others:
        correlation = np.corrcoef(np.ravel(first), np.ravel(draw(key, SHAPE)))[0, 1]
        assert abs(correlation) < 5 / np.sqrt(np.prod(SHAPE))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
def test_the_same_inside_of_jit(dtype, x64):
    draw = normal(0.02)
    inside = jax.jit(lambda key: draw(key, SHAPE, dtype))(jax.random.key(5))
    assert inside.dtype == dtype
    np.testing.assert_array_equal(inside, draw(jax.random.key(5), SHAPE, dtype))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_the_same_for_several_seeds_at_once(dtype, x64):
    keys = jax.random.split(jax.random.key(5), 2)
    together = jax.vmap(lambda key: variance_scaling()(key, SHAPE, dtype))(keys)
    for weights, key in zip(together, keys, strict=True):
        np.testing.assert_array_equal(weights, variance_scaling()(key, SHAPE, dtype))


def test_the_same_inside_of_control_flow(x64):
    """As networks do that scan over their blocks: a callback in a thread of its own."""
    draw, keys = normal(0.02), jax.random.split(jax.random.key(5), 3)
    _, scanned = jax.lax.scan(lambda _, key: (None, draw(key, SHAPE, jnp.float64)), None, keys)
    for weights, key in zip(scanned, keys, strict=True):
        np.testing.assert_array_equal(weights, draw(key, SHAPE, jnp.float64))


def test_old_style_keys():
    """`jax.random.PRNGKey` of the same seed is the same key."""
    draw = normal(0.02)
    np.testing.assert_array_equal(
        draw(jax.random.PRNGKey(5), SHAPE), draw(jax.random.key(5), SHAPE)
    )


def test_types(x64):
    """Drawn in float64 and rounded: the same weights in every type."""
    draw = normal(0.02)
    wide = draw(jax.random.key(0), SHAPE, jnp.float64)
    assert wide.dtype == jnp.float64
    for dtype in (jnp.float32, jnp.bfloat16):
        narrow = draw(jax.random.key(0), SHAPE, dtype)
        assert narrow.dtype == dtype
        np.testing.assert_array_equal(narrow, wide.astype(dtype))


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("network", [ResNetGenerator, PatchDiscriminator])
def test_networks_begin_as_published(network, norm):
    """Kernels N(0, 0.02), scales of batch norm N(1, 0.02), biases 0, no two kernels alike."""
    module = network(width=8, norm=norm)
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    params = module.lazy_init(jax.random.key(0), images, train=False)["params"]
    kernels, firsts = [], set()
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = path[-1].key
        if name == "bias":
            assert not np.any(leaf)
            continue
        mean = {"kernel": 0.0, "scale": 1.0}[name]
        for part in leaf if path[0].key == "blocks" else [leaf]:
            kernels.append((np.ravel(part) - mean) / 0.02)
            firsts.add(float(kernels[-1][0]))
    assert len(firsts) == len(kernels)
    assert stats.kstest(np.concatenate(kernels), "norm").pvalue > 1e-4
    assert (norm == "batch") == ("scale" in str(jax.tree_util.tree_structure(params)))


def test_batch_norm_begins_at_mean_0_and_variance_1():
    variables = BatchNorm().init(jax.random.key(0), jnp.ones((2, 4, 4, 3)) * 7, train=True)
    assert not np.any(variables["batch_stats"]["mean"])
    assert np.all(variables["batch_stats"]["var"] == 1)
