"""Super-resolution: reductions, crops, tiles, scores, both stages, and what is typed."""

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from PIL import Image
from safetensors.numpy import save_file
from test_configs import load
from test_super_resolution_models import published_srresnet

from jaxgan import checkpoint, convert, experiment, main, state_dicts, tiles, translate
from jaxgan.data import bicubic, pipeline, transforms, upscaling
from jaxgan.data.sources import decode, opacity
from jaxgan.errors import UserError
from jaxgan.games.paired import Content, Pretraining, paired
from jaxgan.losses import perceptual
from jaxgan.losses.adversarial import bce, relativistic_average
from jaxgan.losses.reconstruction import l1, l2, without_constants
from jaxgan.metrics import upscaling as metrics
from jaxgan.models import rrdb, vgg
from jaxgan.models.published_rrdb import rrdb_from_published, rrdb_to_published
from jaxgan.models.vgg_discriminator import VGGDiscriminator
from jaxgan.optimizers import adam, constant, later, stepped
from jaxgan.sharding import compile_update, make_mesh, put_batch, replicated
from jaxgan.update import init_state, make_update, start_anew

CONFIGS = Path(__file__).parents[1] / "configs"
SRGAN = f"--config={CONFIGS / 'srgan.py'}"
ESRGAN = f"--config={CONFIGS / 'esrgan.py'}"


def noise(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def smooth(height, width, channels=3):
    """A picture without fine structure, on which all good kernels agree."""
    y, x = np.mgrid[:height, :width]
    planes = [127 + 100 * np.sin(x / 9 + c) * np.cos(y / 11 - c) for c in range(channels)]
    return np.stack(planes, -1).astype(np.uint8)


# Reductions.


def test_the_cubic_is_keys():
    """1 at 0, 0 at the other whole numbers; a partition of unity; reproduces squares (a = -1/2)."""
    np.testing.assert_array_equal(bicubic.kernel(np.arange(-3.0, 4)), [0, 0, 0, 1, 0, 0, 0])
    at = np.linspace(0, 1, 11)[:, None] + np.arange(-3, 4)
    weights = bicubic.kernel(at)
    np.testing.assert_allclose(weights.sum(1), 1)
    np.testing.assert_allclose((weights * at**2).sum(1), 0, atol=1e-12)


@pytest.mark.parametrize("name", bicubic.KERNELS)
def test_reductions_keep_what_is_flat_and_smooth(name):
    resize = bicubic.KERNELS[name]
    flat = np.full((12, 20, 3), 77, np.uint8)
    assert (resize(flat, 3, 5) == 77).all()
    grey = smooth(32, 48, 1)
    assert resize(grey, 8, 12).shape == (8, 12, 1)
    np.testing.assert_array_equal(resize(grey, 32, 48), grey)
    # A pixel in the middle of a 4 x 4 block of a slow picture is about the block's mean.
    means = smooth(64, 64).reshape(16, 4, 16, 4, 3).mean((1, 3))
    found = resize(smooth(64, 64), 16, 16)[2:-2, 2:-2]
    assert np.abs(found - means[2:-2, 2:-2]).max() < 3


def test_both_kernels_differ_at_the_rim_and_in_rounding_alone():
    image = noise(64, 64)
    one, other = (bicubic.KERNELS[name](image, 16, 16).astype(int) for name in bicubic.KERNELS)
    assert np.abs(one - other)[2:-2, 2:-2].max() <= 2
    assert np.abs(one - other).max() > 2


def test_matlabs_reduction_of_a_line():
    """By hand: a quarter of a line of 8, mirrored at the ends, with a kernel four times as wide."""
    line = np.array([0, 0, 0, 0, 255, 255, 255, 255], np.uint8)
    found = bicubic.matlab(np.tile(line[:, None, None], (1, 8, 1)), 2, 8)[:, 0, 0]
    wanted = []
    for centre in (1.5, 5.5):
        at = np.arange(-12, 20)
        weights = bicubic.kernel((at - centre) / 4)
        values = np.pad(line.astype(float), 12, mode="symmetric")
        wanted.append((weights * values).sum() / weights.sum())
    np.testing.assert_array_equal(found, np.clip(np.floor(np.array(wanted) + 0.5), 0, 255))


# Crops.


def test_crops_of_both_sizes_belong_together():
    """Turned and mirrored in one way: the small crop is the large one's reduction by repetition."""
    small = noise(9, 7)
    large = np.repeat(np.repeat(small, 4, 0), 4, 1)
    seen = set()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        truth, reduced = transforms.aligned_crop(large, small, 12, True, True, rng)
        assert (truth.shape, reduced.shape) == ((12, 12, 3), (3, 3, 3))
        np.testing.assert_array_equal(truth[::4, ::4], reduced)
        seen.add(reduced.tobytes())
    assert len(seen) > 30
    unturned = transforms.aligned_crop(large, small, 12, False, False, np.random.default_rng(0))[1]
    windows = np.lib.stride_tricks.sliding_window_view(small, (3, 3, 3))
    assert any((unturned == window).all() for window in windows.reshape(-1, 3, 3, 3))


def test_batches_are_a_function_of_seed_and_step():
    smalls = [noise(5 + i, 4 + 2 * i, seed=i) for i in range(3)]
    images = [np.repeat(np.repeat(small, 4, 0), 4, 1) for small in smalls]

    def batches(**more):
        return pipeline.upscaled(
            images, smalls, image_size=16, flip=True, rotate=True, batch_size=4, **more
        )

    one, same, other = (batches(seed=seed, num_threads=0) for seed in (0, 0, 1))
    first = next(one)
    assert first["truth"].shape == (4, 16, 16, 3)
    assert first["input"].shape == (4, 4, 4, 3)
    np.testing.assert_array_equal(first["truth"][:, ::4, ::4], first["input"])
    same.set_state(one.get_state())
    np.testing.assert_array_equal(next(same)["input"], next(one)["input"])
    assert (next(other)["truth"] != first["truth"]).any()


# Tiles.


@pytest.mark.parametrize("size", [(23, 40), (64, 17), (16, 16), (5, 90)])
def test_tiles_are_the_whole_where_the_margin_is_enough(size):
    """A blur of three pixels, padded by zeros as networks are, twice as large."""

    def made(picture):
        padded = np.pad(picture.astype(int), ((3, 3), (3, 3), (0, 0)))
        h, w = picture.shape[:2]
        total = sum(padded[i : i + h, j : j + w] * (i + 2 * j) for i in range(7) for j in range(7))
        return np.repeat(np.repeat((total % 251).astype(np.uint8), 2, 0), 2, 1)

    picture = noise(*size)
    whole = made(picture)
    for margin, same in ((3, True), (1, max(size) <= 16)):
        found = tiles.enlarged(made, picture, 2, 16, margin)
        assert (found == whole).all() == same
    np.testing.assert_array_equal(tiles.enlarged(made, picture, 2, 0, 0), whole)


def test_windows_keep_every_pixel_once():
    for length in range(1, 80):
        found = tiles.windows(length, 16, 5)
        kept = [i for w in found for i in range(w.kept, w.kept_end)]
        assert kept == list(range(length))
        assert all(w.first <= w.kept and w.kept_end <= w.end for w in found)
        assert len({w.end - w.first for w in found}) == 1


# Scores.


def test_luma_is_bt601():
    white, black = np.full((1, 1, 3), 255, np.uint8), np.zeros((1, 1, 3), np.uint8)
    assert metrics.luma(white)[0, 0, 0] == pytest.approx(235)
    assert metrics.luma(black)[0, 0, 0] == pytest.approx(16)
    green = np.array([[[0, 255, 0]]], np.uint8)
    assert metrics.luma(green)[0, 0, 0] == pytest.approx(16 + 128.553)


def test_scores_leave_the_border_out():
    truth = noise(30, 26)
    image = truth.copy()
    image[:4], image[:, -4:] = 0, 255
    assert metrics.scores(image, truth, 4)["psnr"] == np.inf
    assert metrics.scores(image, truth, 3)["psnr"] < 40
    found = metrics.scores(truth[::-1], truth, 4)
    assert set(found) == {"psnr", "psnr_rgb", "ssim", "ssim_rgb"}
    assert set(metrics.scores(truth[..., :1], truth[..., :1], 0)) == {"psnr", "ssim"}
    by_hand = 10 * np.log10(
        255**2 / np.mean((truth[::-1][4:-4, 4:-4] * 1.0 - truth[4:-4, 4:-4]) ** 2)
    )
    assert found["psnr_rgb"] == pytest.approx(by_hand)


def test_detail_is_a_share_of_the_truths():
    truth = smooth(64, 64).astype(int)
    fine = 20 * (-1) ** (np.arange(64)[:, None, None] + np.arange(64)[None, :, None])
    truth, half = truth // 2 + 64 + fine, truth // 2 + 64 + fine // 2
    images = [x.astype(np.uint8) for x in (truth, half)]
    same, less = (metrics.fine_energies(image, images[0], 4) for image in images)
    assert same[0] == same[1]
    assert less[0] / less[1] == pytest.approx(0.25, abs=0.02)


# The game.


def play(steps, content, loss=bce, mesh=None, **settings):
    """The states before the first and after each step, with networks of 1 x 1 in float64."""
    modules = {"generator": tiny.Generator("batch"), "discriminator": tiny.Discriminator("batch")}
    if loss is None:
        del modules["discriminator"]
    game = paired(
        modules,
        loss and loss(),
        content=content,
        conditional=False,
        deterministic=True,
        **settings,
    )
    optimizers = {player: adam(player, 0.9, 0.999) for player in game.players}
    schedules = {f"learning_rate/{player}": constant(1e-2) for player in game.players}
    args = (game, optimizers, schedules, None)
    rng = np.random.default_rng(0)
    shape = (1, 1, 4, 8, 8, 3)
    batch = {name: rng.integers(0, 256, shape, np.uint8) for name in ("input", "truth")}
    states = [init_state(*args, 0, tiny.shapes(batch), jnp.float64)]
    mesh = mesh or make_mesh(jax.devices()[:1])
    states[0] = jax.device_put(states[0], replicated(mesh))
    for step in range(steps):
        segments = [s for s in game.segments if s.first <= step]
        phases = segments[-1].phases if segments else None
        state = jax.tree.map(jnp.copy, states[-1])
        if segments and segments[-1].first == step:
            fresh = {player: game.players[player] for player in segments[-1].fresh}
            state = start_anew(state, fresh, optimizers, schedules)
        update = make_update(*args, dtype=jnp.float64, phases=phases)
        state = jax.device_put(state, replicated(mesh))
        states.append(compile_update(update, mesh)(state, put_batch(batch, mesh), None))
    return states


L2 = Content("l2", 2.0, without_constants(l2))


def test_without_an_adversarial_loss_nobody_judges(x64):
    states = play(1, (L2,), loss=None)
    assert set(states[0].params) == {"generator"}
    assert set(states[1].metrics) == {"l2"}
    assert tiny.difference(states[0].params, states[1].params) > 0


def test_pretraining_moves_the_generator_alone_and_then_it_starts_anew(x64):
    lesson = Content("pretraining_l2", 1.0, without_constants(l2))
    settings = {"pretraining": Pretraining(2, (lesson,)), "weight": 1e-3, "halved": False}
    states = play(4, (L2,), loss=relativistic_average, **settings)
    judges = [state.params["discriminator"] for state in states]
    assert tiny.difference(judges[0], judges[2]) == 0
    assert tiny.difference(judges[2], judges[3]) > 0
    made = [state.params["generator"] for state in states]
    assert all(tiny.difference(made[i], made[i + 1]) > 0 for i in range(4))
    count = {k: int(v[1]) for k, v in states[2].metrics.items()}
    assert count == {"pretraining_l2": 2, "discriminator": 0, "generator": 0, "l2": 0}
    counts = [
        {int(x) for x in jax.tree.leaves(s.opt["generator"]) if x.dtype == jnp.int32}
        for s in states
    ]
    assert [max(c) for c in counts] == [0, 1, 2, 1, 2]  # Adam's own count, anew at the border
    # What it learned is what a run of pretraining alone learns.
    alone = play(2, (lesson,), loss=None)
    assert tiny.difference(alone[2].params["generator"], made[2]) < 1e-12


def test_devices_change_nothing(x64):
    lesson = Content("pretraining_l1", 1.0, without_constants(l1))
    settings = {"pretraining": Pretraining(1, (lesson,)), "weight": 5e-3, "first": "generator"}
    last = [
        jax.device_get(play(3, (L2,), bce, make_mesh(jax.devices()[:n]), **settings)[-1])
        for n in (1, 2)
    ]
    assert tiny.difference(*last) < 1e-9


def test_schedules_of_stages():
    rate = later(stepped(1.0, 0.1, [50, 75]), 3.0, 100)
    found = [float(rate(jnp.int32(i))) for i in (0, 99, 100, 149, 150, 174, 175, 1000)]
    np.testing.assert_allclose(found, [3, 3, 1, 1, 0.1, 0.1, 0.01, 0.01], rtol=1e-6)


# The losses and networks.


def test_perceptual_distances_are_of_features(x64):
    network = vgg.VGG19(("conv1_1",), param_dtype=jnp.float64)
    variables = jax.tree.map(jnp.asarray, vgg.from_published(vgg.random_arrays()))
    constants = {"vgg19": {"params": {"conv1_1": variables["params"]["conv1_1"]}}}
    rng = np.random.default_rng(0)
    fake, truth = jnp.asarray(rng.uniform(-1, 1, (2, 1, 6, 6, 3)))
    loss = perceptual.perceptual(network, {"conv1_1": 3.0}, l2, 0.5)
    assert float(loss(fake, fake, constants)) == 0
    features = [network.apply(constants["vgg19"], x)["conv1_1"] for x in (fake, truth)]
    wanted = 3 * 0.25 * np.mean((features[0] - features[1]) ** 2)
    np.testing.assert_allclose(loss(fake, truth, constants), wanted, rtol=1e-12)
    slope = jax.grad(loss, 1)(fake, truth, constants)
    assert not np.any(slope)  # the truth is no one's to move


@pytest.mark.parametrize(
    ("text", "layers"),
    [("relu5_4", {"relu5_4": 1.0}), ("conv1_2:0.5, relu3_1", {"conv1_2": 0.5, "relu3_1": 1.0})],
)
def test_layers_by_name(text, layers):
    assert perceptual.read_layers(text) == layers


@pytest.mark.parametrize("text", ["", "relu6_1", "conv1_1:-1", "conv1_1:much", "conv1_1:inf"])
def test_layers_that_there_are_not(text):
    with pytest.raises(UserError, match=r"loss.perceptual.layers"):
        perceptual.read_layers(text)


def test_the_published_discriminators_sizes():
    """SRGAN's, and that of ESRGAN's code: features 512 at a sixteenth and at a thirty-second."""
    for settings, side, shape in (
        ({}, 96, (6 * 6 * 512, 1024)),
        ({"stages": 5, "kernel": 4, "dense": 100}, 128, (4 * 4 * 512, 100)),
    ):
        net = VGGDiscriminator(**settings)
        x = jnp.zeros((1, side, side, 3))
        logits, variables = jax.eval_shape(
            lambda net=net, x=x: net.init_with_output(jax.random.key(0), x, train=True)
        )
        assert logits.shape == (1, 1)
        assert variables["params"]["dense"]["kernel"].shape == shape
        assert len([n for n in variables["params"] if n.startswith("conv")]) == 2 * net.stages


# The command.


@pytest.mark.slow
@pytest.mark.parametrize("config", [SRGAN, ESRGAN])
def test_a_kill_at_the_border_between_stages_loses_nothing(config, tmp_path):
    """Stopped behind the last step of pretraining and gone on, beside a run in one go."""
    base = [f"{config}:smoke"]
    for player in ("generator", "discriminator"):
        base.append(f"--config.optimizer.{player}.schedule=constant")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main.main([*base, f"--workdir={whole}"]) == 0
    # Steps may grow where rates are constant; the border stays where it is.
    assert main.main([*base, f"--workdir={parts}", "--config.train.steps=3"]) == 0
    shutil.rmtree(parts / "checkpoints/3")  # as if it had been killed just behind the border
    assert {path.name for path in (parts / "checkpoints").iterdir()} == {"2"}
    assert main.main([*base, f"--workdir={parts}", "--config.train.steps=4"]) == 0
    assert checkpoint.compare(whole, parts) == []
    lines = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert any("pretraining_" in name for name in lines[0])
    assert "discriminator" not in lines[0]
    assert "discriminator" in lines[-1]
    assert not any("pretraining_" in name for name in lines[-1])
    scores = json.loads((whole / "scores.jsonl").read_text().splitlines()[-1])
    assert {"psnr_test", "psnr_rgb_test", "bicubic_psnr_test", "detail_test"} <= set(scores)
    assert "bicubic" in (whole / "test/index.html").read_text()


def pictures(folder, *sizes, mode="RGB"):
    folder.mkdir(parents=True)
    for i, (width, height) in enumerate(sizes):
        Image.fromarray(noise(height, width, seed=i)).convert(mode).save(folder / f"{i}.png")
    return folder


def test_data_of_ones_own(tmp_path, monkeypatch, capsys):
    """`data.name=module:function`."""
    (tmp_path / "my_images.py").write_text(
        "import numpy as np\n"
        "from jaxgan.data.upscaling import Upscaling\n"
        "def images(data):\n"
        "    def draw(seed, *shape):\n"
        "        return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)\n"
        "    train = [draw(i, 32, 40, 3) for i in range(3)]\n"
        "    return Upscaling(train, {'mine': [draw(9, 48, 40, 3)]}, ())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = load("smoke", "data.name=my_images:images", file=CONFIGS / "srgan.py")
    built = experiment.build(config, 1)
    data = experiment.open_data(config, built.task)
    assert experiment.build(config, 3).task.sizes(data) == {"train": 3}
    built.task.require_score("ssim_rgb_mine", data)
    with pytest.raises(UserError, match="psnr_rgb_mine"):
        built.task.require_score("psnr_test", data)


def test_folders_of_any_sizes_are_cut_and_held_out(tmp_path):
    root = pictures(tmp_path / "data", (33, 40), (64, 18), (20, 21))
    (root / "broken.png").write_bytes(b"no picture")
    opened = upscaling.open_folder(str(root), "", 3, 4, 16)
    assert len(opened.train) == 2
    assert len(opened.tests["test"]) == 1
    shapes = {
        x.shape[:2] for x in [*map(opened.train.__getitem__, range(2)), opened.tests["test"][0]]
    }
    assert shapes == {(40, 32), (16, 64), (20, 20)}
    assert "broken.png" in " ".join(opened.notes)
    sets = pictures(tmp_path / "Set2", (17, 14)), pictures(tmp_path / "Grey", (12, 12), mode="L")
    opened = upscaling.open_folder(str(root), ",".join(map(str, sets)), 3, 4, 16)
    assert len(opened.train) == 3
    assert {name: s[0].shape for name, s in opened.tests.items()} == {
        "Set2": (12, 16, 3),
        "Grey": (12, 12, 3),
    }
    reduced = upscaling.Reduced(opened.tests["Set2"], 4, "matlab")
    np.testing.assert_array_equal(reduced[0], bicubic.matlab(opened.tests["Set2"][0], 3, 4))


@pytest.mark.slow
def test_a_run_on_folders_from_another_runs_generator(tmp_path):
    """The paper's two runs, with a file of VGG weights, whose hash is recorded."""
    save_file(vgg.random_arrays(), tmp_path / "vgg.safetensors")
    root = pictures(tmp_path / "data", (24, 24), (32, 20))
    tests = pictures(tmp_path / "Set1", (21, 30))
    data = [
        f"--config.data.path={root}",
        f"--config.data.tests={tests}",
        "--config.data.name=folder",
    ]
    first, second = tmp_path / "first", tmp_path / "second"
    assert main.main([f"{SRGAN}:smoke,pretrain", *data, f"--workdir={first}"]) == 0
    record = json.loads((first / "config.json").read_text())
    assert "discriminator" not in str(
        sorted(json.loads((first / "scores.jsonl").read_text().splitlines()[-1]))
    )
    more = [
        f"--config.init.workdir={first}",
        f"--config.loss.perceptual.weights={tmp_path / 'vgg.safetensors'}",
        "--config.pretraining.steps=0",
        "--config.checkpoint.best=psnr_Set1",
    ]
    argv = [f"{SRGAN}:smoke", *data, *more, f"--workdir={second}"]
    assert main.main(argv) == 0
    text = (second / "config.json").read_text()
    assert len(json.loads(text)["config"]["loss"]["perceptual"]["sha256"]) == 16
    assert "sha256" not in record["config"]["loss"]["perceptual"]
    scores = json.loads((second / "scores.jsonl").read_text().splitlines()[-1])
    assert "psnr_Set1" in scores


# Enlarging.


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A run's folder with a published SRResNet, twice as large."""
    folder = tmp_path_factory.mktemp("published")
    arrays = {k: np.asarray(v, np.float32) for k, v in published_srresnet(True).items()}
    (folder / "net.safetensors").write_bytes(state_dicts.to_safetensors(arrays))
    argv = [SRGAN, f"--generator={folder / 'net.safetensors'}", f"--workdir={folder / 'run'}"]
    assert convert.main(argv) == 0
    return folder / "run"


def enlarged(run, source, output, *more):
    assert (
        translate.main([f"--workdir={run}", f"--input={source}", f"--output={output}", *more]) == 0
    )
    return {path.name: np.asarray(Image.open(path)) for path in sorted(output.iterdir())}


def test_published_weights_tell_scale_and_blocks(published):
    record = json.loads((published / "config.json").read_text())["config"]
    g = record["model"]["generator"]
    assert (record["data"]["scale"], g["kind"], g["blocks"], g["width"]) == (2, "srresnet", 2, 3)


def test_any_size_is_enlarged_and_tiles_are_unseen(published, tmp_path):
    source = pictures(tmp_path / "in", (70, 41), (9, 13))
    whole = enlarged(published, source, tmp_path / "whole", "--tile=0")
    assert {name: image.shape for name, image in whole.items()} == {
        "0.png": (82, 140, 3),
        "1.png": (26, 18, 3),
    }
    # Two blocks see 13 pixels to each side.
    parts = enlarged(published, source, tmp_path / "parts", "--tile=40", "--overlap=13")
    for name, image in whole.items():
        np.testing.assert_array_equal(image, parts[name])


def test_transparency_stays(published, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    colours, alpha = noise(10, 12), np.zeros((10, 12, 1), np.uint8)
    alpha[:, 6:] = 255
    Image.fromarray(np.concatenate([colours, alpha], -1)).save(source / "a.png")
    Image.fromarray(colours).save(source / "b.png")
    found = enlarged(published, source, tmp_path / "out")
    assert found["a.png"].shape == (20, 24, 4)
    np.testing.assert_array_equal(found["a.png"][..., :3], found["b.png"])
    assert (found["a.png"][:, :8, 3] == 0).all()
    assert (found["a.png"][:, -8:, 3] == 255).all()
    assert opacity(source / "b.png") is None
    np.testing.assert_array_equal(decode(source / "a.png", 3, on_white=False), colours)


def test_weights_between_two_runs(published, tmp_path, capsys):
    source = pictures(tmp_path / "in", (8, 8))
    config = load("smoke", file=CONFIGS / "srgan.py")
    assert experiment.build(config, 1).game.task == "upscaling"
    alone = enlarged(published, source, tmp_path / "alone")
    mixed = enlarged(published, source, tmp_path / "mixed", f"--mix={published}", "--share=0.25")
    np.testing.assert_array_equal(alone["0.png"], mixed["0.png"])
    other = tmp_path / "other"
    assert (
        main.main([f"{SRGAN}:smoke,pretrain", f"--workdir={other}", "--config.train.steps=1"]) == 0
    )
    capsys.readouterr()
    argv = [f"--workdir={published}", f"--input={source}", f"--output={tmp_path / 'no'}"]
    assert translate.main([*argv, f"--mix={other}"]) == 2
    assert "of another architecture" in capsys.readouterr().err


def test_presets_in_any_order():
    for name in ("srgan", "esrgan"):
        file = CONFIGS / f"{name}.py"
        one, other = (load(p, file=file) for p in ("pretrain,folder", "folder,pretrain"))
        assert one == other
        assert (one.loss.weight, one.train.steps) == (0, 1000000)


def test_weights_of_vgg_by_its_own_names():
    arrays = vgg.random_arrays(("conv1_1",))
    theirs = vgg.from_published(arrays, ("conv1_1",))["params"]["conv1_1"]
    own = vgg.from_published({f"conv1_1.{k}": v for k, v in theirs.items()}, ("conv1_1",))
    for leaf, value in theirs.items():
        np.testing.assert_array_equal(own["params"]["conv1_1"][leaf], value)


# Mistakes.

FIELDS = {
    "data.image_size=18": "no multiple of data.scale=4",
    "data.scale=3": "2, 4 or 8",
    "data.kernel=lanczos": "one of pillow, matlab",
    "data.image_size=20 model.discriminator.stages=3": "multiples of 8",
    "data.tests=nowhere data.name=folder data.path=HERE": "no folder",
    "data.tests=nowhere": "draws its own images",
    "data.name=folder": "data.path is not set",
    "data.name=folder data.path=nowhere": "does not exist",
    "data.name=folder data.path=HERE data.tests=HERE": "share pictures",
    "data.name=folder data.path=HERE data.tests=SMALL": "too small for 9",
    "optimizer.generator.factor=-1": "above 0, at most 1",
    "optimizer.generator.schedule=exponential": "there is constant",
    "optimizer.generator.name=momentum": "is unknown",
    "loss.perceptual.rescale=0": "above 0",
    "loss.perceptual.layers=conv1_1,conv1_1:2": "names conv1_1 twice",
    "model.generator.output=sigmoid": "is unknown",
    "data.name=folder data.path=HERE data.image_size=64": "too small for 64",
    "data.name=folder data.path=HERE data.channels=2 loss.perceptual.weight=0": "have 3 channels",
    "data.channels=1": "in colour",
    "data.name=mnist": "folder",
    "loss.perceptual.weights=nothing.pth": "nothing.pth",
    "loss.perceptual.weights=HERE/0.png": "0.png",
    "loss.perceptual.weights=NET": "no VGG-19 of torchvision's",
    "loss.perceptual.layers=conv9_9": "is no layer",
    "loss.perceptual.distance=l3": "did you mean 'l2'",
    "loss.perceptual.layers=relu5_4 data.image_size=8 model.discriminator.stages=1": "16 pixels",
    "loss.weight=-1": "0 or more",
    "loss.weight=0": "needs an adversarial part",
    "loss.weight=0 pretraining.steps=0 loss.perceptual.weight=0": "nothing to learn",
    "pretraining.steps=9": "above it",
    "pretraining.loss=l3": "did you mean 'l2'",
    "model.generator.norm=instance": "batch or none",
    "model.generator.kind=unet": "srresnet",
    "model.discriminator.kind=dcgan": "patch",
    "model.discriminator.kernel=5": "3 or 4",
    "optimizer.generator.milestones=2": "shares",
    "optimizer.generator.milestones=half": "shares",
    "checkpoint.best=psnr": "is no score",
    "checkpoint.best=psnr_Set5": "there is psnr_test",
}


@pytest.mark.parametrize("words", FIELDS)
def test_fields_that_do_not_fit(words, tmp_path, capsys):
    pictures(tmp_path / "data", (32, 32), (40, 40))
    words_ = words
    net = tmp_path / "net.safetensors"
    net.write_bytes(state_dicts.to_safetensors({"conv": np.zeros((1, 1), np.float32)}))
    small = pictures(tmp_path / "small", (8, 9))
    for name, place in (("HERE", tmp_path / "data"), ("NET", net), ("SMALL", small)):
        words_ = words_.replace(name, str(place))
    fields = words_.split()
    argv = [f"{SRGAN}:smoke", *(f"--config.{f}" for f in fields), f"--workdir={tmp_path / 'run'}"]
    assert main.main(argv) == 2
    told = capsys.readouterr().err
    assert FIELDS[words] in told
    assert "Traceback" not in told
    assert not (tmp_path / "run").exists()


FLAGS = {
    "--direction=AtoB": "--direction is for other runs",
    "--resize=8": "--resize is for other runs",
    "--tile=-1": "0 for whole pictures",
    "--overlap=100": "less than half of --tile=192",
    "--overlap=some": "auto, or pixels",
    "--share=0.5": "--mix=RUN",
    "--share=2 --mix=RUN": "it takes 0 to 1",
    "--mix=nowhere": "nowhere",
}


@pytest.mark.parametrize("words", FLAGS)
def test_flags_that_do_not_fit(words, published, tmp_path, capsys):
    source = pictures(tmp_path / "in", (8, 8))
    argv = [f"--workdir={published}", f"--input={source}", f"--output={tmp_path / 'out'}"]
    argv += words.replace("RUN", str(published)).split()
    assert translate.main(argv) == 2
    told = capsys.readouterr().err
    assert FLAGS[words] in told
    assert "Traceback" not in told
    assert not (tmp_path / "out").exists()


def test_a_scale_against_weights(published, tmp_path, capsys):
    file = published.parent / "net.safetensors"
    argv = [SRGAN, f"--generator={file}", f"--workdir={tmp_path / 'run'}"]
    assert convert.main([*argv, "--config.data.scale=8"]) == 2
    assert "whose networks have 2" in capsys.readouterr().err
    assert convert.main([*argv, f"--discriminator={file}"]) == 2
    assert "whose networks are generator" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_there_and_back(published, tmp_path):
    """A published network comes out of its run as it went in."""
    assert convert.main([f"--workdir={published}", f"--export={tmp_path}"]) == 0
    theirs = state_dicts.read(published.parent / "net.safetensors")
    back = state_dicts.read(tmp_path / "generator.safetensors")
    assert set(back) == {name for name in theirs if not name.endswith("num_batches_tracked")}
    for name, array in back.items():
        assert np.array_equal(array, theirs[name].reshape(array.shape)), name


def test_an_rrdb_there_and_back():
    shape = (1, 8, 8, 3)
    network = rrdb.RRDBNet(scale=4, width=3, blocks=2, growth=2)
    variables = network.init(jax.random.key(0), jnp.zeros(shape))
    arguments, back = rrdb_from_published(rrdb_to_published(variables))
    assert arguments == {"scale": 4, "channels": 3, "width": 3, "blocks": 2, "growth": 2}
    assert jax.tree.all(jax.tree.map(np.array_equal, back, variables))


@pytest.mark.parametrize(
    ("field", "word"), [("output=linear", "output=tanh"), ("norm=none", "norm=batch")]
)
def test_networks_without_a_published_form(field, word, tmp_path, capsys):
    run = tmp_path / "run"
    argv = [f"{SRGAN}:smoke,pretrain", "--config.train.steps=1", f"--workdir={run}"]
    argv += [f"--config.model.generator.{f}" for f in ("output=tanh", "norm=batch", field)]
    assert main.main(argv) == 0
    capsys.readouterr()
    assert convert.main([f"--workdir={run}", f"--export={tmp_path / 'out'}"]) == 2
    assert word in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
