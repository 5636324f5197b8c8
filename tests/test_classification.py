"""The classifier: its loss, its one move, its run, and its features as what scores are made of."""

import math
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_mistakes
import test_resume
import test_sample
import test_synthesis_promises
import tiny
from flax import linen as nn
from test_configs import load

from jaxgan import evaluate, main, records, sample, translate
from jaxgan.data import glyphs
from jaxgan.data.datasets import Labelled
from jaxgan.errors import UserError
from jaxgan.games.classification import classification
from jaxgan.losses.classification import accuracy, cross_entropy
from jaxgan.metrics import networks
from jaxgan.models.classifier import Classifier
from jaxgan.models.initializers import normal
from jaxgan.optimizers import constant, sgd
from jaxgan.tasks import TASKS
from jaxgan.update import init_state, make_update

CONFIG = tiny.CONFIG.with_name("classifier.py")
RATE = 0.1
compiled_once = test_synthesis_promises.compiled_once
desk, mistake, images = test_mistakes.desk, test_mistakes.mistake, test_mistakes.images
# Large enough to learn glyphs, small enough to compile and run in seconds.
FIELDS = {
    "devices": 1,
    "train.steps": 60,
    "train.log_every": 20,
    "train.sample_every": 60,
    "checkpoint.every": 15,
    "checkpoint.keep": 10,
    "checkpoint.best": "accuracy",
    "evaluate.every": 30,
    "evaluate.num": 0,
    "data.batch_size": 64,
    "data.count": 2000,
    "model.classifier.width": 8,
    "model.classifier.features": 32,
    "model.classifier.dropout": 0.1,
    "optimizer.classifier.learning_rate": 5e-3,
    "optimizer.classifier.schedule": "constant",
}


def run(folder, fields=()):
    given = FIELDS | dict(fields)
    words = [f"--config.{name}={value}" for name, value in given.items()]
    return main.main([f"--config={CONFIG}:smoke", *words, f"--workdir={folder}"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory, compiled_once):
    """A run on glyphs, never stopped, with all its checkpoints."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert run(folder) == 0
    return folder


# The loss and the move


def test_the_loss_in_closed_form():
    logits, label = jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]])), jnp.array([0, 1])
    expected = -(math.log(0.5) + math.log(0.1)) / 2
    assert cross_entropy(logits + 7, label) == pytest.approx(expected, rel=1e-6)
    assert cross_entropy(jnp.zeros((4, 10)), jnp.arange(4)) == pytest.approx(math.log(10))
    assert accuracy(logits, label) == 0.5
    # Far from the truth it is the distance, and finite.
    assert cross_entropy(jnp.array([[0.0, 1e4]]), jnp.array([0])) == 1e4


class Linear(nn.Module):
    """Class logits by one matrix."""

    @nn.compact
    def __call__(self, x, train):
        x = x.reshape(x.shape[0], -1)
        types = {"dtype": jnp.float64, "param_dtype": jnp.float64}
        return {"features": x, "logits": nn.Dense(3, kernel_init=normal(0.5), **types)(x)}


def test_a_step_by_hand(x64):
    """The gradient of softmax cross-entropy is x (p - y); SGD goes against it."""
    rng = np.random.default_rng(0)
    batch = {
        "image": rng.integers(0, 256, (1, 1, 5, 2, 2, 1), np.uint8),
        "label": np.array([[[0, 2, 1, 1, 0]]], np.int32),
    }
    game = classification(Linear())
    args = game, {"classifier": sgd("classifier")}, {"learning_rate/classifier": constant(RATE)}
    before = init_state(*args, None, 0, tiny.shapes(batch), jnp.float64)
    after = tiny.jit(make_update(*args, dtype=jnp.float64))(before, batch, None)
    (old, new) = (jax.device_get(s.params["classifier"]["Dense_0"]) for s in (before, after))
    x, label = batch["image"].reshape(5, 4) / 127.5 - 1, batch["label"].ravel()
    logits = x @ old["kernel"] + old["bias"]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    error = (p - np.eye(3)[label]) / 5
    np.testing.assert_allclose(new["kernel"], old["kernel"] - RATE * x.T @ error, rtol=1e-10)
    np.testing.assert_allclose(new["bias"], old["bias"] - RATE * error.sum(0), rtol=1e-10)
    total, count = after.metrics["classifier"]
    assert count == 1
    np.testing.assert_allclose(total, -np.mean(np.log(p[np.arange(5), label])), rtol=1e-10)
    np.testing.assert_allclose(after.metrics["accuracy"][0], np.mean(logits.argmax(1) == label))


def test_only_the_classifier_moves(x64):
    """Beside another player, whose net it never calls."""
    game = classification(Linear())
    frozen = Linear()

    def init(key, batch):
        nets, memory = game.init(key, batch)
        return nets | {"other": frozen.lazy_init(key, batch["image"], train=False)}, memory

    both = game._replace(nets=game.nets | {"other": frozen}, init=init)
    batch = {
        "image": np.zeros((1, 1, 2, 2, 2, 1), np.uint8),
        "label": np.zeros((1, 1, 2), np.int32),
    }
    args = both, {"classifier": sgd("classifier")}, {"learning_rate/classifier": constant(RATE)}
    before = init_state(*args, None, 0, tiny.shapes(batch), jnp.float64)
    after = tiny.jit(make_update(*args, dtype=jnp.float64))(before, batch, None)
    assert tiny.difference(after.params["other"], before.params["other"]) == 0
    assert tiny.difference(after.params["classifier"], before.params["classifier"]) > 0


@pytest.mark.parametrize(("size", "stages"), [(8, 3), (9, 3), (28, 3), (33, 4), (64, 5)])
def test_sizes_of_the_network(size, stages):
    net = Classifier(classes=7, width=4, stages=stages, features=5)
    image = jax.ShapeDtypeStruct((2, size, size, 3), jnp.bfloat16)
    found = jax.eval_shape(lambda x: net.init_with_output(jax.random.key(0), x, False)[0], image)
    assert {n: (x.shape, x.dtype) for n, x in found.items()} == {
        "features": ((2, 5), jnp.float32),
        "logits": ((2, 7), jnp.float32),
    }


# A run


def test_it_learns_glyphs(trained):
    """By the scores and by the test images themselves; chance is a tenth."""
    scores = records.read(trained / "scores.jsonl")
    assert [line["step"] for line in scores] == [30, 60]
    assert scores[-1]["accuracy"] > 0.8
    assert scores[-1]["cross_entropy"] < 0.7
    net = networks.network(f"classifier:{trained}", "", "tf1")
    drawn = glyphs.Glyphs(16, 2000, 300, channels=1)
    found = tiny.jit(net.features)(
        net.constants, net.prepare(np.stack([drawn[i] for i in range(300)]))
    )
    assert np.mean(np.argmax(found["logits"], -1) == drawn.labels) > 0.8
    assert found["features"].shape == (300, 32)
    lines = records.read(trained / "metrics.jsonl")
    assert lines[-1]["accuracy"] > 0.8 > lines[0]["accuracy"]


def test_the_page_begins_with_mistakes(trained):
    text = (trained / "test" / "index.html").read_text()
    wrong = round((1 - records.read(trained / "scores.jsonl")[-1]["accuracy"]) * 3000)
    assert f"{wrong} of 3000 are told wrong" in text
    rows = text.split('<th scope="row"')[1:]
    assert len(rows) == 100
    mistaken = [", told as " in row for row in rows]
    assert mistaken == sorted(mistaken, reverse=True)
    assert sum(mistaken) == min(wrong, 100)


def test_the_same_bits_after_a_stop(trained, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    for step in (45, 60):
        shutil.rmtree(folder / "checkpoints" / str(step))
    assert run(folder) == 0
    assert "resumed at step 30\n" in capsys.readouterr().out
    test_resume.assert_same_run(folder, trained)


def bench(logits, labels, classes):
    """That of images whose first pixel is their number, and of the logits of each."""
    numbers = np.arange(len(labels), dtype=np.uint8)
    source = np.broadcast_to(numbers[:, None, None, None], (len(labels), 2, 2, 1))
    names = tuple("abcdefghijklmnopqrstuvwxyz"[:classes])
    data = Labelled(source, source, labels, labels, names, ())

    def sample(_, batch):
        number = jnp.round((batch["image"][:, 0, 0, 0] + 1) * 127.5).astype(jnp.int32)
        return {"logits": jnp.asarray(logits)[number]}

    config = load(file=CONFIG)
    game = classification(Linear())._replace(sample=sample)
    return TASKS["classification"].bench(config, data, game)


def test_scores_and_pictures_of_known_answers():
    """Three classes: a is told as a, and once as b; b as b; c as a."""
    p = np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.9, 0.05, 0.05]])
    made = bench(np.log(p), np.array([0, 0, 1, 2], np.int32), 3)
    scores, (section,) = made.evaluate(None, 0)
    assert scores["accuracy"] == 0.5
    expected = -np.mean(np.log([0.6, 0.2, 0.8, 0.05]))
    assert scores["cross_entropy"] == pytest.approx(expected, rel=1e-6)
    names = ["c, told as a", "a, told as b", "a", "b"]
    assert [row.name for row in section.rows] == names
    assert made.summary(scores) == [
        f"50.00% of the test images are told right, cross-entropy {expected:.4f}"
    ]
    rows, labels, groups = made.grid(None, 0)
    shown = [[None if x is None else int(x[0, 0, 0]) for x in row] for row in rows]
    assert shown == [[0, 0, 1, None], [2, None, 2, None], [3, 3, None, None]]
    assert labels == ["for example", "a", "b", "c"]
    assert groups == [("class", 1), ("told as", 3)]


# What scores are made of


def test_images_are_fitted_to_what_the_classifier_takes():
    x = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 3)), jnp.float32)
    np.testing.assert_array_equal(networks.fitted(x, 8, 3), x)
    np.testing.assert_allclose(networks.fitted(x, 8, 1), x.mean(-1, keepdims=True), rtol=1e-6)
    grey = networks.fitted(x[..., :1], 8, 3)
    np.testing.assert_array_equal(grey, np.repeat(x[..., :1], 3, -1))
    # Antialiased: half the size is no pick of every second pixel, and keeps what is constant.
    flat = jnp.full((1, 8, 12, 1), 0.25)
    np.testing.assert_allclose(networks.fitted(flat, 4, 1), jnp.full((1, 4, 4, 1), 0.25), rtol=1e-6)
    stripes = jnp.tile(jnp.array([1.0, -1.0]), 4).reshape(1, 1, 8, 1) * jnp.ones((1, 8, 1, 1))
    assert np.abs(networks.fitted(stripes, 4, 1)[:, :, 1:-1]).max() < 0.3
    with pytest.raises(UserError, match="5 channels, and these have 3"):
        networks.fitted(x, 8, 5)


@pytest.fixture
def sets(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    drawn = glyphs.Glyphs(20, 5000, 60)  # in colour, and of another size than what it learnt
    pictures = np.stack([drawn[i] for i in range(60)])
    np.savez(tmp_path / "real.npz", images=pictures)
    np.savez(tmp_path / "fake.npz", images=pictures[drawn.labels < 2])
    return tmp_path


def test_scores_of_its_features(trained, sets, capsys):
    """Near 0 for equal sets, in which all classes are there; far for one with two of them."""

    def scored(fake):
        argv = [f"--real={sets / 'real.npz'}", f"--fake={sets / fake}", "--metrics=fid,is"]
        argv += [f"--features=classifier:{trained}", "--splits=1"]
        assert evaluate.main(argv) == 0
        lines = capsys.readouterr().out.splitlines()
        return {name: float(value) for name, value in (line.split() for line in lines)}

    same, few = scored("real.npz"), scored("fake.npz")
    assert set(same) == {"fid_classifier", "is_classifier", "is_std_classifier"}
    assert same["fid_classifier"] < 1e-4 < few["fid_classifier"]
    assert 1 <= few["is_classifier"] < same["is_classifier"] <= 10


def test_what_is_written_beside_a_score(trained):
    record = networks.network(f"classifier:{trained}", "", "tf1").record
    accuracy = records.read(trained / "scores.jsonl")[-1]["accuracy"]
    assert record == {
        "features": "classifier",
        "run": "run",
        "step": 60,
        "weights_sha256": record["weights_sha256"],
        "data": "glyphs",
        "accuracy": accuracy,
    }
    assert len(record["weights_sha256"]) == 16


def test_features_are_made_in_float32(trained, tmp_path):
    """Whatever it was trained in."""
    test_sample.other(trained, tmp_path / "run", precision="bfloat16")
    drawn = glyphs.draw(5000, 16, channels=1)[None]
    both = [networks.network(f"classifier:{f}", "", "tf1") for f in (trained, tmp_path / "run")]
    found = [tiny.jit(net.features)(net.constants, net.prepare(drawn)) for net in both]
    for name in ("features", "logits"):
        np.testing.assert_array_equal(found[0][name], found[1][name])
    assert both[0].record == both[1].record


# Mistakes


def test_commands_that_make_images_refuse_it(trained, tmp_path, capsys):
    folder = f"--workdir={trained}"
    output = f"--output={tmp_path / 'out'}"
    given = f"--input={trained / 'samples'}"
    for command, argv in [
        (sample.main, [folder, output, "--num=3"]),
        (translate.main, [folder, output, given, "--direction=AtoB"]),
        (evaluate.main, [folder]),
    ]:
        assert command(argv) == 2
        said = capsys.readouterr()
        assert "holds a classifier, which makes no images" in said.err
        assert f"--features=classifier:{trained}" in said.err
        assert "Traceback" not in said.err
    assert not (tmp_path / "out").exists()


def test_runs_that_are_no_classifier(trained, sets, capsys):
    def refused(folder):
        argv = [f"--real={sets / 'real.npz'}", f"--fake={sets / 'real.npz'}"]
        assert evaluate.main([*argv, f"--features=classifier:{folder}"]) == 2
        said = capsys.readouterr()
        assert said.err.startswith("error: ")
        assert "Traceback" not in said.err
        return said.err

    assert "names no run of a classifier" in refused("")
    assert "holds no run" in refused(sets / "absent")
    empty = sets / "empty"
    shutil.copytree(trained, empty)
    shutil.rmtree(empty / "checkpoints")
    assert "has no checkpoint yet" in refused(empty)
    test_sample.other(trained, sets / "dcgan", load("smoke", file=CONFIG.with_name("dcgan.py")))
    assert "is a run of no classifier" in refused(sets / "dcgan")


SMOKE = "--config=configs/classifier.py:smoke"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ("data.image_size=8 model.classifier.stages=4", ["4 halvings", "classifier.stages=3"]),
        ("data.image_size=7", ["data.image_size=7", "take 8 or more", "stages=2"]),
        ("model.classifier.kind=convolution", ["did you mean 'convolutional'?"]),
        ("model.classifier.norm=instance", ["batch, none"]),
        ("model.classifier.dropout=1", ["less than 1"]),
        ("model.classifier.features=0", ["1 or more"]),
        ("ema.half_life=5", ["averages generators", "--config.ema.half_life=0"]),
        ("optimizer.classifier.b1=1", ["less than 1"]),
        ("optimizer.classifier.name=adamw", ["optimizer.classifier.name", "did you mean 'adam'?"]),
        ("checkpoint.best=acuracy", ["did you mean 'accuracy'?"]),
        ("data.load_size=20", ["data.load_size=20", "leave it at 0"]),
        ("data.classes=4", ["data.name=glyphs has 10", "leave it at 0"]),
        ("train.critic_rounds=2", ["unknown field"]),
    ],
)
def test_mistakes(desk, capsys, fields, words):
    message = mistake(desk, capsys, SMOKE, *(f"--config.{word}" for word in fields.split()))
    for word in words:
        assert word in message


def test_images_without_classes(desk, capsys):
    images(desk / "pictures", 4)
    argv = [SMOKE, "--config.data.name=folder", "--config.data.path=pictures"]
    message = mistake(desk, capsys, *argv)
    assert "a classifier needs classes to tell apart" in message
    assert "one sub-folder for each class" in message


def test_the_best_by_a_score():
    task = TASKS["classification"]
    assert [task.best_mode(name) for name in ("accuracy", "cross_entropy")] == ["max", "min"]
