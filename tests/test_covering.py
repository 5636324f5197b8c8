"""Every part of noise to image goes with every other by fields alone, or is refused with a reason.

A pairwise covering set of the grid is walked by its shapes, a few rows take real steps, and the
full grid of losses, penalties, conditionings and networks is `slow`.
"""

import itertools
import random
import re

import jax
import numpy as np
import pytest
import tiny

from jaxgan import commandline, experiment
from jaxgan.errors import UserError
from jaxgan.fields import resolve

CONFIG = tiny.CONFIG.parent / "dcgan.py"
G, D, TRAIN = "model.generator", "model.discriminator", "train"
CLIP = 0.02
RELATIVISTIC = ("relativistic", "relativistic_average")
NETWORKS = ("mlp", "dcgan", "resnet", "cgan_mlp")

# axis -> value -> fields. The first value of each is the neutral one.
AXES = {
    "loss": {
        name: {"loss.adversarial": name}
        for name in ("bce", "saturating", "lsgan", "hinge", "wasserstein", *RELATIVISTIC)
    },
    "penalty": {
        "none": {},
        "gp": {"penalty.gp.weight": 10.0},
        "gp one-sided": {"penalty.gp.weight": 10.0, "penalty.gp.one_sided": "true"},
        "r1": {"penalty.r1.weight": 1.0},
        "r2": {"penalty.r2.weight": 1.0},
        "r1 and r2": {"penalty.r1.weight": 1.0, "penalty.r2.weight": 1.0},
        "dragan": {"penalty.dragan.weight": 10.0},
        "clip": {"penalty.clip.limit": CLIP},
        "lazy r1": {"penalty.r1.weight": 1.0, "penalty.r1.every": 4},
    },
    "conditioning": {
        name: {"model.conditioning": name}
        for name in ("none", "concatenation", "projection", "auxiliary")
    },
    "generator": {name: {f"{G}.kind": name} for name in NETWORKS},
    "discriminator": {name: {f"{D}.kind": name} for name in NETWORKS},
    "generator's norm": {name: {f"{G}.norm": name} for name in ("none", "batch", "instance")},
    "norm": {name: {f"{D}.norm": name} for name in ("none", "batch", "instance")},
    "spectral": {False: {f"{D}.spectral": "false"}, True: {f"{D}.spectral": "true"}},
    "ema": {False: {"ema.half_life": 0.0}, True: {"ema.half_life": 100.0}},
    "precision": {name: {"precision": name} for name in ("float32", "bfloat16")},
    "first": {name: {f"{TRAIN}.first": name} for name in ("discriminator", "generator")},
    "handed": {False: {f"{TRAIN}.handed": "false"}, True: {f"{TRAIN}.handed": "true"}},
    "rounds": {n: {f"{TRAIN}.critic_rounds": n} for n in (1, 3)},
    "warmup": {0: {}, 6: {f"{TRAIN}.warmup.rounds": 6, f"{TRAIN}.warmup.steps": 2}},
    "multiple": {n: {f"{TRAIN}.generator_multiple": n} for n in (1, 2)},
    "accumulate": {n: {f"{TRAIN}.accumulate": n} for n in (1, 2)},
    "smoothing": {n: {"loss.smoothing": n} for n in (0.0, 0.1)},
    "noise": {n: {"augment.noise.deviation": n, "augment.noise.images": 100} for n in (0.0, 0.1)},
    "optimizer": {
        name: {f"optimizer.{player}.name": name for player in ("generator", "discriminator")}
        for name in ("adam", "sgd", "rmsprop", "momentum")
    },
}
NEUTRAL = {axis: next(iter(values)) for axis, values in AXES.items()}
PENALISED = ("gp", "gp one-sided", "r1", "r2", "r1 and r2", "dragan", "lazy r1")


# What makes no sense, written down from the papers and not from the code.
# (words of the reason, axis -> values): refused where all of the axes have one of these values.
RULES = [
    # A gradient of each image alone is needed.
    ("batch norm", {"penalty": PENALISED, "norm": ("batch",), "discriminator": NETWORKS[:3]}),
    # Spectral normalisation divides the weights' size away.
    ("penalty.clip .*spectral", {"penalty": ("clip",), "spectral": (True,)}),
    # There are no labels of 0 and 1 to smooth.
    (
        "loss.smoothing is for",
        {"smoothing": (0.1,), "loss": ("lsgan", "hinge", "wasserstein", *RELATIVISTIC)},
    ),
    # Each fake is compared with a real image.
    ("compares each fake with a real", {"loss": RELATIVISTIC, "multiple": (2,)}),
    # Fakes of one batch for another size, and the same fakes for several rounds.
    ("too little for train.generator_multiple", {"handed": (True,), "multiple": (2,)}),
    ("see the same fakes", {"handed": (True,), "first": ("generator",), "rounds": (3,)}),
    # Rounds before the generator's move, which has been.
    ("before the generator moves", {"warmup": (6,), "first": ("generator",)}),
    # Perceptrons have no pixels.
    ("no pixels", {"norm": ("instance",), "discriminator": ("mlp",)}),
    ("no pixels", {"generator's norm": ("instance",), "generator": ("mlp",)}),
    # The conditional GAN's networks have layers for the label, and no norms.
    ("concatenation", {"generator": ("cgan_mlp",), "conditioning": ("none",)}),
    (
        "concatenation",
        {"discriminator": ("cgan_mlp",), "conditioning": ("none", "projection", "auxiliary")},
    ),
    ("has no norm", {"discriminator": ("cgan_mlp",), "norm": ("batch", "instance")}),
    ("has no norm", {"generator": ("cgan_mlp",), "generator's norm": ("batch", "instance")}),
]


def refusals(row):
    """Words of the reasons against a row, which may lack axes."""
    return [
        words
        for words, wanted in RULES
        if all(axis in row and row[axis] in values for axis, values in wanted.items())
    ]


def covering(seed=0, tries=8):
    """Rows of sense in which each pair of values occurs that makes sense at all (greedy)."""
    rng, axes = random.Random(seed), list(AXES)
    left = {}  # in order, for the same rows every time
    for a, b in itertools.combinations(axes, 2):
        for pair in itertools.product(AXES[a], AXES[b]):
            if completed({a: pair[0], b: pair[1]}) is not None:
                left[(a, pair[0]), (b, pair[1])] = None
    rows = []
    while left:
        best, most = None, 0
        for _ in range(tries):
            row = dict(next(iter(left)))
            for axis in rng.sample(axes, len(axes)):
                if axis in row:
                    continue
                fits = [v for v in AXES[axis] if completed(row | {axis: v}) is not None]
                rng.shuffle(fits)
                neutral = NEUTRAL[axis]  # takes least time
                row[axis] = max(fits, key=lambda v: (gain(row, axis, v, left), v == neutral))
            new = [pair for pair in left if all(row[axis] == v for axis, v in pair)]
            if len(new) > most:
                best, most = (row, new), len(new)
        row, new = best
        rows.append({axis: row[axis] for axis in axes})
        for pair in new:
            del left[pair]
    return rows


def gain(row, axis, value, left):
    """How many pairs that are left a row gets with one value more."""
    at, order = (axis, value), list(AXES)
    pairs = (
        ((a, v), at) if order.index(a) < order.index(axis) else (at, (a, v)) for a, v in row.items()
    )
    return sum(pair in left for pair in pairs)


def completed(row):
    """A whole row of sense that holds `row`, or None: all else neutral, with classes or without."""
    for conditioning in ("none", "concatenation"):
        whole = NEUTRAL | {"conditioning": conditioning} | row
        if not refusals(whole):
            return whole
    return None


def built(row):
    """The experiment of a row, in small."""
    off = ("gp.weight", "r1.weight", "r2.weight", "dragan.weight", "clip.limit")
    # DCGAN's first layer has no norm, and at 8 pixels there is no other.
    larger = row["discriminator"] == "dcgan" and row["norm"] != "none"
    fields = {f"penalty.{name}": 0.0 for name in off} | {
        "data.image_size": 16 if larger else 8,
        "data.batch_size": 4,
        f"{G}.width": 2,
        f"{D}.width": 2,
        f"{G}.widths": "6,5,4",
        f"{D}.widths": "6,5,4",
        "model.latent.size": 3,
        "devices": 1,
    }
    for axis, value in row.items():
        fields |= AXES[axis][value]
    argv = [f"--config={CONFIG}:smoke", *(f"--config.{name}={v}" for name, v in fields.items())]
    command = commandline.parse(argv, {}, "python")
    return experiment.build(resolve(command.config, command.overrides), larger_domain=40)


def check_shapes(row):
    """An update keeps the state's structure, shapes and types, and has what is asked for."""
    made = built(row)
    before = made.template()
    first = (0,) if made.game.extra else ()
    after = jax.eval_shape(made.update(), before, made.batch, None, *first)

    def kinds(state):
        return jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), state)

    assert kinds(after) == kinds(before)
    # Each part that is asked for is there.
    phases = {phase.name: phase for phase in made.game.phases}
    assert ("regularizer" in phases) == (row["penalty"] == "lazy r1")
    assert (phases["discriminator"].project is not None) == (row["penalty"] == "clip")
    assert next(iter(phases)) == row["first"]
    assert ("spectral" in str(before.stats.get("discriminator", {}))) == row["spectral"]
    for net, axis in (("discriminator", "norm"), ("generator", "generator's norm")):
        assert ("batch_stats" in before.stats.get(net, {})) == (row[axis] == "batch")
    assert (set(before.ema) == {"generator"}) == row["ema"]
    assert ("class_real" in before.metrics) == (row["conditioning"] == "auxiliary")
    names = {"gp": {"gradient_penalty"}, "gp one-sided": {"gradient_penalty"}, "lazy r1": {"r1"}}
    names |= {name: {name} for name in ("r1", "r2", "dragan")} | {"r1 and r2": {"r1", "r2"}}
    there = {"gradient_penalty", "r1", "r2", "dragan"} & set(before.metrics)
    assert there == names.get(row["penalty"], set())
    assert ("instance_noise" in made.schedules) == (row["noise"] > 0)


ROWS = covering()


def named(row):
    """What isn't neutral of a row."""
    return ",".join(f"{a}={v}" for a, v in row.items() if v != NEUTRAL[a]).replace(" ", "_")


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_a_row_by_its_shapes(row):
    check_shapes(row)


def test_pairs_that_no_row_has_make_no_sense():
    """Each is refused for the reason that is written here, with classes and without."""
    there = {pair for row in ROWS for pair in itertools.combinations(row.items(), 2)}
    lost = 0
    for a, b in itertools.combinations(AXES, 2):
        for pair in itertools.product(AXES[a], AXES[b]):
            if ((a, pair[0]), (b, pair[1])) in there:
                continue
            lost += 1
            for conditioning in ("none", "concatenation"):
                row = NEUTRAL | {"conditioning": conditioning, a: pair[0], b: pair[1]}
                check_refused(row)
    assert lost > 20


def check_refused(row):
    with pytest.raises(UserError) as refused:
        built(row)
    message = str(refused.value)
    assert any(re.search(words, message) for words in refusals(row)), message


def test_rows_at_random():
    """Those of sense are built, all others are refused."""
    rng, counts = random.Random(1), [0, 0]
    for _ in range(150):
        # Mostly neutral: of rows drawn evenly few make sense.
        row = {a: rng.choice([*v, *(NEUTRAL[a],) * 2]) for a, v in AXES.items()}
        refused = bool(refusals(row))
        counts[refused] += 1
        if refused:
            check_refused(row)
        else:
            built(row)
    assert min(counts) > 20


QUICK = [
    {"loss": "wasserstein", "penalty": "clip", "rounds": 3, "warmup": 6, "optimizer": "rmsprop"}
    | {"multiple": 2, "ema": True, "precision": "bfloat16"},
    {"loss": "saturating", "conditioning": "auxiliary", "smoothing": 0.1, "accumulate": 2}
    | {"generator": "dcgan", "discriminator": "dcgan", "generator's norm": "batch", "norm": "batch"}
    | {"first": "generator", "handed": True},
    {"loss": "relativistic", "penalty": "lazy r1", "conditioning": "projection", "noise": 0.1}
    | {"discriminator": "dcgan", "norm": "instance", "spectral": True},
]
LONGER = [
    {"loss": "hinge", "conditioning": "projection", "generator": "resnet", "spectral": True}
    | {"discriminator": "resnet", "generator's norm": "batch", "multiple": 2, "ema": True},
    {"loss": "wasserstein", "penalty": "gp", "generator": "dcgan", "discriminator": "dcgan"}
    | {"rounds": 3, "conditioning": "auxiliary", "norm": "instance", "precision": "bfloat16"},
    {"conditioning": "concatenation", "generator": "cgan_mlp", "discriminator": "cgan_mlp"}
    | {"optimizer": "momentum"},
    {"loss": "relativistic_average", "penalty": "r1 and r2", "handed": True, "noise": 0.1},
    {"loss": "lsgan", "penalty": "r1", "generator": "dcgan", "generator's norm": "instance"},
    {"loss": "lsgan", "penalty": "r2", "first": "generator"},
    {"loss": "wasserstein", "penalty": "gp one-sided", "accumulate": 2},
    {"penalty": "dragan", "optimizer": "sgd"},
]
QUICK, LONGER = ([NEUTRAL | row for row in rows] for rows in (QUICK, LONGER))


def test_what_takes_real_steps():
    """Both ends of every axis quickly, and every value of it with those that are slow."""
    for axis, values in AXES.items():
        assert len({row[axis] for row in QUICK}) > 1, axis
        assert {row[axis] for row in QUICK + LONGER} == set(values), axis


@pytest.mark.parametrize(
    "row",
    [
        *(pytest.param(row, id=named(row)) for row in QUICK),
        *(pytest.param(row, id=named(row), marks=pytest.mark.slow) for row in LONGER),
    ],
)
def test_two_real_steps(row):
    """Losses are finite, every layer of both players has moved, projections hold."""
    made = built(row)
    state = made.init(0)
    start = jax.tree.map(np.array, state)
    more = (np.int32(0),) if made.game.extra else ()
    update = tiny.jit(made.update(), donate_argnums=0)
    for step in range(2):
        state = update(state, tiny.like(step, made.batch), None, *more)
    state = jax.device_get(state)
    assert (state.step, state.images) == (2, 8)
    assert state.first_bad.tolist() == [-1, -1]
    for total, count in state.metrics.values():
        assert np.isfinite(total)
        assert count > 0
    for name, params in state.params.items():
        leaves = jax.tree_util.tree_leaves_with_path(params)
        for (path, leaf), before in zip(leaves, jax.tree.leaves(start.params[name]), strict=True):
            # A loss of differences has no slope along the last bias.
            if leaf.ndim > 1:
                assert np.any(leaf != before), f"{name}{jax.tree_util.keystr(path)}"
    if row["penalty"] == "clip":
        weights = jax.tree.leaves(state.params["discriminator"])
        assert max(np.max(np.abs(w)) for w in weights) == np.float32(CLIP)
    for name, average in state.ema.items():
        for other in (state.params[name], start.params[name]):
            assert tiny.difference(average["params"], other) > 0


# The full grid of what papers are about; the other axes go round.
PAPERS = ("loss", "penalty", "conditioning", "generator")


def full():
    """Rows by (loss, penalty): every conditioning and network, the same for both players."""
    others = [axis for axis in AXES if axis not in (*PAPERS, "discriminator")]
    rng = random.Random(2)
    for loss, penalty in itertools.product(AXES["loss"], AXES["penalty"]):
        rows = []
        for conditioning, network in itertools.product(AXES["conditioning"], NETWORKS):
            row = {"loss": loss, "penalty": penalty, "conditioning": conditioning}
            row |= {"generator": network, "discriminator": network}
            if completed(row) is None:
                rows.append(NEUTRAL | row)
                continue
            for axis in rng.sample(others, len(others)):
                fits = [v for v in AXES[axis] if not refusals(NEUTRAL | row | {axis: v})]
                row[axis] = rng.choice([*fits, *fits[:1] * 3])  # mostly the quickest
            rows.append(row)
        yield pytest.param(rows, id=f"{loss}-{penalty}")


@pytest.mark.slow
@pytest.mark.parametrize("rows", list(full()))
def test_the_full_grid(rows):
    for row in rows:
        if refusals(row):
            check_refused(row)
        else:
            check_shapes(row)
