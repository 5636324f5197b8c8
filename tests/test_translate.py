"""The command that people use a trained run with: pictures in, pictures of the same size out."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxgan import (
    benchmark,
    commandline,
    experiment,
    fields,
    main,
    pictures,
    records,
    translate,
    workdir,
)
from jaxgan.checkpoint import Checkpoints
from jaxgan.data import arrays, sources
from jaxgan.errors import UserError
from jaxgan.trained import open_run

ROOT = Path(__file__).parents[1]
CONFIG = f"--config={ROOT / 'configs/cyclegan.py'}:smoke"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run with averages and a best checkpoint, 2 of 2 and 4."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    return begun(folder, "--config.ema.half_life=2.0", "--config.checkpoint.best=psnr_AtoB")


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A run without either."""
    return begun(tmp_path_factory.mktemp("raw") / "run")


def begun(folder, *given):
    """A run's folder as training leaves it, with networks that haven't learned anything."""
    config = fields.resolve(commandline.parse([CONFIG, *given], {}, "test").config)
    built = experiment.build(config, 1)
    workdir.record(folder, {**config.to_dict(), "found": {"train_A": 1, "train_B": 1}}, ["test"])
    with Checkpoints(folder) as checkpoints:
        for step, score in ((2, 9.0), (4, 8.0)):
            state = built.init(step)
            state = state.replace(ema=jax.tree.map(lambda x: 1.5 * x, state.ema))
            checkpoints.save(step, state, {}, {}, {"psnr_AtoB": score})
    return folder


@pytest.fixture
def album(tmp_path):
    """A folder of pictures: odd sizes, a sub-folder, grey, transparent, one broken, no picture."""
    folder = tmp_path / "album"
    (folder / "trip").mkdir(parents=True)
    rng = np.random.default_rng(0)

    def save(name, mode, *shape):
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8), mode).save(folder / name)

    save("one.png", "RGB", 32, 32, 3)
    save("two.jpg", "RGB", 21, 30, 3)
    save("two.bmp", "RGB", 5, 1, 3)
    save("trip/grey.png", "L", 17, 32)
    save("trip/glass.webp", "RGBA", 9, 31, 4)
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("not to be looked at")
    return folder


def command(run, source, output, *more, direction="AtoB"):
    flags = {"workdir": run, "direction": direction, "input": source, "output": output}
    return translate.main([*(f"--{name}={value}" for name, value in flags.items()), *more])


def written(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def pixels(path):
    return np.asarray(Image.open(path))


def test_a_folder_of_all_sorts(trained, album, tmp_path, capsys):
    before = {path: path.read_bytes() for path in album.rglob("*") if path.is_file()}
    out = tmp_path / "out"
    assert command(trained, album, out) == 0
    assert written(out) == [
        "one.png",
        "trip/glass.png",
        "trip/grey.png",
        "two.bmp.png",
        "two.jpg.png",
    ]
    assert pixels(out / "two.jpg.png").shape == (21, 30, 3)
    assert pixels(out / "two.bmp.png").shape == (5, 1, 3)
    assert pixels(out / "trip/glass.png").shape == (9, 31, 3)
    said = capsys.readouterr().out
    assert "1 of 6 files unreadable, skipped: broken.png (cannot identify image file" in said
    assert f"5 pictures translated AtoB by step 4 of {trained}" in said
    assert before == {path: path.read_bytes() for path in album.rglob("*") if path.is_file()}


def direct(run, image, direction="AtoB"):
    """The run's own generator on a picture that needs no padding."""
    net = f"generator_{direction}"
    x = jnp.asarray(image, jnp.float32)[None] / 127.5 - 1
    apply = jax.jit(lambda weights, x: run.built.game.nets[net].apply(weights, x, train=False))
    fake = apply(run.weights[net], x)[0]
    return pictures.to_uint8(np.asarray(fake)).astype(int)


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_a_picture_is_what_the_generator_makes_of_it(direction, trained, album, tmp_path):
    assert command(trained, album / "one.png", tmp_path / "out", direction=direction) == 0
    assert written(tmp_path / "out") == ["one.png"]
    expected = direct(open_run(str(trained)), pixels(album / "one.png"), direction)
    assert np.abs(pixels(tmp_path / "out/one.png") - expected).max() <= 1


def test_padding_is_a_reflection_that_is_cropped_away(trained, album, tmp_path):
    image = pixels(album / "two.bmp")
    seen = []

    def made(picture):
        seen.append(picture)
        return picture.astype(np.float32) / 127.5 - 1

    fake = translate.at_any_size(made, image, 32, 8)
    assert np.array_equal(pictures.to_uint8(fake), image)
    assert seen[0].shape == (32, 32, 3)
    fake = translate.at_any_size(made, image, 4, 8)
    assert np.array_equal(pictures.to_uint8(fake), image)
    assert seen[1].shape == (8, 8, 3)
    assert np.array_equal(seen[1][1:6, 3], image[:, 0])
    assert np.array_equal(seen[1][0, 3], image[1, 0])


def test_exact_and_resize(trained, album, tmp_path):
    run = open_run(str(trained))
    assert command(trained, album / "one.png", tmp_path / "16", "--resize=16") == 0
    small = np.asarray(Image.open(album / "one.png").resize((16, 16), Image.Resampling.BICUBIC))
    assert np.abs(pixels(tmp_path / "16/one.png") - direct(run, small)).max() <= 1
    Image.fromarray(small[:, :12]).save(tmp_path / "12.png")
    assert command(trained, tmp_path / "12.png", tmp_path / "exact", "--exact") == 0
    assert np.abs(pixels(tmp_path / "exact/12.png") - direct(run, small[:, :12])).max() <= 1


def test_arrays_of_bytes_beside_pictures(raw, album, tmp_path):
    np.save(album / "one.npy", pixels(album / "one.png"))
    assert command(raw, album, tmp_path / "out") == 0
    assert {"one.npy", "one.png"} < set(written(tmp_path / "out"))
    array = np.load(tmp_path / "out/one.npy")
    assert array.dtype == np.uint8
    assert np.array_equal(array, pixels(tmp_path / "out/one.png"))


def test_arrays_of_floating_point(raw, album, tmp_path, monkeypatch, capsys):
    """With networks that swap the channels: a file's size and name, the run's type and range."""
    monkeypatch.setattr(translate, "translator", lambda *_: lambda image, name: image[..., ::-1])
    scan = shutil.copytree(raw, tmp_path / "scan")
    record = json.loads((scan / "config.json").read_text())
    record["config"]["data"] |= {"dtype": "float32", "low": 0.0, "high": 3000.0}
    (scan / "config.json").write_text(json.dumps(record))
    array = pixels(album / "one.png") * (3000 / 255)
    np.save(album / "one.npy", array)
    np.save(album / "two.npy", array[:21, :30].astype(np.float16))
    np.save(album / "high.npy", 2 * array)
    np.save(album / "grey.npy", array[:, :, 0])
    assert command(scan, album, tmp_path / "out") == 0
    said = capsys.readouterr().out
    for word in ("8 of 10 files unreadable", "grey.npy (it is", "high.npy (its v", "one.png (im"):
        assert word in said
    assert written(tmp_path / "out") == ["one.npy", "two.npy"]
    one, two = (np.load(tmp_path / "out" / name) for name in ("one.npy", "two.npy"))
    assert (one.dtype, one.shape, two.dtype, two.shape) == ("f4", (32, 32, 3), "f4", (21, 30, 3))
    np.testing.assert_allclose(one, array[..., ::-1], atol=1e-3)
    np.testing.assert_allclose(two, array[:21, :30, ::-1], atol=1)  # as float16 knows them
    assert command(scan, album / "one.png", tmp_path / "no") == 2
    assert "they should be .npy files of float32 [H, W, 3] from 0.0 to" in capsys.readouterr().err


def test_no_two_translations_have_one_name(tmp_path):
    names = ["a.jpg", "a.npy", "a.webp", "a.jpg.png", "a.jpg.png.bmp", "b/a.jpg", "c.png"]
    folder = sources.ImageFolder(tmp_path / "in", names=names)
    targets = translate.plan(folder, str(tmp_path / "out"), False, True)
    assert [path.relative_to(tmp_path / "out").as_posix() for path in targets] == [
        "a.jpg.png",
        "a.npy",
        "a.webp.png",
        "a.jpg.png.png",
        "a.jpg.png.bmp.png",
        "b/a.png",
        "c.png",
    ]


def test_a_run_from_before_there_were_arrays(raw, tmp_path):
    """Its config lacks their fields; it is read, and resumed, as what it is."""
    copy = shutil.copytree(raw, tmp_path / "old")
    recorded = json.loads((copy / "config.json").read_text())
    now = json.loads(json.dumps(recorded["config"]))
    for name in ("dtype", "low", "high"):
        del recorded["config"]["data"][name]
    (copy / "config.json").write_text(json.dumps(recorded))
    assert open_run(str(copy)).built.batch["A"].dtype == np.uint8
    assert workdir.check(copy, now, ["test"]).resume
    now["data"]["dtype"] = "float32"
    with pytest.raises(UserError, match=r'data\.dtype: "uint8" -> "float32"'):
        workdir.check(copy, now, ["test"])


@pytest.mark.slow
def test_arrays_from_training_to_arrays(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for folder, shape in (("trainA", (20, 24, 5)), ("trainB", (16, 16, 5))):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for i in range(4):
            array = rng.uniform(0, 3000, shape).astype((np.float32, np.float64)[i % 2])
            np.save(tmp_path / "data" / folder / f"{i}.npy", array)
    flags = ["name=folder", f"path={tmp_path / 'data'}", "channels=5", "dtype=float32", "low=0"]
    flags = [CONFIG, *(f"--config.data.{flag}" for flag in (*flags, "high=3000"))]
    run = tmp_path / "run"
    assert main.main([*flags, f"--workdir={run}"]) == 0
    last = records.read(run / "metrics.jsonl")[-1]
    assert last["step"] == 4
    assert 0 < last["cycle_A"] < 20
    assert (run / "test/index.html").read_text().count("<img") == 2 * 3
    assert command(run, tmp_path / "data/trainB", tmp_path / "out", direction="BtoA") == 0
    assert written(tmp_path / "out") == [f"{i}.npy" for i in range(4)]
    for i in range(4):
        made = np.load(tmp_path / "out" / f"{i}.npy")
        assert (made.dtype, made.shape) == (np.float32, (16, 16, 5))
        assert 0 <= made.min() < made.max() <= 3000
    opened = open_run(str(run))
    net = opened.built.game.nets["generator_BtoA"]
    assert (
        command(
            run, tmp_path / "data/trainB/3.npy", tmp_path / "exact", "--exact", direction="BtoA"
        )
        == 0
    )
    x = jnp.asarray(array[None] / 1500 - 1, jnp.float32)
    fake = net.apply(opened.weights["generator_BtoA"], x, train=False)[0]
    np.testing.assert_allclose(np.load(tmp_path / "exact/3.npy"), 1500 * fake + 1500, atol=0.1)
    capsys.readouterr()
    assert benchmark.main([*flags, "--steps=1", "--warmup=0"]) == 0
    assert json.loads(capsys.readouterr().out)["seconds_per_step"] > 0


def test_which_weights(trained, album, tmp_path):
    chosen = {}
    for name, more in {
        "latest": [],
        "ema": ["--weights=ema"],
        "raw": ["--weights=raw"],
        "two": ["--step=2"],
        "best": ["--step=best"],
    }.items():
        assert command(trained, album / "one.png", tmp_path / name, *more) == 0
        chosen[name] = pixels(tmp_path / name / "one.png").astype(int)
    assert np.array_equal(chosen["latest"], chosen["ema"])
    for other in ("raw", "two"):
        assert np.abs(chosen["latest"] - chosen[other]).max() > 0
    assert np.array_equal(chosen["best"], chosen["two"])


@pytest.mark.slow
def test_from_training_to_pictures(album, tmp_path):
    run = tmp_path / "run"
    assert main.main([CONFIG, f"--workdir={run}"]) == 0
    assert command(run, album / "one.png", tmp_path / "out") == 0
    expected = direct(open_run(str(run)), pixels(album / "one.png"))
    assert np.abs(pixels(tmp_path / "out/one.png") - expected).max() <= 1


def test_a_run_needs_neither_its_data_nor_its_place(trained, album, tmp_path, monkeypatch):
    copy = shutil.copytree(trained, tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    assert command("moved", album / "one.png", "out", "--step", "4") == 0
    expected = direct(open_run(str(copy)), pixels(album / "one.png"))
    assert np.abs(pixels(tmp_path / "out/one.png") - expected).max() <= 1


def test_nothing_is_replaced_unless_told(trained, album, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "one.png").write_text("mine")
    assert command(trained, album, out) == 2
    assert "one.png would be replaced" in capsys.readouterr().err
    assert written(out) == ["one.png"]
    assert (out / "one.png").read_text() == "mine"
    assert command(trained, album / "one.png", out, "--overwrite") == 0
    assert pixels(out / "one.png").shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"workdir": None}, ["--workdir is missing", "python -m jaxgan.translate --workdir="]),
        ({"input": None}, ["--input is missing"]),
        ({"direction": "AtoC"}, ["--direction=AtoC", "AtoB or BtoA"]),
        ({"workdir": "absent"}, ["absent holds no run", "config.json"]),
        ({"input": "absent"}, ["absent does not exist"]),
        ({"input": "empty"}, ["empty has no images", "it is empty"]),
        ({"input": "album/notes.txt"}, ["notes.txt is no JPEG"]),
        ({"input": "album/broken.png"}, ["None of the 1 files", "broken.png"]),
        ({"output": "album/out"}, ["--output=album/out lies in the folder of the pictures"]),
        ({"input": "album/one.png", "output": "album"}, ["would replace", "one.png itself"]),
        ({"step": "3"}, ["no checkpoint 3", "there is 2, 4"]),
        ({"step": "last"}, ["--step=last", "latest, best or a number"]),
        ({"weights": "mean"}, ["--weights=mean", "auto, ema or raw"]),
        ({"workdir": "../trained/raw", "weights": "ema"}, ["no averaged weights", "--weights=raw"]),
        ({"workdir": "../trained/raw", "step": "best"}, ["no best checkpoint", "--step=latest"]),
        ({"resize": "-1"}, ["--resize=-1"]),
        ({"resize": "big"}, ["--resize=big", "a whole number"]),
        ({"outptu": "x"}, ["unknown flag --outptu", "did you mean --output=x?"]),
        ({"config": "x"}, ["unknown flag --config", "there is --workdir, --direction"]),
    ],
)
def test_mistakes(flags, words, trained, raw, album, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    there = written(tmp_path)
    given = {"workdir": trained, "direction": "AtoB", "input": "album", "output": "out"} | flags
    if (flags.get("workdir") or "").startswith(".."):
        given["workdir"] = raw
    argv = [f"--{name}={value}" for name, value in given.items() if value is not None]
    assert translate.main(argv) == 2
    captured = capsys.readouterr()
    for word in words:
        assert word in captured.err
    assert "Traceback" not in captured.err + captured.out
    assert captured.err.count("\n") == 1
    assert written(tmp_path) == there


def test_a_grey_run_makes_grey_pictures(album, tmp_path):
    fake = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4, 1)
    (tmp_path / "a.png").write_bytes(translate.encoded(fake, tmp_path / "a.png", arrays.UINT8))
    with Image.open(tmp_path / "a.png") as image:
        assert (image.mode, image.size) == ("L", (4, 3))
        assert np.array_equal(np.asarray(image), pictures.to_uint8(fake)[..., 0])


def test_a_run_that_has_no_checkpoint_yet(trained, album, tmp_path, capsys):
    young = tmp_path / "young"
    young.mkdir()
    shutil.copy(trained / "config.json", young)
    assert command(young, album, tmp_path / "out") == 2
    assert "has no checkpoint yet" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_as_it_is_typed(trained, album, tmp_path):
    words = [sys.executable, "-m", "jaxgan.translate", "--workdir", str(trained)]
    words += ["--direction", "BtoA", "--input", str(album / "trip"), "--output", "out"]
    cache = str(jax.config.jax_compilation_cache_dir)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_COMPILATION_CACHE_DIR": cache}
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert written(tmp_path / "out") == ["glass.png", "grey.png"]


def test_help(capsys):
    assert translate.main(["--help"]) == 0
    assert "--direction=AtoB" in capsys.readouterr().out
