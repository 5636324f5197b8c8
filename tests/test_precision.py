"""Precision, recomputation and accumulation: what is computed in which type, and in what memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jaxgan.games.game import Game, Outcome, Phase
from jaxgan.losses.reconstruction import l1
from jaxgan.models.patchgan import PatchDiscriminator
from jaxgan.models.resnet import ResNetGenerator
from jaxgan.optimizers import constant, sgd
from jaxgan.update import init_state, make_update

PRODUCTS = ("conv_general_dilated", "dot_general")


def equations(jaxpr):
    """All equations, those of inner jaxprs included."""
    for equation in jaxpr.eqns:
        yield equation
        for value in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


def traced(experiment):
    """The update's jaxpr, and the state before and after it, as shapes and types."""
    state = experiment.template()
    update = experiment.update()
    closed, after = jax.make_jaxpr(update, return_shape=True)(state, experiment.batch, None)
    return closed.jaxpr, state, after


def types_of(tree) -> set[str]:
    """Of the floats in it."""
    types = {jnp.dtype(leaf.dtype) for leaf in jax.tree.leaves(tree)}
    return {str(dtype) for dtype in types if jnp.issubdtype(dtype, jnp.floating)}


@pytest.fixture(scope="module")
def bfloat16():
    """With both norms; on XLA's path, where a convolution can be seen as such."""
    return traced(
        tiny.experiment(
            "precision=bfloat16",
            "model.convolution=xla",
            "model.generator.norm=batch",
            "ema.half_life=10.0",
        )
    )


def test_bfloat16_convolutions(bfloat16):
    jaxpr, _, _ = bfloat16
    convolutions = [e for e in equations(jaxpr) if e.primitive.name in PRODUCTS]
    assert len(convolutions) > 50
    for equation in convolutions:
        assert types_of([v.aval for v in equation.invars]) == {"bfloat16"}


def test_bfloat16_keeps_the_state_in_float32(bfloat16):
    """Parameters, moments, statistics, averages, pools and losses."""
    _, before, after = bfloat16
    for state in (before, after):
        for part in ("params", "stats", "opt", "ema", "memory", "metrics"):
            assert types_of(getattr(state, part)) == {"float32"}, part


def test_bfloat16_statistics_of_norms(bfloat16):
    """Squares are summed in float32: bfloat16 has 8 bits of them."""
    jaxpr, _, _ = bfloat16
    roots = [e for e in equations(jaxpr) if e.primitive.name == "rsqrt"]
    assert len(roots) >= 10
    for equation in roots:
        assert types_of([v.aval for v in equation.invars]) == {"float32"}


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_bfloat16_norms_by_value(norm):
    """A large mean doesn't drown the variance, as it would in bfloat16 sums."""
    x = jnp.asarray(np.random.default_rng(0).normal(30, 1, (2, 16, 16, 4)), jnp.bfloat16)
    net = Only(norm, jnp.bfloat16)
    variables = net.init(jax.random.key(0), x, True)
    made, _ = net.apply(variables, x, True, mutable=True)
    exact = np.asarray(x, np.float64)
    axes = (1, 2) if norm == "instance" else (0, 1, 2)
    exact = (exact - exact.mean(axes, keepdims=True)) / exact.std(axes, keepdims=True)
    scale = np.asarray(variables["params"]["norm"]["scale"]) if norm == "batch" else 1
    assert made.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(made, np.float64), scale * exact, rtol=0.01, atol=1e-3)


class Only(tiny.nn.Module):
    """A norm and nothing else."""

    norm: str
    dtype: jnp.dtype

    @tiny.nn.compact
    def __call__(self, x, train):
        return tiny.normalise(self.norm, x, train, name="norm", dtype=self.dtype)


def test_bfloat16_answers_in_float32():
    """Images and logits, so that losses are float32 as well."""
    images = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32)
    for network in (ResNetGenerator(width=2, blocks=1), PatchDiscriminator(width=2, layers=1)):
        network = network.clone(dtype=jnp.bfloat16)

        def answer(images, network=network):
            return network.init_with_output(jax.random.key(0), images, train=True)[0]

        assert jax.eval_shape(answer, images).dtype == jnp.float32


def test_float64_everywhere(x64):
    jaxpr, before, after = traced(tiny.experiment("precision=float64", "ema.half_life=10.0"))
    assert types_of(before) == types_of(after) == {"float64"}
    narrow = {
        equation.primitive.name
        for equation in equations(jaxpr)
        for variable in equation.outvars
        if variable.aval.dtype in (jnp.float32, jnp.bfloat16)
    }
    assert not narrow


@pytest.mark.slow
def test_bfloat16_trains_like_float32():
    """Three steps of a generator under a discriminator: the losses differ by rounding alone."""
    images = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (2, 16, 16, 3)), jnp.float32)
    losses = {}
    for dtype in (jnp.float32, jnp.bfloat16):
        generator = ResNetGenerator(width=4, blocks=2, norm="batch", dtype=dtype)
        discriminator = PatchDiscriminator(width=4, layers=1, dtype=dtype)
        judge = discriminator.lazy_init(jax.random.key(1), tiny.shapes(images), train=True)
        variables = generator.lazy_init(jax.random.key(0), tiny.shapes(images), train=True)

        def loss(params, others, generator=generator, judge=judge, discriminator=discriminator):
            made, changed = generator.apply(
                {"params": params, **others}, images, True, mutable=["batch_stats"]
            )
            logits = discriminator.apply(judge, made, train=True)
            return 10 * l1(made, images) + jnp.mean((logits - 1) ** 2), changed

        @tiny.jit
        def step(params, others, loss=loss):
            (value, others), gradient = jax.value_and_grad(loss, has_aux=True)(params, others)
            params = jax.tree.map(lambda w, g: w - 0.003 * g, params, gradient)
            return params, others, value

        params, others = variables["params"], {"batch_stats": variables["batch_stats"]}
        losses[dtype] = []
        for _ in range(4):
            params, others, value = step(params, others)
            assert types_of((params, others, value)) == {"float32"}
            losses[dtype].append(float(value))
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((params, others)))
    ours, exact = losses[jnp.bfloat16], losses[jnp.float32]
    np.testing.assert_allclose(ours, exact, rtol=0.01)
    assert ours != exact  # it is another arithmetic
    assert exact[0] - exact[-1] > 3 * abs(ours[-1] - exact[-1])  # and it learns as much


# Memory


@pytest.mark.slow
def test_remat_changes_nothing_but_memory(x64):
    """Loss, statistics and gradients in float64, with dropout; fewer bytes of activations."""
    images = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (1, 32, 32, 3)))
    plain = ResNetGenerator(
        width=4,
        blocks=60,
        norm="batch",
        dropout=0.5,
        dtype=jnp.float64,
        param_dtype=jnp.float64,
        path="xla",  # the blocks in a loop, not unrolled
    )
    variables = plain.lazy_init(jax.random.key(0), tiny.shapes(images), train=False)
    params = variables.pop("params")
    results, sizes = [], []
    for net in (plain, plain.clone(remat=True)):

        def loss(params, others, images, net=net):
            rngs = {"dropout": jax.random.key(1)}
            variables = {"params": params, **others}
            made, changed = net.apply(variables, images, True, rngs=rngs, mutable=["batch_stats"])
            return l1(made, images), changed

        function = tiny.jit(jax.value_and_grad(loss, has_aux=True))
        compiled = function.lower(params, variables, images).compile()
        results.append(compiled(params, variables, images))
        sizes.append(compiled.memory_analysis().temp_size_in_bytes)
    assert tiny.difference(results[1], results[0]) < 1e-12
    assert sizes[1] < 0.8 * sizes[0]


def test_accumulation_lowers_memory():
    """An eighth of the batch at a time needs little more than an eighth of the memory."""
    net = tiny.Generator(dtype=jnp.float32)

    def objective(nets, memory, handoff, batch, context):
        made = net.apply(nets["g"], batch["A"], train=True)
        return l1(made, batch["B"]), Outcome({}, {}, {}, {})

    def init(key, batch):
        return {"g": net.lazy_init(key, batch["A"], train=True)}, {}

    game = Game({"g": net}, {"g": ("g",)}, (Phase("g", "g", objective),), init, None)
    args = (game, {"g": sgd("g")}, {"learning_rate/g": constant(0.1)}, None)
    sizes = []
    for accumulate in (8, 1):
        shape = jax.ShapeDtypeStruct((1, accumulate, 8 // accumulate, 64, 64, 3), jnp.uint8)
        batch = {"A": shape, "B": shape}
        state = init_state(*args, 0, batch)
        compiled = tiny.jit(make_update(*args)).lower(state, batch, None).compile()
        sizes.append(compiled.memory_analysis().temp_size_in_bytes)
    assert sizes[0] < 0.5 * sizes[1]
