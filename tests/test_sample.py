"""The command that makes pictures of noise: which sample is which, and what becomes of it."""

import io
import json
import math
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import tiny
from flax import linen as nn
from PIL import Image

from jaxgan import animations, commandline, experiment, fields, pictures, sample, workdir
from jaxgan.checkpoint import Checkpoints
from jaxgan.data import arrays
from jaxgan.errors import UserError
from jaxgan.games.latent import Latent
from jaxgan.games.synthesis import Classes, synthesis
from jaxgan.losses.adversarial import bce
from jaxgan.sample import FRAMES, Asked
from jaxgan.tasks import task
from jaxgan.trained import Run, open_run

ROOT = Path(__file__).parents[1]
KEY = jax.random.key(0)


@pytest.fixture(autouse=True, scope="module")
def _compiled_once():
    """Samplers of the same game and truncation are compiled once, and quickly."""
    there = {}

    def sampler(game, dtype, truncation):
        key = id(game.sample), truncation
        if key not in there:
            there[key] = task.sampler(game, dtype, truncation), game
        return there[key][0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "jit", tiny.jit)
        patch.setattr(sample, "sampler", sampler)
        yield


# --- the noise


def test_truncation_is_the_law_of_drawing_again():
    latent, bound = Latent(50_000), 1.5
    plain, cut = (np.ravel(latent.draw(KEY, 1, jnp.float32, t)) for t in (None, bound))
    assert np.abs(cut).max() <= bound
    truth = scipy.stats.truncnorm(-bound, bound)
    assert scipy.stats.kstest(cut, truth.cdf).pvalue > 0.01
    assert abs(cut.std() - truth.std()) < 0.01
    # Each number keeps its rank: it is where the truncated law has the plain one's share below.
    share = scipy.stats.norm.cdf(plain.astype(np.float64))
    np.testing.assert_allclose(cut, truth.ppf(share), atol=1e-4)


def test_a_truncation_beyond_all_numbers_changes_none():
    """Also where the law's distribution is 1 in float32, and its inverse infinite."""
    latent = Latent(50_000)
    plain = latent.draw(KEY, 1, jnp.float32)
    for bound in (9.0, 1e6):
        assert np.array_equal(latent.draw(KEY, 1, jnp.float32, bound), plain)
    with pytest.raises(ValueError, match="no tails"):
        Latent(3, "uniform").draw(KEY, 1, jnp.float32, 2.0)


def test_the_way_between_two_latents():
    a = np.array([[3.0, 0, 0, 0], [1, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
    b = np.array([[0, 3.0, 0, 0], [2, 4, 0, 0], [-1, 0, 0, 0], [0, 1, 0, 0]])
    arc, straight = (tiny.jit(Latent(4, law).between) for law in ("normal", "uniform"))
    for way in (arc, straight):
        for share, end in ((0.0, a), (1.0, b)):
            assert np.array_equal(way(a, b, np.full(4, share)), end)
    np.testing.assert_allclose(straight(a, b, np.full(4, 0.25)), 0.75 * a + 0.25 * b, rtol=1e-6)
    third = np.asarray(arc(a, b, np.full(4, 1 / 3)))
    assert np.isfinite(third).all()
    np.testing.assert_allclose(third[0], [3 * math.cos(math.pi / 6), 1.5, 0, 0], atol=1e-5)
    np.testing.assert_allclose(third[1], np.array([4, 8, 0, 0]) / 3, rtol=1e-5)  # parallel


def test_the_arc_keeps_the_law():
    """Halfway along it normal noise is normal still, where the straight way has half the
    variance."""
    a, b = np.random.default_rng(0).normal(size=(2, 200, 512))
    for law, variance in (("normal", 1), ("uniform", 0.5)):
        half = tiny.jit(Latent(512, law).between)(a, b, np.full(200, 0.5))
        assert abs(np.var(half) - variance) < 0.03


# --- which sample is which


class Generator(nn.Module):
    """Noise, and a class, to 2 x 2 pixels; `classes` 0: none is given."""

    classes: int = 3

    @nn.compact
    def __call__(self, latent, label=None, train=False):
        if self.classes:
            latent = jnp.concatenate([latent, jax.nn.one_hot(label, self.classes)], -1)
        return jnp.tanh(nn.Dense(12)(latent)).reshape(-1, 2, 2, 3)


def opened(classes=3, latent=Latent(5)):  # noqa: B008
    """A run of a tiny game, as `open_run` gives it."""
    net = Generator(classes)
    nets = {"generator": net, "discriminator": nn.Dense(1)}
    game = synthesis(nets, bce(), latent, classes=Classes(classes) if classes else None)
    given = (jnp.zeros((1, latent.size)), jnp.zeros(1, jnp.int32))[: 1 + bool(classes)]
    batch = {"image": jax.ShapeDtypeStruct((1, 1, 4, 2, 2, 3), np.uint8)}
    built = SimpleNamespace(game=game, dtype=jnp.float32, batch=batch, platform="cpu")
    return Run(None, built, {"generator": net.init(jax.random.key(7), *given)}, 4)


@pytest.fixture(scope="module")
def run():
    return opened()


def made(run, *args, devices=jax.devices()[:1], **kwargs):  # noqa: B008
    return np.stack(list(sample.samples(run, Asked(*args, **kwargs), devices)))


def test_sample_i_depends_on_the_seed_and_i_alone(run):
    """Not on how many there are, nor on how many devices make them: bit for bit."""
    devices = jax.devices()
    many = made(run, 1, 200, (0, 1, 2), devices=devices[:3])
    assert many.shape == (200, 2, 2, 3)
    for count, on in ((3, 1), (200, 1), (65, 2)):
        few = made(run, 1, count, (0, 1, 2), devices=devices[:on])
        assert np.array_equal(few, many[:count])
    assert len({image.tobytes() for image in many}) == 200
    assert not np.array_equal(made(run, 2, 1, (0, 1, 2)), many[:1])


def test_a_sample_is_what_the_generator_makes_of_its_noise(run):
    many = made(run, 1, 4, (2, 0))
    for i, label in enumerate((2, 0, 2, 0)):
        latent = jax.random.normal(jax.random.fold_in(jax.random.key(1), i), (1, 5))
        label = jnp.array([label])
        net = run.built.game.nets["generator"]
        fake = net.apply(run.weights["generator"], latent, label, train=False)[0]
        np.testing.assert_allclose(many[i], fake, atol=1e-5)


def test_a_class_concerns_its_own_samples_alone(run):
    a, b = made(run, 0, 6, (2, 0)), made(run, 0, 6, (2, 1))
    assert np.array_equal(a[::2], b[::2])
    assert all(np.any(a[i] != b[i]) for i in (1, 3, 5))


def test_without_classes():
    run = opened(classes=0)
    assert np.array_equal(made(run, 0, 2), made(run, 0, 70)[:2])


def test_truncated_samples_are_near_the_plain_ones(run):
    """As far as numbers are that keep their rank: from one end of a pixel's values to the other
    there is twice as much."""
    plain, cut, hard = (made(run, 0, 64, (0,), truncation=t) for t in (None, 2.0, 0.1))
    assert 0 < np.abs(cut - plain).mean() < 0.1
    assert hard.std(0).mean() < 0.2 * plain.std(0).mean()


def test_ways_begin_and_end_at_samples(run):
    asked = Asked(0, 3, (1, 2))
    rows = np.stack(list(sample.ways(run, asked))).reshape(3, FRAMES + 1, 2, 2, 3)
    first, second = (made(run, 0, 3, (label,)) for label in (1, 2))
    ends = [first, second, first]  # a row is of the class of its first sample
    for i, of_class in enumerate(ends):
        np.testing.assert_allclose(rows[i, 0], of_class[i], atol=1e-5)
        np.testing.assert_allclose(rows[i, -1], of_class[(i + 1) % 3], atol=1e-5)
        steps = np.abs(np.diff(rows[i], axis=0)).max((1, 2, 3))
        assert 0 < steps.min() <= steps.max() < 0.3


# --- what becomes of it


def flat(i):
    """A picture that shows which one it is."""
    return np.full((128, 128, 3), i / 127.5 - 1, np.float32)


@pytest.mark.parametrize(
    ("classes", "count", "rows"),
    [
        ((), 10, [[0, 1, 2, 3, 4, 5, 6, 7], [8, 9, *[None] * 6]]),
        ((3,), 3, [[0, 1, 2]]),
        ((5, 1), 6, [[0, 2, 4, 1, 3, 5]]),
        ((4, 4, 2, 0, 1), 9, [[0, 1, 2, 3, 4], [5, 6, 7, 8, None]]),
        (tuple(range(10)), 3, [[0, 1, 2]]),
    ],
)
def test_a_grid_by_classes(classes, count, rows, monkeypatch):
    seen = []
    monkeypatch.setattr(pictures, "grid", lambda *args, **kwargs: seen.append((args, kwargs)))
    sample.grid([flat(i) for i in range(count)], classes)
    (((cells, labels), kwargs),) = seen
    which = [[None if x is None else int(pictures.to_uint8(x)[0, 0, 0]) for x in r] for r in cells]
    assert which == rows
    groups = kwargs.get("groups")
    assert len(labels) == len(rows[0])
    if classes in [(3,), (5, 1)]:
        assert groups == [(f"class {c}", 3) for c in classes]
    else:
        assert groups is None
        assert list(labels) == [str(c) for c in classes[:count]] or not classes


def test_a_loop_and_its_rows():
    ways = [flat(row * (FRAMES + 1) + step) for row in range(2) for step in range(FRAMES + 1)]
    rows, loop = sample.interpolation(iter(ways), None)
    assert sample.interpolation(iter(ways), None) == [rows, loop]
    with Image.open(io.BytesIO(loop)) as image:
        assert (image.n_frames, image.info["loop"], image.size) == (2 * FRAMES, 0, (128, 128))
        assert image.info["duration"] == animations.FRAME
        for frame, value in ((0, 0), (FRAMES - 1, FRAMES - 1), (FRAMES, FRAMES + 1)):
            image.seek(frame)
            assert image.convert("RGB").getpixel((0, 0)) == (value,) * 3
    with Image.open(io.BytesIO(rows)) as image:
        shown = {color for _, color in image.getcolors()}
    assert {(4 * i,) * 3 for i in range(8)} | {(FRAMES + 1 + 4 * i,) * 3 for i in range(8)} < shown


def program(folder, text):
    """An `ffmpeg` that is a shell script."""
    file = folder / "ffmpeg"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return str(file)


def test_a_film(tmp_path):
    """What ffmpeg is given: the frames' bytes; its last word is the file."""
    frames = [np.full((4, 6, 3), i, np.uint8) for i in range(3)]
    takes = 'for last; do :; done; echo "$@" > "$0.words"; cat > "$last"'
    assert animations.mp4(frames, program(tmp_path, takes)) == b"".join(x.tobytes() for x in frames)
    assert "-s 6x4 -r 20 -i -" in (tmp_path / "ffmpeg.words").read_text()
    with pytest.raises(UserError, match=r"made no film \(no codec\)"):
        animations.mp4(frames, program(tmp_path, "cat > /dev/null; echo no codec >&2; exit 1"))


def test_stacks():
    images = np.stack([flat(i)[:2, :2] for i in range(3)])
    with np.load(io.BytesIO(sample.stacked(images, (7, 4), arrays.UINT8))) as found:
        assert sorted(found) == ["images", "labels"]
        assert found["images"].dtype == np.uint8
        assert found["images"][:, 0, 0, 0].tolist() == [0, 1, 2]
        assert found["labels"].tolist() == [7, 4, 7]
    values = arrays.Values("float32", 0, 255)
    with np.load(io.BytesIO(sample.stacked(images, (), values))) as found:
        assert list(found) == ["images"]
        np.testing.assert_allclose(found["images"][:, 0, 0, 0], [0, 1, 2], atol=1e-4)
    with np.load(io.BytesIO(sample.stacked(np.full((3, 2), 9.0, np.float32), (), values))) as found:
        assert (list(found), found["points"].max()) == (["points"], 9)


# --- as it is typed


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run's folder as training leaves it, with networks that haven't learned anything."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    mlp = [f"--config.model.{net}.kind=mlp" for net in ("generator", "discriminator")]
    colour = ("--config.data.channels=3", "--config.ema.half_life=0")
    config = resolved("cgan.py", *mlp, *colour, "--config.model.discriminator.norm=none")
    built = experiment.build(config, 1)
    workdir.record(folder, {**config.to_dict(), "found": {"train": 1}}, ["test"])
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(4, built.init(0), {}, {}, {})
    return folder


def resolved(name, *given):
    path = ROOT / "configs" / name
    return fields.resolve(commandline.parse([f"--config={path}:smoke", *given], {}, "test").config)


def other(trained, folder, record=None, **changed):
    """A copy of the run whose record says something else."""
    copy = shutil.copytree(trained, folder)
    content = json.loads((copy / "config.json").read_text())
    if record is not None:
        content["config"] = {**record.to_dict(), "found": {"train": 1}}
    for field, value in changed.items():
        *path, last = field.split("__")
        place = content["config"]
        for part in path:
            place = place[part]
        place[last] = value
    (copy / "config.json").write_text(json.dumps(content))
    return copy


def command(run, output, *more, num=3):
    return sample.main([f"--workdir={run}", f"--output={output}", f"--num={num}", *more])


def written(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_files(trained, tmp_path, monkeypatch, capsys):
    """Pictures, then a stack of the same; a grid and a loop of them; nothing replaced untold."""
    monkeypatch.chdir(tmp_path)
    direct = open_run(str(trained))
    monkeypatch.setattr(sample.trained, "open_run", lambda *_: direct)  # to compile once
    assert command(trained, "out", "--classes=7,3") == 0
    assert written(tmp_path / "out") == ["000000.png", "000001.png", "000002.png"]
    assert f"3 samples of seed 0 by step 4 of {trained}, in out" in capsys.readouterr().out
    assert command(trained, "out", "--format=npz", "--classes=7,3", num=2) == 0
    stack = np.load("out/samples.npz")
    assert stack["labels"].tolist() == [7, 3]
    expected = pictures.to_uint8(made(direct, 0, 2, (7, 3)))
    assert np.array_equal(stack["images"], expected)
    for i in range(2):
        assert np.array_equal(Image.open(f"out/00000{i}.png"), expected[i])

    before = written(tmp_path / "out")
    assert command(trained, "out", num=1) == 2
    assert "000000.png would be replaced" in capsys.readouterr().err
    assert written(tmp_path / "out") == before
    assert command(trained, "out", "--grid", "--overwrite", "--truncation=0.5", "--seed=5") == 0
    assert "3 samples of seed 5, truncated at 0.5, by step 4" in capsys.readouterr().out
    assert command(trained, "out", "--interpolate", num=2) == 0
    assert set(written(tmp_path / "out")) == {
        *before,
        *("grid.png", "interpolation.gif", "interpolation.png"),
    }


def test_floating_point_in_its_range(trained, tmp_path):
    scan = other(trained, tmp_path / "scan", data__dtype="float32", data__low=0, data__high=3000)
    assert command(scan, tmp_path / "out", num=2) == 0
    assert written(tmp_path / "out") == ["000000.npy", "000001.npy"]
    array = np.load(tmp_path / "out/000000.npy")
    assert (array.dtype, array.shape) == (np.float32, (16, 16, 3))
    assert 0 <= array.min() < 1500 < array.max() <= 3000


@pytest.fixture(scope="module")
def others(trained, tmp_path_factory):
    """Runs that sampling looks at no further than their records."""
    folder = tmp_path_factory.mktemp("others")
    other(trained, folder / "uniform", model__latent__law="uniform")
    other(trained, folder / "plain", model__conditioning="none")
    other(trained, folder / "cyclegan", resolved("cyclegan.py"))
    toy = resolved("toy.py")
    toy.train.seeds = 1
    other(trained, folder / "toy", toy)
    return folder


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"workdir": None}, ["--workdir is missing", "python -m jaxgan.sample --workdir="]),
        ({"output": None}, ["--output is missing"]),
        ({"num": None}, ["--num says how many", "--num=64"]),
        ({"num": 0}, ["--num says how many"]),
        ({"num": -3}, ["from 1 to"]),
        ({"num": "many"}, ["--num=many", "a whole number"]),
        ({"seed": -1}, ["--seed=-1 doesn't fit"]),
        ({"format": "jpg"}, ["--format=jpg", "png or npz"]),
        ({"grid": "true", "interpolate": "true"}, ["give one of them"]),
        ({"grid": "true", "format": "npz"}, ["give one of them"]),
        ({"grid": "true", "num": 9999}, ["--num=9999 is too much for one picture"]),
        ({"interpolate": "true", "num": 1}, ["from sample to sample", "try --num=8"]),
        ({"video": "true"}, ["add --interpolate"]),
        ({"video": "true", "interpolate": "true"}, ["ffmpeg", "isn't on the PATH"]),
        ({"truncation": "0"}, ["--truncation=0 doesn't fit", "above 0, such as 2"]),
        ({"truncation": "nan"}, ["--truncation=nan"]),
        ({"truncation": "much"}, ["--truncation=much"]),
        ({"truncation": 2, "workdir": "uniform"}, ["tails of normal noise", "leave it out"]),
        ({"classes": "0,10"}, ["this run's classes are 0 to 9", "'10' is none of them"]),
        ({"classes": "-1"}, ["'-1' is none of them"]),
        ({"classes": "0,,1"}, ["'' is none of them"]),
        ({"classes": "0", "workdir": "plain"}, ["trained without classes", "leave it out"]),
        ({"workdir": "cyclegan"}, ["translates pictures", "python -m jaxgan.translate --workdir="]),
        ({"workdir": "toy"}, ["points in the plane", "add --format=npz"]),
        ({"workdir": "absent"}, ["absent holds no run"]),
        ({"step": "3"}, ["no checkpoint 3", "there is 4"]),
        ({"weights": "ema"}, ["no averaged weights", "--weights=raw"]),
        ({"sede": 3}, ["unknown flag --sede", "did you mean --seed=3?"]),
    ],
)
def test_mistakes(flags, words, trained, others, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(others)
    monkeypatch.setenv("PATH", "")
    given = {"workdir": trained, "output": tmp_path / "out", "num": 3} | flags
    assert sample.main([f"--{k}={v}" for k, v in given.items() if v is not None]) == 2
    captured = capsys.readouterr()
    for word in words:
        assert word in captured.err
    assert "Traceback" not in captured.err + captured.out
    assert captured.err.count("\n") == 1
    assert not written(tmp_path)


@pytest.mark.slow
def test_as_it_is_typed(trained, tmp_path):
    """By eight devices, and the same bits as by one."""
    words = [sys.executable, "-m", "jaxgan.sample", "--workdir", str(trained), "--num", "130"]
    found = []
    for count in (1, 8):
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={count}",
        }
        out = tmp_path / str(count)
        done = subprocess.run(
            [*words, "--output", str(out)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env=environment,
        )
        assert (done.returncode, done.stderr) == (0, "")
        found.append([(out / name).read_bytes() for name in written(out)])
    assert len(found[0]) == 130
    assert found[0] == found[1]


def test_help(capsys):
    assert sample.main(["--help"]) == 0
    assert "--interpolate" in capsys.readouterr().out
