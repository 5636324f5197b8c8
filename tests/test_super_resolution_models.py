"""Networks that enlarge: SRResNet, RRDB, and what VGG-19 is asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import jit

from jaxgan.errors import UserError
from jaxgan.models import vgg
from jaxgan.models.published_rrdb import rrdb_from_published
from jaxgan.models.published_srresnet import srresnet_from_published
from jaxgan.models.rrdb import RRDBNet
from jaxgan.models.srresnet import SRResNet, pixel_shuffle


def test_pixel_shuffle_is_what_it_says():
    """Feature c r^2 + i r + j of a pixel is row i, column j of its block in channel c."""
    x = np.arange(2 * 3 * 4 * 18, dtype=np.float32).reshape(2, 3, 4, 18)
    y = np.asarray(pixel_shuffle(jnp.asarray(x), 3))
    assert y.shape == (2, 9, 12, 2)
    for c in range(2):
        for i in range(3):
            for j in range(3):
                np.testing.assert_array_equal(y[:, i::3, j::3, c], x[..., c * 9 + i * 3 + j])


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
@pytest.mark.parametrize("module", [SRResNet, RRDBNet])
def test_every_scale_and_any_size(module, scale):
    net = module(scale=scale, width=2, blocks=1)
    x = jnp.zeros((1, 5, 6, 3))
    shapes = jax.eval_shape(lambda: net.init_with_output(jax.random.key(0), x, train=False))
    assert shapes[0].shape == (1, 5 * scale, 6 * scale, 3)


@pytest.mark.parametrize("module", [SRResNet, RRDBNet])
def test_a_scale_that_is_no_doubling_is_refused(module):
    with pytest.raises(ValueError, match="scale is 3"):
        module(scale=3).init(jax.random.key(0), jnp.zeros((1, 4, 4, 3)), train=False)


def published_srresnet(norm_behind):
    """The arrays of a network of 2 blocks and width 3, as its PyTorch code names them."""
    rng = np.random.default_rng(0)
    shapes = {"block1.0": (3, 3, 9, 9), "block4.0": (3, 3, 3, 3), "block5.0.conv": (12, 3, 3, 3)}
    shapes |= {"block5.1": (3, 3, 9, 9)}
    shapes |= {f"block{i}.conv{j}": (3, 3, 3, 3) for i in (2, 3) for j in (1, 2)}
    arrays = {f"{name}.weight": 0.1 * rng.normal(size=shape) for name, shape in shapes.items()}
    arrays |= {f"{name}.bias": rng.normal(size=shape[0]) for name, shape in shapes.items()}
    norms = [f"block{i}.bn{j}" for i in (2, 3) for j in (1, 2)]
    for name in [*norms, *(["block4.1"] if norm_behind else [])]:
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            arrays[f"{name}.{leaf}"] = 1 + 0.1 * rng.random(3)
    for name in ("block1.1", "block2.prelu", "block3.prelu", "block5.0.prelu"):
        arrays[f"{name}.weight"] = rng.random(1)
    if not norm_behind:
        arrays["block4.1.weight"] = rng.random(1)
    return arrays


@pytest.mark.parametrize("norm_behind", [True, False])
def test_published_srresnets_fit_the_network(norm_behind):
    arguments, variables = srresnet_from_published(published_srresnet(norm_behind))
    assert arguments["blocks"] == 2
    assert arguments["scale"] == 2
    assert arguments["behind"] == ("norm" if norm_behind else "prelu")
    net, x = SRResNet(**arguments), jnp.zeros((1, 4, 4, 3))
    wanted = jax.eval_shape(lambda: net.init(jax.random.key(0), x, train=False))
    assert jax.tree.map(np.shape, dict(variables)) == jax.tree.map(lambda s: s.shape, dict(wanted))
    assert np.isfinite(jit(lambda v, x: net.apply(v, x, train=False))(variables, x)).all()


@pytest.mark.parametrize(
    ("read", "arrays"),
    [
        (srresnet_from_published, {}),
        (srresnet_from_published, {"block1.0.weight": np.zeros((3, 3, 9, 9))}),
        (srresnet_from_published, published_srresnet(True) | {"block2.conv3.weight": np.zeros(1)}),
        (srresnet_from_published, {"blocks.0.weight": np.zeros(1)}),
        (srresnet_from_published, published_srresnet(True) | {"block1.1.weight": np.zeros(3)}),
        (rrdb_from_published, {}),
        (rrdb_from_published, {"body.0.rdb1.conv1.weight": np.zeros((1, 1, 3, 3))}),
        (vgg.from_published, {}),
        (vgg.from_published, vgg.random_arrays() | {"features.0.weight": np.zeros((64, 1, 3, 3))}),
    ],
)
def test_other_weights_are_refused(read, arrays):
    with pytest.raises(UserError, match=r"no published|no VGG"):
        read(arrays)


def test_vgg_computes_no_more_than_is_asked_for():
    net = vgg.VGG19(("relu1_2", "conv1_1"))
    x = jnp.zeros((1, 4, 4, 3))
    found, variables = jax.eval_shape(lambda: net.init_with_output(jax.random.key(0), x))
    assert set(variables["params"]) == {"conv1_1", "conv1_2"}
    assert set(found) == {"relu1_2", "conv1_1"}
    with pytest.raises(ValueError, match="no layers"):
        vgg.VGG19(("conv6_1",)).init(jax.random.key(0), x)
