"""Initial weights: their law, and that the key alone decides them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxgan.models.initializers import normal
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
