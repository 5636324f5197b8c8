"""Paired translation: the game, its data, its scores, and the command as a user types it."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from PIL import Image
from safetensors.numpy import load_file, save_file
from test_configs import load

from jaxgan import checkpoint, convert, experiment, main, sample, translate, workdir
from jaxgan.checkpoint import Checkpoints
from jaxgan.data import paired as data
from jaxgan.data import pipeline, scenes
from jaxgan.errors import UserError
from jaxgan.games.paired import L1, paired
from jaxgan.losses.adversarial import bce, relativistic
from jaxgan.metrics import pairs, segmenter
from jaxgan.metrics.segmentation import agreement, confusion
from jaxgan.models import patchgan, unet
from jaxgan.optimizers import adam, constant
from jaxgan.sharding import compile_update, make_mesh, put_batch, replicated
from jaxgan.tasks import TASKS
from jaxgan.update import init_state, make_update

CONFIGS = Path(__file__).parents[1] / "configs"
SIZES = {"image_size": 16, "load_size": 16}


def play(batches, first="discriminator", l1=100.0, loss=bce, norm="batch", dropout=0.5, **settings):
    """Metrics of each step, and the last state, with networks of 1 x 1."""
    modules = {
        "generator": tiny.Generator(norm, dropout),
        "discriminator": tiny.Discriminator(norm),
    }
    content = (L1._replace(weight=l1),) if l1 else ()
    game = paired(modules, loss(), content=content, first=first, **settings)
    optimizers = {player: adam(player, 0.5, 0.999) for player in game.players}
    schedules = {f"learning_rate/{player}": constant(1e-2) for player in game.players}
    args = (game, optimizers, schedules, None)
    state = init_state(*args, 0, tiny.shapes(batches[0]), jnp.float64)
    update = tiny.jit(make_update(*args, dtype=jnp.float64))
    found = []
    for batch in batches:
        state = update(state, batch, None)
        found.append({name: float(v) for name, (v, _) in state.metrics.items()})
    return found, state, game


def some(count=1, n=2, accumulate=1):
    rng = np.random.default_rng(0)
    shape = (1, accumulate, n // accumulate, 8, 8, 3)
    return [
        {name: rng.integers(0, 256, shape, np.uint8) for name in ("input", "truth")}
        for _ in range(count)
    ]


def test_the_l1_term_is_what_it_says(x64):
    """Its metric is the weighted mean distance of the very fakes that both players play with."""
    batch = some()
    (with_l1,), _, _ = play(batch, dropout=0.0, norm="none")
    (without,), _, _ = play(batch, dropout=0.0, norm="none", l1=0.0)
    assert "l1" in with_l1
    assert "l1" not in without
    assert with_l1["discriminator"] == without["discriminator"]
    (halved,), _, _ = play(batch, dropout=0.0, norm="none", l1=50.0)
    assert np.isclose(halved["l1"], with_l1["l1"] / 2, rtol=1e-12)
    # Before any training the discriminator is unsure, and its loss is halved: about log 2.
    assert 0.3 < with_l1["discriminator"] < 1.5


@pytest.mark.parametrize("first", ["discriminator", "generator"])
def test_both_players_see_the_same_fakes(first, x64):
    """Dropout is drawn once: the discriminator's fakes and the generator's are equal."""
    seen = {}

    class Judge(tiny.Discriminator):
        def __call__(self, x, train):
            jax.debug.callback(lambda v: seen.setdefault(len(seen), np.array(v)), x, ordered=True)
            return x.mean((1, 2, 3))[:, None, None, None] + self.param(
                "bias", lambda key: jnp.zeros((), jnp.float64)
            )

        __call__ = tiny.nn.compact(__call__)

    modules = {"generator": tiny.Generator("none", 0.5), "discriminator": Judge("none")}
    game = paired(modules, bce(), first=first)
    optimizers = {player: adam(player, 0.5, 0.999) for player in game.players}
    schedules = {f"learning_rate/{player}": constant(0.0) for player in game.players}
    args = (game, optimizers, schedules, None)
    (batch,) = some()
    state = init_state(*args, 0, tiny.shapes(batch), jnp.float64)
    seen.clear()
    jax.block_until_ready(make_update(*args, dtype=jnp.float64)(state, batch, None))
    jax.effects_barrier()
    truths = batch["truth"][0, 0] / 127.5 - 1
    shown = np.concatenate([image[..., 3:] for image in seen.values()])
    fakes = {x.tobytes() for x in shown if not any(np.allclose(x, t) for t in truths)}
    assert len(fakes) == 2  # of the two images of the batch, each the same in every showing
    assert len(seen) >= 2


def test_relativistic_and_unconditional_play(x64):
    found, _, _ = play(some(2), loss=relativistic)
    assert all(np.isfinite(v) for step in found for v in step.values())
    found, state, _ = play(some(2), conditional=False, first="generator")
    assert all(np.isfinite(v) for step in found for v in step.values())
    kernel = state.params["discriminator"]["in"]["kernel"]
    assert kernel.shape[0] == 3  # the output alone, where a pair has 6 channels


@pytest.mark.parametrize("first", ["discriminator", "generator"])
def test_devices_and_accumulation_change_nothing(first, x64):
    """Dropout, batch norm and what is handed over, on one device and on two, in two pieces."""
    found = []
    for devices in (1, 2):
        mesh = make_mesh(jax.devices()[:devices])
        modules = {
            "generator": tiny.Generator("batch", 0.5),
            "discriminator": tiny.Discriminator("batch"),
        }
        game = paired(modules, bce(), first=first)
        optimizers = {player: adam(player, 0.5, 0.999) for player in game.players}
        schedules = {f"learning_rate/{player}": constant(1e-2) for player in game.players}
        args = (game, optimizers, schedules, None)
        batches = some(3, 8, 2)
        state = init_state(*args, 0, tiny.shapes(batches[0]), jnp.float64)
        state = jax.device_put(state, replicated(mesh))
        update = compile_update(make_update(*args, dtype=jnp.float64), mesh)
        for batch in batches:
            state = update(state, put_batch(batch, mesh), None)
        found.append(jax.device_get(state))
    assert tiny.difference(*found) < 1e-9


def test_accumulation_hands_over_slice_by_slice(x64):
    """Without noise and batch statistics, a batch in pieces is the batch."""
    whole, _, _ = play(some(1, 4), dropout=0.0, norm="none")
    (batch,) = some(1, 4)
    pieces = {n: x.reshape(1, 2, 2, *x.shape[3:]) for n, x in batch.items()}
    cut, _, _ = play([pieces], dropout=0.0, norm="none")
    for name, value in whole[0].items():
        assert np.isclose(value, cut[0][name], rtol=1e-12)


def test_outputs_are_noisy_as_published_and_each_its_own(x64):
    """Each output depends on its input and its noise alone, not on what is beside it."""
    _, state, game = play(some(1))
    nets = {name: state.variables(name) for name in game.nets}
    inputs = jnp.asarray(np.random.default_rng(1).uniform(-1, 1, (3, 8, 8, 3)))
    noise = game.noise(jax.random.key(0), 3, jnp.float64)["noise"]
    together = game.sample(nets, {"input": inputs, "noise": noise})["fake"]
    alone = game.sample(nets, {"input": inputs[1:2], "noise": noise[1:2]})["fake"]
    np.testing.assert_allclose(together[1], alone[0], rtol=1e-12)
    other = game.sample(nets, {"input": inputs, "noise": noise[::-1]})["fake"]
    assert not np.allclose(together[0], other[0])


def test_deterministic_outputs_take_no_noise(x64):
    _, state, game = play(some(1), deterministic=True)
    assert game.noise is None
    nets = {name: state.variables(name) for name in game.nets}
    inputs = jnp.zeros((1, 8, 8, 3))
    np.testing.assert_array_equal(*(game.sample(nets, {"input": inputs})["fake"] for _ in range(2)))


def test_where_the_published_code_and_the_paper_drop():
    """The published code: none at 32 px, one block at 64, two at 128, three at 256."""
    published = {levels: unet.dropped(levels, "published") for levels in range(2, 9)}
    assert published == {2: (), 3: (), 4: (), 5: (), 6: (1,), 7: (1, 2), 8: (1, 2, 3)}
    assert unet.dropped(8, "paper") == (0, 1, 2)
    assert unet.dropped(2, "paper") == (0,)


def test_the_innermost_level_is_one_pixel():
    module = unet.UNetGenerator(levels=4, width=2)
    shapes = jax.eval_shape(
        lambda: module.init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)), train=False)
    )
    names = set(shapes["params"])
    assert {f"down_{i}" for i in range(4)} | {f"up_{i}" for i in range(4)} <= names
    assert "down_0_norm" not in names
    assert "down_3_norm" not in names
    with pytest.raises(UserError, match="multiples of 16"):
        jax.eval_shape(
            lambda: module.init(jax.random.key(0), jnp.zeros((1, 24, 16, 3)), train=False)
        )


def test_patches_are_the_papers():
    """16 x 16, 70 x 70 and 286 x 286, and the run says so at its start."""
    assert [patchgan.receptive_field(n) for n in (1, 3, 5)] == [16, 70, 286]
    said = {
        words: experiment.build(load("", words, file=CONFIGS / "pix2pix.py"), 1).game.notes
        for words in ("model.discriminator.layers=1", "model.discriminator.kind=pixel")
    }
    assert "16 x 16" in said["model.discriminator.layers=1"][0]
    assert "1 x 1 pixels" in said["model.discriminator.kind=pixel"][0]
    (large,) = experiment.build(load("", file=CONFIGS / "pix2pix.py"), 1).game.notes
    assert "70 x 70 pixels, more than the images' 64" in large


# Data.


def test_crop_and_flip_are_one_choice_for_both_halves():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (24, 24, 3), np.uint8)
    train = [np.concatenate([image, 255 - image], -1)] * 3
    stream = pipeline.paired(
        train, 3, seed=0, batch_size=8, image_size=16, load_size=24, num_threads=0
    )
    batch = next(stream)
    np.testing.assert_array_equal(batch["input"], 255 - batch["truth"])
    assert batch["input"].shape == (8, 16, 16, 3)
    assert len({crop.tobytes() for crop in batch["input"]}) > 4


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_labels_become_pictures(direction):
    config = load("smoke", f"data.direction={direction}", file=CONFIGS / "pix2pix.py")
    built = experiment.build(config, 1)
    opened = experiment.open_data(config, built.task)
    first, second = np.split(opened.test[0], 2, -1)
    if direction == "BtoA":
        first, second = second, first
    index = 2 * config.data.count
    np.testing.assert_array_equal(first, scenes.PALETTE[scenes.labels(index, 16)])
    np.testing.assert_array_equal(second, scenes.draw(index, "summer", 16))


def test_materials_have_colours_of_their_own():
    shown = {tuple(c) for c, m in zip(scenes.PALETTE, scenes.MATERIALS, strict=True)}
    assert len(shown) == len(scenes.MATERIALS) - 2  # glow and shadow are in no map


def pictures(folder: Path, names, size=(32, 16), start=0):
    folder.mkdir(parents=True)
    for i, name in enumerate(names):
        rng = np.random.default_rng(start + i)
        Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8)).save(folder / name)


@pytest.mark.parametrize("layout", ["train and test", "train and val", "loose"])
def test_halves_side_by_side(tmp_path, layout):
    root = tmp_path / "data"
    names = [f"{i}.png" for i in range(4)]
    if layout == "loose":
        pictures(root, names)
    else:
        pictures(root / "train", names)
        pictures(root / layout.split()[-1], ["t.png"], start=9)
    there, back = (
        data.open_folder(root, direction=direction, **SIZES) for direction in ("AtoB", "BtoA")
    )
    place = root if layout == "loose" else root / "train"
    name = there.train.names[0]
    left, right = np.split(np.asarray(Image.open(place / name)), 2, 1)
    np.testing.assert_array_equal(there.train[0], np.concatenate([left, right], -1))
    np.testing.assert_array_equal(back.train[0], np.concatenate([right, left], -1))
    assert len(there.train) + len(there.test) == (4 if layout == "loose" else 5)
    assert any("held out" in note for note in there.notes) == (layout == "loose")


def test_two_folders_are_matched_by_name(tmp_path):
    pictures(tmp_path / "trainA", ["b.png", "a.png", "c.png"], (16, 16))
    pictures(tmp_path / "trainB", ["c.bmp", "a.png", "b.bmp"], (16, 16), start=5)
    opened = data.open_folder(tmp_path, **SIZES)
    pairs_there = [*opened.train.names, *opened.test.names]
    assert sorted(pairs_there) == ["a", "b", "c"]
    at = opened.train.names.index("b") if "b" in opened.train.names else None
    pair = opened.test[0] if at is None else opened.train[at]
    np.testing.assert_array_equal(pair[..., :3], np.asarray(Image.open(tmp_path / "trainA/b.png")))
    np.testing.assert_array_equal(pair[..., 3:], np.asarray(Image.open(tmp_path / "trainB/b.bmp")))


def test_a_broken_half_is_left_out_and_told(tmp_path):
    """Also where the halves are files of different kinds."""
    pictures(tmp_path / "trainA", ["a.png", "b.png", "c.png"], (16, 16))
    pictures(tmp_path / "trainB", ["a.bmp", "b.bmp", "c.bmp"], (16, 16))
    for domain in "AB":
        pictures(tmp_path / f"test{domain}", ["t.png"], (16, 16))
    (tmp_path / "trainB/b.bmp").write_bytes(b"no picture")
    for direction in ("AtoB", "BtoA"):
        opened = data.open_folder(tmp_path, direction=direction, **SIZES)
        assert opened.train.names == ["a", "c"]
        assert [opened.train[i].shape for i in range(2)] == [(16, 16, 6)] * 2
        assert any("unreadable" in note and "trainB/b.bmp" in note for note in opened.notes)


def test_both_directions_hold_out_the_same_pairs(tmp_path):
    names = [str(i) for i in range(30)]
    pictures(tmp_path / "trainA", [f"{n}.png" for n in names], (16, 16))
    pictures(tmp_path / "trainB", [f"{n}.bmp" for n in names], (16, 16))
    there, back = (
        data.open_folder(tmp_path, direction=direction, **SIZES) for direction in ("AtoB", "BtoA")
    )
    assert there.test.names == back.test.names
    assert not set(there.test.names) & set(there.train.names)


def own_pairs(config):
    """A data set of one's own, named by `module:function`."""
    pair = np.zeros((config.image_size, config.image_size, 6), np.uint8)
    return data.Paired([pair] * 3, [pair], ())


def test_a_data_set_of_ones_own():
    config = load("smoke", "data.name=test_paired:own_pairs", file=CONFIGS / "pix2pix.py")
    built = experiment.build(config, 1)
    config.data.load_size = 16
    assert len(experiment.open_data(config, built.task).train) == 3
    config.data.channels = 1
    with pytest.raises(UserError, match=r"\[H, W, 2\]"):
        experiment.open_data(config, built.task)


# Mistakes, as they are typed.


def lonely(root):
    pictures(root / "trainA", ["a.png", "b.png"], (16, 16))
    pictures(root / "trainB", ["a.png"], (16, 16))


def twice(root):
    pictures(root / "trainA", ["a.png", "a.bmp"], (16, 16))
    pictures(root / "trainB", ["a.png"], (16, 16))


def half_a_test(root):
    for name in ("trainA", "trainB", "testA"):
        pictures(root / name, ["a.png", "b.png"], (16, 16))


def one_domain(root):
    pictures(root / "trainA", ["a.png"], (16, 16))


def odd(root):
    pictures(root, ["a.png", "b.png"], (31, 16))


def single(root):
    pictures(root, ["a.png"])


def no_train(root):
    pictures(root / "test", ["a.png", "b.png"])


def all_broken(root):
    for name in ("trainA", "trainB"):
        pictures(root / name, ["a.png", "b.png"], (16, 16))
    for name in ("a.png", "b.png"):
        (root / "trainB" / name).write_bytes(b"no picture")


FOLDERS = {
    lonely: "has no partner of the same name",
    twice: "several files named a",
    half_a_test: "one of testA and testB",
    one_domain: "one of trainA and trainB",
    odd: "have no halves",
    single: "too few to hold one out",
    no_train: "has test and no train",
    all_broken: "trainB/a.png",
}
FIELDS = {
    "data.direction=up": "one of AtoB, BtoA",
    "model.inference=both": "one of published, deterministic",
    "model.generator.levels=5": "multiples of 32",
    "model.generator.levels=1": "2 to 10",
    "data.image_size=18": "multiples of",
    "model.generator.dropout_where=lua": "one of published, paper",
    "loss.l1=-1": "0 or more",
    "train.first=both": "it takes one of",
    "train.first=generators": "did you mean 'generator'",
    "model.generator.kind=resnest": "unet",
    "data.name=scenes": "labels",
    "checkpoint.best=fid": "is no score",
    "model.discriminator.layers=3": "too small",
}


@pytest.mark.parametrize("make", FOLDERS, ids=lambda make: make.__name__)
def test_folders_that_are_no_pairs(make, tmp_path, capsys):
    make(tmp_path / "data")
    words = ["--config.data.name=folder", f"--config.data.path={tmp_path / 'data'}"]
    refused(tmp_path, capsys, FOLDERS[make], *words)


@pytest.mark.parametrize("field", FIELDS)
def test_fields_that_do_not_fit(field, tmp_path, capsys):
    refused(tmp_path, capsys, FIELDS[field], f"--config.{field}")


def refused(tmp_path, capsys, words, *fields):
    argv = [f"--config={CONFIGS / 'pix2pix.py'}:smoke", f"--workdir={tmp_path / 'run'}", *fields]
    assert main.main(argv) == 2
    told = capsys.readouterr().err
    assert words in told
    assert "Traceback" not in told
    assert not (tmp_path / "run").exists()


# The command.


@pytest.mark.slow
def test_a_run_goes_on_bit_for_bit(tmp_path):
    """Stopped after two of four steps and gone on: one run's bits, scores and picture."""
    base = [
        f"--config={CONFIGS / 'pix2pix.py'}:smoke",
        "--config.model.generator.dropout_where=paper",
        "--config.model.generator.levels=3",
        "--config.data.name=seasons",
    ]
    base += ["--config.optimizer.generator.schedule=constant"]
    base += ["--config.optimizer.discriminator.schedule=constant"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main.main([*base, f"--workdir={whole}"]) == 0
    assert main.main([*base, f"--workdir={parts}", "--config.train.steps=2"]) == 0
    assert main.main([*base, f"--workdir={parts}", "--config.train.steps=4"]) == 0
    assert checkpoint.compare(whole, parts) == []
    scores = [
        json.loads((folder / "scores.jsonl").read_text().splitlines()[-1])
        for folder in (whole, parts)
    ]
    assert scores[0] == scores[1]
    assert set(scores[0]) == {"step", "how", "l1", "psnr", "ssim"}
    grids = [sorted((folder / "samples").glob("*.png"))[-1] for folder in (whole, parts)]
    assert grids[0].read_bytes() == grids[1].read_bytes()
    assert "truth" in (whole / "test/index.html").read_text()


# Scores.


def test_ssim_against_its_definition():
    """Window by window, as the paper writes it, of values from 0; 1 for equal images; less for more
    noise."""
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-1, 1, (2, 1, 13, 12, 2))
    at = np.arange(11) - 5
    weights = np.exp(-(at[:, None] ** 2 + at**2) / (2 * 1.5**2))
    weights /= weights.sum()
    found = []
    for top in range(3):
        for left in range(2):
            for c in range(2):
                a, b = (z[0, top : top + 11, left : left + 11, c] + 1 for z in (x, y))
                ma, mb = (weights * a).sum(), (weights * b).sum()
                va, vb = (weights * (a - ma) ** 2).sum(), (weights * (b - mb) ** 2).sum()
                cov = (weights * (a - ma) * (b - mb)).sum()
                c1, c2 = 0.02**2, 0.06**2
                found.append(
                    (2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
                )
    np.testing.assert_allclose(pairs.ssim(x, y), [np.mean(found)], rtol=1e-12)
    np.testing.assert_allclose(pairs.ssim(x, x), [1.0], rtol=1e-12)
    noisy = [pairs.ssim(x, x + s * y)[0] for s in (0.1, 0.3, 1.0)]
    assert noisy == sorted(noisy, reverse=True)
    with pytest.raises(ValueError, match="11 pixels"):
        pairs.ssim(x[:, :10], y[:, :10])


@pytest.mark.slow
def test_pictures_of_maps_are_judged_by_a_segmenter(tmp_path):
    argv = [f"--config={CONFIGS / 'pix2pix.py'}:smoke", f"--workdir={tmp_path / 'run'}"]
    assert main.main(argv) == 0
    scores = json.loads((tmp_path / "run/scores.jsonl").read_text().splitlines()[-1])
    of_maps = {"pixel_accuracy", "class_accuracy", "iou"}
    of_truth = {f"{name}_of_truth" for name in of_maps}
    assert set(scores) == {"step", "how", "l1", "psnr", "ssim"} | of_maps | of_truth


# Translating.


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run's folder with networks that haven't learned anything; its noise is dropout."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    config = load("smoke", "model.generator.dropout_where=paper", file=CONFIGS / "pix2pix.py")
    built = experiment.build(config, 1)
    workdir.record(folder, {**config.to_dict(), "found": {"train": 1}}, ["test"])
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(2, built.init(0), {}, {})
    return folder


def translated(run, source, output, *more):
    argv = [f"--workdir={run}", f"--input={source}", f"--output={output}", *more]
    assert translate.main(argv) == 0
    return {path.name: np.asarray(Image.open(path)) for path in sorted(output.iterdir())}


def test_pictures_keep_their_size_and_noise_is_theirs(trained, tmp_path):
    pictures(tmp_path / "in", ["a.png", "b.png"], (20, 33))
    both = translated(trained, tmp_path / "in", tmp_path / "both")
    assert {name: image.shape for name, image in both.items()} == {
        "a.png": (33, 20, 3),
        "b.png": (33, 20, 3),
    }
    alone = translated(trained, tmp_path / "in/b.png", tmp_path / "alone")
    np.testing.assert_array_equal(alone["b.png"], both["b.png"])
    other = translated(trained, tmp_path / "in/b.png", tmp_path / "other", "--seed=1")
    assert (other["b.png"] != both["b.png"]).any()


def test_other_commands_say_what_to_do(trained, tmp_path, capsys):
    argv = [f"--workdir={trained}", f"--output={tmp_path / 'out'}", "--num=2"]
    assert sample.main(argv) == 2
    assert "jaxgan.translate" in capsys.readouterr().err
    pictures(tmp_path / "in", ["a.png"])
    argv = [f"--workdir={trained}", f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'out'}"]
    for seed in ("-1", str(2**31), "99999999999999999999999"):
        assert translate.main([*argv, f"--seed={seed}"]) == 2
        assert "doesn't fit" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_generator_of_ones_own_takes_any_size():
    config = load("smoke", file=CONFIGS / "pix2pix.py")
    assert translate.fitting(config, False, 0) == (32, 16)
    config.model.generator.kind = "mine:net"
    assert translate.fitting(config, False, 0) == (1, 1)


def test_pairs_have_one_direction(trained, tmp_path, capsys):
    pictures(tmp_path / "in", ["a.png"])
    argv = [f"--workdir={trained}", f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'out'}"]
    assert translate.main([*argv, "--direction=BtoA"]) == 2
    assert "translates AtoB alone" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_agreement_is_what_it_says():
    """Three classes of which one isn't shown: by hand."""
    truth = np.array([0, 0, 0, 1, 1, 1, 1, 1])
    found = np.array([0, 0, 1, 1, 1, 1, 0, 2])
    scores = agreement(confusion(found, truth, 3))
    assert scores["pixel_accuracy"] == 5 / 8
    assert scores["class_accuracy"] == pytest.approx((2 / 3 + 3 / 5) / 2)
    assert scores["iou"] == pytest.approx((2 / 4 + 3 / 6) / 2)
    perfect = agreement(confusion(truth, truth, 3))
    assert set(perfect.values()) == {1.0}


def test_the_segmenter_reads_truth_and_not_noise():
    """The same pairs give the same judge; what it says of true pictures beats a guess by far."""
    indices = range(40)
    shown = np.stack([scenes.draw(i, "summer", 16) for i in indices])
    labels = np.stack([scenes.labels(i, 16) for i in indices])
    judges = [segmenter.train(shown, labels, len(scenes.MATERIALS), steps=80) for _ in range(2)]
    fresh = np.stack([scenes.draw(i, "summer", 16) for i in range(100, 120)])
    wanted = np.stack([scenes.labels(i, 16) for i in range(100, 120)])
    found = [judge(fresh) for judge in judges]
    np.testing.assert_array_equal(*found)
    score = agreement(confusion(found[0], wanted, len(scenes.MATERIALS)))
    most = np.bincount(wanted.ravel()).max() / wanted.size
    assert score["pixel_accuracy"] > most + 0.25
    noise = np.random.default_rng(0).integers(0, 256, fresh.shape, np.uint8)
    lost = agreement(confusion(judges[0](noise), wanted, len(scenes.MATERIALS)))
    assert lost["iou"] < score["iou"] / 2


def test_maps_are_read_by_their_colours():
    maps = data.Maps(scenes.MATERIALS, scenes.PALETTE, "truth")
    labels = scenes.labels(3, 32)
    shown = scenes.PALETTE[labels].astype(np.int32)
    near = np.clip(shown + np.random.default_rng(0).integers(-9, 10, shown.shape), 0, 255)
    np.testing.assert_array_equal(maps.read(near.astype(np.uint8)[None])[0], labels)


def test_ssim_needs_room():
    opened = data.Paired([], [np.zeros((8, 8, 6), np.uint8)], ())
    with pytest.raises(UserError, match="images of 11 pixels"):
        TASKS["paired"].require_score("ssim", opened)
    TASKS["paired"].require_score("psnr", opened)


def test_scores_of_maps_need_maps(tmp_path, capsys):
    words = "needs the built-in label maps"
    refused(tmp_path, capsys, words, "--config.data.name=seasons", "--config.checkpoint.best=iou")


# Others' weights.


@pytest.mark.parametrize("system", ["pix2pix", "pixelgan"])
def test_published_weights_come_and_go(system, tmp_path, capsys):
    """The golden networks, as files: the outputs of the run are theirs; exported, they are bits."""
    arrays = dict(np.load(Path(__file__).parent / f"golden/{system}.npz"))
    files = {}
    for net, prefix in (("generator", "G/"), ("discriminator", "D/")):
        own = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
        files[net] = tmp_path / f"{net}.safetensors"
        save_file({k: np.ascontiguousarray(v) for k, v in own.items()}, files[net])
    run = tmp_path / "run"
    argv = [f"--config={CONFIGS / 'pix2pix.py'}:folder", "--config.data.image_size=128"]
    argv += [f"--{net}={file}" for net, file in files.items()]
    assert convert.main([*argv, f"--workdir={run}"]) == 0
    told = capsys.readouterr().out
    assert "python -m jaxgan.translate" in told
    assert "--direction" not in told
    assert convert.main([f"--workdir={run}", f"--export={tmp_path / 'out'}"]) == 0
    for net, name in (("generator", "latest_net_G"), ("discriminator", "latest_net_D")):
        there, back = load_file(files[net]), load_file(tmp_path / f"out/{name}.safetensors")
        counters = {k for k in there if k.endswith("num_batches_tracked")}
        assert set(there) - counters == set(back)
        assert all(np.array_equal(there[k], back[k]) for k in back)


def test_a_generator_given_as_a_discriminator(tmp_path, capsys):
    arrays = dict(np.load(Path(__file__).parent / "golden/pixelgan.npz"))
    own = {k.removeprefix("G/"): v for k, v in arrays.items() if k.startswith("G/")}
    save_file({k: np.ascontiguousarray(v) for k, v in own.items()}, tmp_path / "g.safetensors")
    argv = [f"--config={CONFIGS / 'pix2pix.py'}:folder", f"--workdir={tmp_path / 'run'}"]
    assert convert.main([*argv, f"--discriminator={tmp_path / 'g.safetensors'}"]) == 2
    assert "no published" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
