"""CycleGAN's game against the same written out by hand, in float64, with networks of 1 x 1.

What the convolutions do is the business of test_parity.py.
"""

import zlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from jax.flatten_util import ravel_pytree

from jaxgan.games.game import Context
from jaxgan.games.passes import Passes
from jaxgan.games.unpaired import DISCRIMINATORS, GENERATORS, cyclegan
from jaxgan.losses import adversarial
from jaxgan.memory import image_pool
from jaxgan.optimizers import constant, sgd
from jaxgan.state import reset_metrics
from jaxgan.update import init_state, make_update

TOLERANCE = 1e-12
BATCH = tiny.images(0, 1, 1, 2, 4, 4, 3)


class Play:
    """A game with SGD of rate 1, so that parameters fall by their gradients."""

    def __init__(self, modules, loss, **game):
        self.modules, self.loss = modules, loss
        self.weights = {k: v for k, v in game.items() if k in ("cycle", "identity")}
        self.game = cyclegan(modules, loss, **game)
        optimizers = {player: sgd(player) for player in self.game.players}
        schedules = {f"learning_rate/{player}": constant(1.0) for player in self.game.players}
        args = (self.game, optimizers, schedules, None)
        with jax.enable_x64(True):
            self.state = init_state(*args, 0, tiny.shapes(BATCH), jnp.float64)
            self.plain = make_update(*args, dtype=jnp.float64)
            self.update = tiny.jit(self.plain)
            self.by_hand = tiny.jit(partial(step_by_hand, self))

    def step(self, state=None, batch=BATCH):
        return self.update(reset_metrics(self.state if state is None else state), batch, None)

    def nets(self, state=None):
        state = state or self.state
        return {name: state.variables(name) for name in self.modules}

    def fell(self, after):
        """What each net's parameters lost in a step, as one vector a net."""
        fell = jax.tree.map(jnp.subtract, self.state.params, after.params)
        return {name: ravel_pytree(tree)[0] for name, tree in fell.items()}


def real(domain, batch=BATCH):
    return batch[domain][0, 0] / 127.5 - 1


def metrics(state):
    return {name: float(total / count) for name, (total, count) in state.metrics.items()}


def floats(losses):
    return {name: float(value) for name, value in losses.items()}


class ByHand:
    """The step as the published code takes it: one pass after another."""

    def __init__(self, modules, nets):
        self.modules = modules
        self.nets = jax.tree.map(lambda x: x, nets)

    def __call__(self, name, x):
        variables = self.nets[name]
        kept = [collection for collection in variables if collection != "params"]
        output, changed = self.modules[name].apply(variables, x, train=True, mutable=kept)
        self.nets[name] = {"params": variables["params"], **changed}
        return output

    def generators(self, loss, cycle=10.0, identity=0.5):
        """The losses of backward_G, in its order; the fakes."""
        A, B = real("A"), real("B")
        fake_B = self("generator_AtoB", A)
        rec_A = self("generator_BtoA", fake_B)
        fake_A = self("generator_BtoA", B)
        rec_B = self("generator_AtoB", fake_A)
        losses = {}
        if identity:
            same_B = self("generator_AtoB", B)
            losses["identity_B"] = cycle * identity * jnp.mean(jnp.abs(same_B - B))
            same_A = self("generator_BtoA", A)
            losses["identity_A"] = cycle * identity * jnp.mean(jnp.abs(same_A - A))

        def fool(net, image, fake):
            logits = self(net, image) if loss.relativistic else None
            return loss.generator(logits, self(net, fake))

        losses["generator_AtoB"] = fool("discriminator_B", B, fake_B)
        losses["generator_BtoA"] = fool("discriminator_A", A, fake_A)
        losses["cycle_A"] = cycle * jnp.mean(jnp.abs(rec_A - A))
        losses["cycle_B"] = cycle * jnp.mean(jnp.abs(rec_B - B))
        return losses, {"A": fake_A, "B": fake_B}

    def discriminators(self, loss, fakes):
        """The losses of backward_D, real before fake."""
        losses = {}
        for domain in "BA":
            net = f"discriminator_{domain}"
            logits = self(net, real(domain)), self(net, fakes[domain])
            losses[net] = 0.5 * loss.discriminator(*logits)
        return losses


def step_by_hand(play, nets):
    """Of one step: losses, each net's gradient as a vector, statistics after it, and the fakes."""
    split = {name: nets[name]["params"] for name in nets}

    def put(nets, params):
        return {n: {**nets[n], "params": params.get(n, nets[n]["params"])} for n in nets}

    def first(params):
        hand = ByHand(play.modules, put(nets, params))
        losses, fakes = hand.generators(play.loss, **play.weights)
        return sum(losses.values()), (losses, fakes, hand.nets)

    def second(params):
        hand = ByHand(play.modules, put(between, params))
        losses = hand.discriminators(play.loss, fakes)
        return sum(losses.values()), (losses, hand.nets)

    grads, (losses, fakes, between) = jax.grad(first, has_aux=True)(
        {name: split[name] for name in GENERATORS}
    )
    between = put(between, split)  # without a trace of the first gradient
    others, (more, after) = jax.grad(second, has_aux=True)(
        {name: split[name] for name in DISCRIMINATORS}
    )
    stats = {name: {k: v for k, v in after[name].items() if k != "params"} for name in nets}
    gradients = {name: ravel_pytree(tree)[0] for name, tree in (grads | others).items()}
    return losses | more, gradients, {n: s for n, s in stats.items() if s}, fakes


@pytest.fixture(scope="module")
def plays():
    """Games by their settings, each compiled once for the module."""
    made = {}

    def play(norm="instance", loss="lsgan", **game):
        key = (norm, loss, *sorted(game.items()))
        if key not in made:
            made[key] = Play(tiny.nets(norm), getattr(adversarial, loss)(), **game)
        return made[key]

    return play


@pytest.mark.parametrize(
    ("norm", "loss", "weights"),
    [
        ("instance", "lsgan", {}),
        ("instance", "relativistic", {"cycle": 3.0, "identity": 2.0}),
        ("batch", "lsgan", {}),
    ],
    ids=["instance", "relativistic", "batch"],
)
def test_the_step_by_hand(norm, loss, weights, plays, x64):
    """Losses, gradients and running statistics of passes made one after another.

    With instance norm the game joins passes into one batch. With batch norm each generator runs
    three times in a move: translation, reconstruction, identity; its statistics go on in this
    order, and the discriminators' move while the generators play, too.
    """
    play = plays(norm, loss, **weights)
    losses, gradients, stats, _ = play.by_hand(play.nets())
    after = play.step()
    assert tiny.difference(metrics(after), floats(losses)) < TOLERANCE
    # (A difference of two weights has fewer digits than they.)
    assert tiny.difference(play.fell(after), gradients) < 1e-11
    assert tiny.difference(after.stats, stats) < TOLERANCE
    assert (norm == "batch") == bool(stats)


def test_the_order_of_statistics_counts(plays, x64):
    """What the test above would not see if the running statistics didn't depend on the order."""
    play = plays("batch")

    @tiny.jit
    def identity_first(nets):
        hand = ByHand(play.modules, nets)
        hand("generator_AtoB", real("B"))
        hand("generator_AtoB", real("A"))
        hand("generator_AtoB", hand("generator_BtoA", real("B")))
        return {"batch_stats": hand.nets["generator_AtoB"]["batch_stats"]}

    other = identity_first(play.nets())
    assert tiny.difference(other, play.step().stats["generator_AtoB"]) > 1e-3


@pytest.mark.parametrize(
    ("weights", "absent"),
    [
        ({"identity": 0.0}, {"identity_A", "identity_B"}),
        ({"cycle": 0.0}, {"identity_A", "identity_B", "cycle_A", "cycle_B"}),
        ({"cycles": "forward"}, {"cycle_B"}),
        ({"cycles": "backward", "identity": 0.0}, {"identity_A", "identity_B", "cycle_A"}),
    ],
    ids=["identity", "cycle", "forward", "backward"],
)
def test_a_weight_of_0_builds_nothing(weights, absent, plays, x64):
    """No metric; the other losses stay."""
    whole = metrics(plays().step())
    left = metrics(plays(**weights).step())
    assert set(whole) - set(left) == absent
    assert tiny.difference(left, {name: whole[name] for name in left}) < TOLERANCE


def test_a_weight_of_0_builds_no_passes(plays, x64):
    def products(play):
        jaxpr = jax.make_jaxpr(play.plain)(play.state, BATCH, None)
        return str(jaxpr).count("dot_general")

    whole, no_identity = plays(), plays(identity=0.0)
    assert products(plays(cycle=0.0)) < products(no_identity)
    # With identity the first passes are twice as large, not twice as many.
    assert products(no_identity) == products(whole)
    batch = [products(plays("batch", identity=i)) for i in (0.0, 0.5)]
    assert batch[0] < batch[1]


def test_first_discriminators(plays, x64):
    """They judge fakes of their own making, by the generators as they are; then these move."""
    play = plays("batch", first="discriminators", pool_size=0)

    @tiny.jit
    def first_move(nets):
        fakes = {
            "B": ByHand(play.modules, nets)("generator_AtoB", real("A")),
            "A": ByHand(play.modules, nets)("generator_BtoA", real("B")),
        }

        def objective(params):
            hand = ByHand(play.modules, {n: {**nets[n], **params.get(n, {})} for n in nets})
            losses = hand.discriminators(play.loss, fakes)
            return sum(losses.values()), (losses, hand.nets)

        params = {name: {"params": nets[name]["params"]} for name in DISCRIMINATORS}
        gradients, (losses, after) = jax.grad(objective, has_aux=True)(params)
        stats = {name: {"batch_stats": after[name]["batch_stats"]} for name in DISCRIMINATORS}
        return {n: ravel_pytree(g)[0] for n, g in gradients.items()}, losses, stats

    nets = play.nets()
    gradients, losses, stats = first_move(nets)
    after = play.step()
    fell = play.fell(after)
    assert tiny.difference({n: fell[n] for n in DISCRIMINATORS}, gradients) < 1e-11

    # The generators meet discriminators that have moved, statistics included; what the
    # generators' own statistics became while the discriminators played is dropped.
    moved = {n: {"params": after.params[n], **stats[n]} for n in DISCRIMINATORS}

    @tiny.jit
    def second_move(nets):
        hand = ByHand(play.modules, nets)
        losses, _ = hand.generators(play.loss)
        return losses, {n: {"batch_stats": hand.nets[n]["batch_stats"]} for n in hand.nets}

    more, stats = second_move(nets | moved)
    assert tiny.difference(metrics(after), floats(losses | more)) < TOLERANCE
    assert tiny.difference(after.stats, stats) < TOLERANCE


# Pools


def test_without_a_pool(plays, x64):
    """No slots, and the discriminators judge this step's fakes, at every step."""
    play = plays(pool_size=0)
    assert play.state.memory == {}
    state = play.step()
    losses, _, _, _ = play.by_hand(play.nets(state))
    assert tiny.difference(metrics(play.step(state)), floats(losses)) < TOLERANCE


def test_pools_fill_and_then_answer(plays, x64):
    """Of 2 places and batches of 2: full after a step; then half of the answers are older."""
    play = plays(pool_size=2)
    slots = play.state.memory
    assert sorted(slots) == ["pool_A", "pool_B"]
    assert slots["pool_A"].images.shape == (2, 4, 4, 3)
    _, _, _, fakes = play.by_hand(play.nets())
    after = play.step()
    for domain in "AB":
        pool = after.memory[f"pool_{domain}"]
        assert pool.count == 2
        assert tiny.difference(pool.images, fakes[domain]) < TOLERANCE

    @tiny.jit
    def judge(nets, memory, fakes, step):
        """What the pools answer, by keys of this step, this phase and each pool."""
        answers, pools, losses = {}, {}, {}
        for i, domain in enumerate("AB"):
            slot = f"pool_{domain}"
            key = discriminators_key(play.state.rng, step, i)
            answers[domain], pools[slot] = image_pool.query(memory[slot], fakes[domain], key)
        losses = ByHand(play.modules, nets).discriminators(play.loss, answers)
        return answers, pools, losses

    older = 0
    for _ in range(6):
        before, after = after, play.step(after)
        nets = play.nets(before)
        _, _, _, fakes = play.by_hand(nets)
        answers, pools, losses = judge(nets, before.memory, fakes, before.step)
        assert tiny.difference(after.memory, pools) < 1e-10
        shown = metrics(after)
        assert tiny.difference({n: shown[n] for n in losses}, floats(losses)) < 1e-10
        older += sum(tiny.difference(answers[d][i], fakes[d][i]) > 0 for d in "AB" for i in (0, 1))
    assert 4 <= older <= 20  # of 24


def discriminators_key(rng, step, i):
    key = jax.random.fold_in(jax.random.wrap_key_data(rng), step)
    key = jax.random.fold_in(key, zlib.crc32(b"discriminators") & 0x7FFFFFFF)
    for number in (0, 0, i):  # round, micro-batch, pool
        key = jax.random.fold_in(key, number)
    return key


# Who learns from what


@pytest.mark.parametrize("first", ["generators", "discriminators"])
def test_the_discriminators_loss_teaches_no_generator(first, plays, x64):
    play = plays(first=first, pool_size=0)
    phase = next(p for p in play.game.phases if p.name == "discriminators")
    nets, batch = play.nets(), {name: real(name) for name in "AB"}
    context = Context(jax.random.key(0), jnp.int32(0), jnp.int32(0), {}, None)

    def loss(generators):
        made = {name: {"params": generators[name]} for name in GENERATORS}
        handoff = {}
        if first == "generators":
            for source, target in ("AB", "BA"):
                net = f"generator_{source}to{target}"
                fake = play.modules[net].apply(made[net], batch[source], train=True)
                handoff[f"fake_{target}"] = fake
        return phase.objective(nets | made, play.state.memory, handoff, batch, context)[0]

    gradient = tiny.jit(jax.grad(loss))({name: nets[name]["params"] for name in GENERATORS})
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient))


# Passes


def test_passes_draw_dropout_of_their_own(x64):
    """One after another or joined, each image meets a mask of its own."""
    modules = tiny.nets("instance", dropout=0.5)
    image = jnp.asarray(real("A"))
    net = modules["generator_AtoB"]
    variables = net.lazy_init(jax.random.key(0), tiny.shapes(image), train=False)

    @tiny.jit
    def passes(seed):
        run = Passes(modules, {"generator_AtoB": variables}, jax.random.key(seed))
        joined = run("generator_AtoB", image, image)
        assert run.stats() == {}
        return joined + run("generator_AtoB", image) + run("generator_AtoB", image)

    once, again, other = passes(0), passes(0), passes(1)
    assert tiny.difference(again, once) == 0
    different = [*once, *other]
    for i, a in enumerate(different):
        for b in different[:i]:
            assert tiny.difference(a, b) > 1e-3


def test_one_generator_with_statistics_and_one_without(x64):
    """Both take the published order, as the statistics of the one depend on it."""
    modules = tiny.nets() | {"generator_BtoA": tiny.Generator("batch")}
    play = Play(modules, adversarial.lsgan(), pool_size=0)
    _, _, stats, _ = play.by_hand(play.nets())
    assert sorted(stats) == ["generator_BtoA"]
    assert tiny.difference(play.step().stats, stats) < TOLERANCE


# Sampling


def test_samples(plays, x64):
    """Evaluation mode, the domains that are there, and the way back."""
    play = plays("batch")
    nets = play.nets(play.step())
    A, B = jnp.asarray(real("A")), jnp.asarray(real("B"))
    both = play.game.sample(nets, {"A": A, "B": B})
    assert sorted(both) == ["fake_A", "fake_B", "rec_A", "rec_B"]
    there, back = (play.modules[name] for name in GENERATORS)
    fake = there.apply(nets["generator_AtoB"], A, train=False)
    assert tiny.difference(both["fake_B"], fake) == 0
    rec = back.apply(nets["generator_BtoA"], fake, train=False)
    assert tiny.difference(both["rec_A"], rec) == 0
    one = play.game.sample(nets, {"A": A})
    assert sorted(one) == ["fake_B", "rec_A"]
    # An image's translation doesn't depend on the batch that it is in.
    alone = play.game.sample(nets, {"A": A[:1]})["fake_B"]
    assert tiny.difference(alone, both["fake_B"][:1]) < TOLERANCE
