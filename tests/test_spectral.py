"""Spectral normalisation against the singular value decomposition and against numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from jax import lax

from jaxgan.models.layers import Conv, Dense, Embed

TYPES = {"param_dtype": jnp.float64}
LAYERS = {
    "dense": (Dense(4, use_bias=False, spectral=True, **TYPES), (5, 6)),
    "conv": (Conv(4, 3, padding=1, spectral=True, **TYPES), (2, 5, 5, 3)),
    "embed": (Embed(5, 4, spectral=True, **TYPES), (3,)),
}


def layer_and_input(kind):
    """A spectral layer, its input, its variables (with a bias where there is one)."""
    layer, shape = LAYERS[kind]
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.integers(0, 5, shape) if kind == "embed" else rng.normal(size=shape))
    return layer, x, layer.init(jax.random.key(0), x)


def rows(kernel, kind):
    """As the matrix that the paper writes: outputs by all else; of an embedding, classes first."""
    kernel = np.asarray(kernel)
    return kernel if kind == "embed" else np.moveaxis(kernel, -1, 0).reshape(kernel.shape[-1], -1)


def unit(x):
    return x / np.linalg.norm(x)


def with_kernel(variables, kernel):
    return {**variables, "params": {**variables["params"], "kernel": kernel}}


def test_the_largest_singular_value_in_the_limit(x64):
    """Training calls inside of `scan`, then evaluation: the plain layer with W / ||W||."""
    given = {kind: layer_and_input(kind) for kind in LAYERS}
    starts = {kind: variables for kind, (_, _, variables) in given.items()}

    def limit(kind, variables):
        layer, x, _ = given[kind]

        def call(spectral, _):
            _, changed = layer.apply({**variables, **spectral}, x, train=True, mutable=["spectral"])
            return dict(changed), None

        kept, _ = lax.scan(call, {"spectral": variables["spectral"]}, length=500)
        return layer.apply({**variables, **kept}, x), kept["spectral"]["u"]

    def plain(kind, variables, sigma):
        layer, x, _ = given[kind]
        scaled = with_kernel(variables, variables["params"]["kernel"] / sigma)
        return layer.clone(spectral=False).apply({"params": scaled["params"]}, x)

    def each(function):
        return tiny.jit(lambda *trees: {k: function(k, *(t[k] for t in trees)) for k in LAYERS})

    parts = {k: np.linalg.svd(rows(v["params"]["kernel"], k)) for k, v in starts.items()}
    largest = {kind: values[0] for kind, (_, values, _) in parts.items()}
    made, expected = each(limit)(starts), each(plain)(starts, largest)
    for kind, (left, _, _) in parts.items():
        answer, u = made[kind]
        np.testing.assert_allclose(answer, expected[kind], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(abs(u @ left[:, 0]), 1, rtol=1e-12)


@pytest.mark.parametrize("kind", LAYERS)
def test_one_step_by_hand(kind, x64):
    layer, x, variables = layer_and_input(kind)
    w, u = rows(variables["params"]["kernel"], kind), np.asarray(variables["spectral"]["u"])
    assert u.shape == (w.shape[0],)
    np.testing.assert_allclose(np.linalg.norm(u), 1, rtol=1e-12)
    v = unit(w.T @ u)
    moved = unit(w @ v)

    def plain(sigma):
        scaled = with_kernel(variables, variables["params"]["kernel"] / sigma)
        return layer.clone(spectral=False).apply({"params": scaled["params"]}, x)

    made, changed = layer.apply(variables, x, train=True, mutable=["spectral"])
    np.testing.assert_allclose(changed["spectral"]["u"], moved, rtol=1e-12)
    np.testing.assert_allclose(made, plain(moved @ w @ v), rtol=1e-12)
    # Where `u` can't be kept, the answer is the same; in evaluation `u` stays.
    np.testing.assert_array_equal(layer.apply(variables, x, train=True), made)
    made, changed = layer.apply(variables, x, train=False, mutable=["spectral"])
    np.testing.assert_array_equal(changed["spectral"]["u"], u)
    np.testing.assert_allclose(made, plain(u @ w @ v), rtol=1e-12)
    # An average of unit vectors (EMA) is shorter, and says no more than its direction.
    shorter = {**variables, "spectral": {"u": variables["spectral"]["u"] / 2}}
    np.testing.assert_allclose(layer.apply(shorter, x), made, rtol=1e-12)


def test_gradients(x64):
    """Through W alone, u and v being constants; and those of a penalty on the input's gradient."""
    layer, x, variables = layer_and_input("conv")
    kernel = variables["params"]["kernel"]
    w, u = rows(kernel, "conv"), np.asarray(variables["spectral"]["u"])
    v = unit(w.T @ u)
    u = unit(w @ v)
    outer = jnp.asarray(np.moveaxis(np.outer(u, v).reshape(4, 3, 3, 3), 0, -1))

    def by_hand(kernel, x):
        scaled = with_kernel(variables, kernel / jnp.sum(outer * kernel))
        return layer.clone(spectral=False).apply({"params": scaled["params"]}, x)

    def ours(kernel, x):
        return layer.apply(with_kernel(variables, kernel), x, train=True)

    def gradients(answer):
        def score(kernel, x):
            return jnp.sum(jnp.sin(answer(kernel, x)))

        def penalised(kernel):
            slope = jax.grad(score, argnums=1)(kernel, x)
            return score(kernel, x) + jnp.sum(slope**2)

        return tiny.jit(jax.grad(penalised))(kernel)

    assert tiny.difference(gradients(ours), gradients(by_hand)) < 1e-12


def test_initial_weights_are_those_without(x64):
    layer, x, variables = layer_and_input("conv")
    plain = layer.clone(spectral=False).init(jax.random.key(0), x)
    assert "spectral" not in plain
    np.testing.assert_array_equal(plain["params"]["kernel"], variables["params"]["kernel"])
    other = layer.init(jax.random.key(1), x)["spectral"]["u"]
    assert not np.allclose(other, variables["spectral"]["u"])


def test_bfloat16_is_normalised_in_float32():
    layer = Dense(4, spectral=True, dtype=jnp.bfloat16)
    x = jnp.ones((1, 6), jnp.bfloat16)
    variables = jax.eval_shape(lambda: layer.init(jax.random.key(0), x))
    made, changed = jax.eval_shape(
        lambda v: layer.apply(v, x, train=True, mutable=["spectral"]), variables
    )
    assert (made.dtype, changed["spectral"]["u"].dtype) == (jnp.bfloat16, jnp.float32)
    jaxpr = jax.make_jaxpr(lambda v: layer.apply(v, x, train=True))(variables)
    products = [e for e in jaxpr.eqns if e.primitive.name == "dot_general"]
    assert [e.outvars[0].aval.dtype for e in products].count(jnp.float32) == 3
