"""`jaxgan.evaluate` as a user types it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from jaxgan import commandline, evaluate, experiment, fields, main, pictures, records, workdir
from jaxgan.checkpoint import Checkpoints
from jaxgan.data import image_sets
from jaxgan.metrics import neighbours, random_features
from jaxgan.metrics.frechet import fit, frechet_distance
from jaxgan.trained import open_run


def noise(count, size=8, seed=0, channels=3):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, size, size, channels), np.uint8)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def sets(tmp_path):
    """The same 12 real images as a folder and as an array file, and 11 fake ones."""
    real, fake = noise(12), noise(11, seed=1) // 2
    np.savez(tmp_path / "real.npz", images=real)
    np.savez(tmp_path / "fake.npz", images=fake, labels=np.zeros(11))
    folder = tmp_path / "real" / "sub"
    folder.mkdir(parents=True)
    for i, image in enumerate(real):
        Image.fromarray(image).save(folder / f"{i:02d}.png")
    return tmp_path


def scored(capsys, *argv):
    assert evaluate.main([str(word) for word in argv]) == 0
    lines = capsys.readouterr().out.splitlines()
    return {name: float(value) for name, value in (line.split() for line in lines)}


def test_a_folder_and_an_array_are_the_same(sets, capsys):
    more = [f"--fake={sets / 'fake.npz'}", "--metrics=fid,kid,prdc", "--subset-size=5"]
    folder = scored(capsys, f"--real={sets / 'real'}", *more)
    array = scored(capsys, f"--real={sets / 'real.npz'}", *more)
    assert folder == array
    assert list(folder) == [
        f"{name}_random"
        for name in ("fid", "kid", "kid_std", "precision", "recall", "density", "coverage")
    ]


def test_the_score_is_that_of_the_features(sets, capsys):
    found = scored(capsys, f"--real={sets / 'real.npz'}", f"--fake={sets / 'fake.npz'}")
    kernels = random_features.weights()
    real, fake = (
        fit([np.asarray(random_features.features(kernels, np.float32(x) / 127.5 - 1))])
        for x in (noise(12), noise(11, seed=1) // 2)
    )
    assert found["fid_random"] == pytest.approx(frechet_distance(real, fake), rel=1e-4)


def test_json_is_the_last_line(sets, capsys):
    argv = [f"--real={sets / 'real'}", f"--fake={sets / 'real.npz'}", "--json"]
    assert evaluate.main(argv) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["fid_random"]
    assert json.loads(last)["fid_random"] == pytest.approx(0, abs=1e-6)


def test_the_real_set_is_remembered_by_its_content(sets, capsys):
    argv = [f"--real={sets / 'real'}", f"--fake={sets / 'fake.npz'}"]
    first = scored(capsys, *argv)
    (kept,) = (sets / "cache" / "jaxgan" / "features").iterdir()
    with np.load(kept) as arrays:
        changed = dict(arrays)
    changed["mean"] = changed["mean"] + 1
    np.savez(kept, **changed)
    assert scored(capsys, *argv) != first, "it is read from there"
    assert scored(capsys, *argv, "--nocache") == first
    kept.write_bytes(b"torn")
    assert scored(capsys, *argv) == first
    Image.fromarray(noise(1, seed=9)[0]).save(sets / "real" / "sub" / "03.png")
    assert scored(capsys, *argv) != first, "another picture is another set"


def test_statistics_are_written_and_taken(sets, capsys):
    real, fake = f"--real={sets / 'real'}", f"--fake={sets / 'fake.npz'}"
    first = scored(capsys, real, fake, f"--save-stats={sets / 'stats.npz'}")
    with np.load(sets / "stats.npz") as kept:
        others = dict(kept) | {"made_of": np.array('{"features": "random", "version": 0}')}
    np.savez(sets / "others.npz", **others)
    assert evaluate.main([f"--real={sets / 'others.npz'}", fake]) == 2
    assert "version is 0 there and 1 here" in capsys.readouterr().err
    assert scored(capsys, f"--real={sets / 'stats.npz'}", fake) == pytest.approx(first)
    with np.load(sets / "stats.npz") as kept:
        assert kept["mu"].shape == (random_features.WIDTH,)


def test_unreadable_pictures_are_counted(sets, capsys):
    (sets / "real" / "bad.png").write_bytes(b"no picture")
    argv = [f"--real={sets / 'real'}", f"--fake={sets / 'real.npz'}"]
    assert evaluate.main(argv) == 0
    said = capsys.readouterr()
    assert float(said.out.removeprefix("fid_random ")) < 1e-9
    assert "1 of 13 files" in said.err
    assert "bad.png" in said.err
    assert not (sets / "cache" / "jaxgan" / "features").exists()


def test_mixed_sizes_are_refused_or_fitted_as_asked(sets, capsys):
    Image.fromarray(noise(1, 16)[0]).save(sets / "real" / "large.png")
    argv = [f"--real={sets / 'real'}", f"--fake={sets / 'fake.npz'}"]
    assert evaluate.main(argv) == 2
    assert "large.png is 16 x 16, sub/00.png is 8 x 8; --size=8 fits" in capsys.readouterr().err
    assert "fid_random" in scored(capsys, *argv, "--size=8")


def test_features_of_ones_own(sets, capsys, monkeypatch):
    (sets / "mine.py").write_text(
        "def seen(images):\n"
        "    return {'features': images.mean((1, 2)), 'logits': images[:, 0, 0]}\n"
        "def wrong(images):\n    return images\n"
        "def random(images):\n    return images.mean((1, 2))\n"
    )
    monkeypatch.chdir(sets)
    argv = ["--real=real.npz", "--fake=fake.npz"]
    found = scored(capsys, *argv, "--features=mine:seen", "--metrics=fid,is", "--splits=2")
    assert set(found) == {"fid_seen", "is_seen", "is_std_seen"}
    assert not (sets / "cache" / "jaxgan" / "features").exists(), "the function may change"
    assert evaluate.main([*argv, "--features=mine:wrong"]) == 2
    assert "D] is expected" in capsys.readouterr().err
    assert evaluate.main([*argv, "--features=mine:random"]) == 2
    assert "another name" in capsys.readouterr().err
    (sets / "broken.py").write_text("def seen(:")
    assert evaluate.main([*argv, "--features=broken:seen"]) == 2
    assert "SyntaxError" in capsys.readouterr().err
    assert evaluate.main([*argv, "--features=mine:absent"]) == 2
    assert "can't be imported" in capsys.readouterr().err


def test_given_features(tmp_path, capsys):
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(20, 3)), rng.normal(size=(15, 3))
    np.savez(tmp_path / "f.npz", real=real, fake=fake, fake_logits=fake)
    found = scored(capsys, f"--features={tmp_path / 'f.npz'}", "--metrics=fid,is", "--splits=1")
    assert found["fid_given"] == pytest.approx(frechet_distance(fit([real]), fit([fake])), rel=1e-4)
    assert found["is_given"] > 1


# A run's samples.


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    config = Path(__file__).parents[1] / "configs/cgan.py"
    argv = [f"--config={config}:smoke", f"--workdir={folder}", "--config.evaluate.every=2"]
    more = ["--config.evaluate.metrics=fid,copies", "--config.checkpoint.best=fid_random"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder.parent / "cache"))
        assert main.main([*argv, *more]) == 0
    return folder


def test_a_run(trained, capsys):
    """Every result is a line of its own, with all that it depends on; the same one twice."""
    before = len(records.read(trained / "scores.jsonl"))
    argv = [f"--workdir={trained}", "--metrics=fid,prdc", "--num=20"]
    first = scored(capsys, *argv)
    assert scored(capsys, *argv) == first
    other = scored(capsys, *argv, "--sample-seed=1")
    assert other != first
    lines = records.read(trained / "scores.jsonl")[before:]
    assert [{name: float(f"{line[name]:.6g}") for name in first} for line in lines] == [
        first,
        first,
        other,
    ]
    how = lines[-1]["how"]
    hashed = how["fake"].pop("weights_sha256")
    assert how["fake"] == {"count": 20, "seed": 1, "weights": "ema", "trained_seed": 0}
    assert {line["how"]["fake"].get("weights_sha256", hashed) for line in lines} == {hashed}
    assert how["real"]["count"] > 20
    assert {"network", "settings", "versions", "device", "git", "code"} <= set(how)


def test_scores_in_training(trained, capsys):
    """They are those of the command, and the best checkpoint is by them."""
    lines = [x for x in records.read(trained / "scores.jsonl") if "readable" in x]
    assert [line["step"] for line in lines] == [2, 4]
    best = min(lines, key=lambda line: line["fid_random"])
    argv = [f"--workdir={trained}", "--metrics=fid,copies", "--num=16", "--step=best"]
    found = scored(capsys, *argv)
    assert found["fid_random"] == pytest.approx(best["fid_random"], rel=1e-5)
    assert found["nearness_random"] == pytest.approx(best["nearness_random"], rel=1e-5)
    again = records.read(trained / "scores.jsonl")[-1]
    assert again["step"] == best["step"]
    for name in ("network", "real", "code"):
        assert again["how"][name] == best["how"][name]
    assert again["how"]["fake"]["weights_sha256"] == best["how"]["fake"]["weights_sha256"]


@pytest.mark.slow
def test_scores_after_a_stop(trained, tmp_path):
    """Line for line those of a run that wasn't stopped."""
    config = Path(__file__).parents[1] / "configs/cgan.py"
    argv = [f"--config={config}:smoke", f"--workdir={tmp_path / 'run'}"]
    argv += ["--config.evaluate.every=2", "--config.evaluate.metrics=fid,copies"]
    argv.append("--config.checkpoint.best=fid_random")
    for steps in (2, 4):
        assert main.main([*argv, f"--config.train.steps={steps}"]) == 0
    found = records.read(tmp_path / "run" / "scores.jsonl")
    assert found == [x for x in records.read(trained / "scores.jsonl") if "readable" in x]


@pytest.mark.parametrize(
    ("name", "words", "told"),
    [
        ("cgan", "evaluate.metrics=fidd", "did you mean 'fid'"),
        ("cgan", "evaluate.metrics=psnr", "logged anyway"),
        ("cgan", "evaluate.metrics=fid evaluate.features=x", "it takes inception"),
        ("cgan", "checkpoint.best=fid_random", "evaluate.metrics, such as fid"),
        (
            "cyclegan",
            "checkpoint.best=fid evaluate.metrics=fid",
            "fid_random_AtoB, fid_random_BtoA",
        ),
        ("cgan", "checkpoint.best=kid_std_random evaluate.metrics=kid", "neither"),
        ("toy", "evaluate.metrics=fid train.seeds=1", "makes none"),
        ("cgan", "evaluate.metrics=is", "takes a classifier"),
        ("cgan", "evaluate.metrics=fid_infinity", "evaluate.num=16 is too few"),
        ("cgan", "evaluate.metrics=fid evaluate.features=x.npz", "given features"),
        (
            "cgan",
            "evaluate.metrics=fid evaluate.features=inception",
            "--config.evaluate.weights=FILE",
        ),
    ],
)
def test_mistakes_in_a_config(name, words, told, tmp_path, capsys):
    config = Path(__file__).parents[1] / f"configs/{name}.py"
    argv = [f"--config.{word}" for word in words.split()]
    run = tmp_path / "run"
    assert main.main([f"--config={config}:smoke", *argv, f"--workdir={run}"]) == 2
    assert told in capsys.readouterr().err
    assert not run.exists()


def test_tables_are_of_what_can_be_compared(trained, tmp_path, capsys):
    other = begun("cgan", tmp_path / "other")
    table = f"--table={trained},{other}"
    assert evaluate.main([table]) == 2
    assert f"evaluate --workdir={other} --metrics=fid" in capsys.readouterr().err
    for run in (trained, other):
        first = scored(capsys, f"--workdir={run}", "--metrics=fid,prdc", "--num=16")
    assert evaluate.main([table, "--metrics=prdc"]) == 0
    heads, *rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    names = ["precision_random", "recall_random", "density_random", "coverage_random"]
    assert heads == ["run", "step", *names]
    assert [row[0] for row in rows] == [str(trained), str(other)]
    assert [float(x) for x in rows[1][2:]] == [first[name] for name in names]
    argv = [f"--workdir={other}", "--metrics=fid,prdc"]
    scored(capsys, *argv, "--num=16", "--neighbours=2", "--resamples=2")
    assert evaluate.main([table]) == 0, "FID doesn't depend on them"
    capsys.readouterr()
    scored(capsys, *argv, "--num=17", "--neighbours=2")
    assert evaluate.main([table, "--metrics=prdc"]) == 2
    said = capsys.readouterr().err
    assert "fake.count: 16 | 17" in said
    assert "settings.neighbours: 3 | 2" in said
    assert evaluate.main([table, "--anyway", "--metrics=prdc"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[2].endswith("*")
    assert not said[1].endswith("*")
    assert any("fake.count: 16 | 17" in line for line in said)


def test_all_checkpoints(trained, capsys):
    steps = sorted(int(path.name) for path in (trained / "checkpoints").iterdir())
    assert evaluate.main([f"--workdir={trained}", "--num=20", "--step=all", "--json"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines] == [["step", str(n), "fid_random"] for n in steps]
    assert "fid_random" in json.loads(last)


def test_a_run_beside_a_folder(trained, tmp_path, capsys):
    np.savez(tmp_path / "real.npz", images=noise(12, 16, channels=1))
    argv = [f"--workdir={trained}", f"--real={tmp_path / 'real.npz'}"]
    assert scored(capsys, *argv)["fid_random"] > 0
    np.savez(tmp_path / "real.npz", images=noise(12, 8, channels=1))
    assert evaluate.main(argv) == 2
    assert "8 x 8 and fake ones 16 x 16; --size=16 fits the real" in capsys.readouterr().err
    assert "fid_random" in scored(capsys, *argv, "--size=16")
    assert evaluate.main([argv[0], f"--real={trained}"]) == 2
    assert "is a run's folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--fake=x", "leave it out, or --workdir"),
        ("--features=x.npz", "leave out --workdir"),
        ("--step=7000", "no checkpoint 7000"),
        ("--weights=absent.pth", "leave it out"),
        ("--num=1", "at least 2"),
        ("--metrics=is", "makes no logits"),
        ("--metrics=psnr", "no truth beside them"),
        ("--each=x.csv", "leave it out"),
        ("--luma", "for two sets"),
        ("--size=8", "fits images of --real"),
        ("--metrics=copies --nearest=x.png --step=all", "of one checkpoint"),
        ("--step=foo", "or all"),
        ("--metrics=class_accuracy", "makes no logits"),
    ],
)
def test_mistakes_with_a_run(words, told, trained, capsys):
    assert evaluate.main([f"--workdir={trained}", *words.split()]) == 2
    assert told in capsys.readouterr().err


def begun(name, folder, *given):
    """A run's folder with networks that haven't learned anything."""
    config = f"--config={Path(__file__).parents[1] / f'configs/{name}.py'}:smoke"
    config = fields.resolve(commandline.parse([config, *given], {}, "test").config)
    built = experiment.build(config, 1)
    workdir.record(folder, {**config.to_dict(), "found": {"train": 1}}, ["test"])
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(1, built.init(0), {}, {})
    return folder


def test_points_have_no_images(tmp_path, capsys):
    run = begun("toy", tmp_path / "toy", "--config.train.seeds=1")
    assert evaluate.main([f"--workdir={run}"]) == 2
    assert "nothing that fid can be of" in capsys.readouterr().err


def test_runs_that_translate(tmp_path, capsys):
    """Both ways beside the other side's test images, and each image beside its truth."""
    folder = begun("cyclegan", tmp_path / "run")
    each = tmp_path / "each.csv"
    argv = [f"--workdir={folder}", "--metrics=fid,psnr,l1", "--num=5", f"--each={each}"]
    found = scored(capsys, *argv)
    ways = ("AtoB", "BtoA")
    assert {f"{name}_{way}" for name in ("fid_random", "psnr", "l1") for way in ways} <= set(found)
    line = records.read(folder / "scores.jsonl")[-1]
    assert line["psnr_AtoB"] > 0
    assert line["how"]["real"]["AtoB"] != line["how"]["real"]["BtoA"]
    assert line["how"]["fake"]["count_AtoB"] == line["how"]["fake"]["pairs"] / 2 == 5
    rows = [row.split(",") for row in each.read_text().splitlines()]
    assert [row[0] for row in rows] == ["set", *["AtoB"] * 5, *["BtoA"] * 5]
    at = rows[0].index("psnr")
    assert np.mean([float(row[at]) for row in rows[1:6]]) == pytest.approx(line["psnr_AtoB"])
    low, high = (line[f"psnr_AtoB_resampled_{end}"] for end in ("low", "high"))
    assert low < line["psnr_AtoB"] < high
    assert "copies_random_AtoB_resampled_low" in scored(
        capsys, *argv[:1], "--metrics=copies", "--num=8", "--resamples=2"
    )


@pytest.mark.slow
def test_runs_with_a_truth(tmp_path, capsys):
    """The numbers are those that training logs."""
    for name, number in (("pix2pix", "psnr"), ("srgan", "psnr_test")):
        folder = begun(name, tmp_path / name)
        found = scored(capsys, f"--workdir={folder}", "--metrics=psnr,l1", "--num=4")
        run = open_run(str(folder))
        run.config.evaluate.num = 4
        data = experiment.open_data(run.config, run.built.task)
        bench = run.built.task.bench(run.config, data, run.built.game)
        wanted = bench.evaluate(run.weights, 0)[0]
        assert found[number] == pytest.approx(wanted[number], rel=1e-5)
    assert evaluate.main([f"--workdir={tmp_path / 'srgan'}"]) == 2
    assert "try --metrics=psnr" in capsys.readouterr().err
    assert "fid_random" in scored(capsys, f"--workdir={tmp_path / 'pix2pix'}", "--num=4")


def test_a_run_beside_statistics(trained, tmp_path, capsys):
    """Those of its own data say the same as these."""
    first = scored(capsys, f"--workdir={trained}", "--num=20")
    run = open_run(str(trained))
    x = experiment.open_data(run.config, run.built.task).train
    np.savez(tmp_path / "real.npz", images=np.stack([x[i] for i in range(len(x))]))
    both = [f"--real={tmp_path / 'real.npz'}", f"--fake={tmp_path / 'real.npz'}"]
    scored(capsys, *both, f"--save-stats={tmp_path / 'stats.npz'}")
    argv = [f"--workdir={trained}", "--num=20", f"--real={tmp_path / 'stats.npz'}"]
    assert scored(capsys, *argv) == pytest.approx(first)
    how = records.read(trained / "scores.jsonl")[-1]["how"]
    assert how["real"]["name"] == str(tmp_path / "stats.npz")
    assert evaluate.main([*argv, "--metrics=prdc"]) == 2
    assert "statistics alone" in capsys.readouterr().err


def test_grey_beside_colour(sets, capsys):
    """One channel counts as three that are equal."""
    grey = noise(12, channels=1)
    np.savez(sets / "grey.npz", images=grey)
    np.savez(sets / "colour.npz", images=grey.repeat(3, -1))
    found = scored(capsys, f"--real={sets / 'grey.npz'}", f"--fake={sets / 'colour.npz'}")
    assert found["fid_random"] < 1e-6


def test_the_fakes_files_are_read_once(sets, capsys, monkeypatch):
    """No hash of what isn't kept."""
    monkeypatch.setattr(image_sets, "digest", None)
    argv = [f"--real={sets / 'real'}", f"--fake={sets / 'real'}", "--nocache"]
    assert scored(capsys, *argv)["fid_random"] < 1e-9


# Pairs.


@pytest.fixture
def albums(tmp_path):
    """Truths of two sizes, and what was made of them, under other endings."""
    truths = {"a": noise(1, 16)[0], "sub/b": noise(1, 20, seed=1)[0]}
    for name, truth in truths.items():
        for side, end, image in (("real", "png", truth), ("fake", "bmp", truth // 2 + 40)):
            path = tmp_path / side / f"{name}.{end}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    return tmp_path


def test_pairs_are_matched_by_name(albums, capsys):
    each = albums / "out" / "each.csv"
    argv = [f"--real={albums / 'real'}", f"--fake={albums / 'fake'}", "--metrics=psnr,ssim,l1"]
    found = scored(capsys, *argv, f"--each={each}")
    images = noise(1, 16)[0], noise(1, 20, seed=1)[0]
    l1 = [np.abs(x / 127.5 - (x // 2 + 40) / 127.5).mean() for x in images]
    assert found["l1"] == pytest.approx(np.mean(l1), rel=1e-5)
    assert found["l1_resampled_low"] == pytest.approx(min(l1), rel=1e-5)
    rows = [row.split(",") for row in each.read_text().splitlines()]
    assert rows[0] == ["set", "image", "psnr", "ssim", "l1"]
    assert [row[1] for row in rows[1:]] == ["a", "sub/b"]
    assert [float(row[4]) for row in rows[1:]] == pytest.approx(l1)
    small = scored(capsys, *argv[:2], "--metrics=psnr", "--luma", "--border=4")
    assert small["psnr"] != found["psnr"]


def test_equal_pairs(sets, capsys):
    both = [f"--real={sets / 'real.npz'}", f"--fake={sets / 'real.npz'}", "--json"]
    assert evaluate.main([*both, "--metrics=fid,l1,psnr", "--num=3"]) == 0
    *_, last = capsys.readouterr().out.splitlines()
    found = json.loads(last)
    assert found["l1"] == found["l1_resampled_high"] == 0
    assert found["psnr"] == "inf"
    assert found["fid_random"] < 1e-6


@pytest.mark.parametrize(
    ("change", "words", "told"),
    [
        ("lost", "--metrics=psnr", "1 of 2 images have no other of their name in fake: a"),
        ("more", "--metrics=l1", "1 of 3 images have no other of their name in real: c"),
        ("twice", "--metrics=l1", "has both a.bmp and a.png"),
        ("large", "--metrics=l1", "a: the fake is 9 x 9 and its truth 16 x 16"),
        ("none", "--metrics=ssim --border=3", "too little for ssim, which takes 11 pixels within"),
        ("none", "--metrics=fid --luma", "leave it out"),
        ("none", "--metrics=l1 --border=-1", "a number from 0"),
        ("broken", "--metrics=l1", "none of the 2 pairs"),
        ("none", "--metrics=l1 --save-stats=x.npz", "--save_stats is for"),
    ],
)
def test_pairs_that_are_none(change, words, told, albums, capsys, monkeypatch):
    monkeypatch.chdir(albums)
    first = albums / "fake" / "a.bmp"
    if change == "lost":
        first.unlink()
    for name, other in (("more", "fake/c.png"), ("twice", "fake/a.png"), ("large", "fake/a.bmp")):
        if change == name:
            Image.fromarray(noise(1, 9)[0]).save(albums / other)
    if change == "broken":
        first.write_bytes(b"no picture")
        (albums / "real" / "sub" / "b.png").write_bytes(b"no picture")
    assert evaluate.main(["--real=real", "--fake=fake", *words.split()]) == 2
    assert told in capsys.readouterr().err


def test_intervals_on_request(sets, capsys):
    argv = [f"--real={sets / 'real.npz'}", f"--fake={sets / 'fake.npz'}"]
    found = scored(capsys, *argv, "--metrics=fid", "--resamples=20")
    low, high = (found[f"fid_random_resampled_{end}"] for end in ("low", "high"))
    assert low < found["fid_random"] < high
    scored(capsys, *argv[:1], f"--fake={sets / 'real.npz'}", f"--save-stats={sets / 's.npz'}")
    beside = scored(capsys, f"--real={sets / 's.npz'}", argv[1], "--resamples=20")
    assert beside["fid_random"] == pytest.approx(found["fid_random"])
    low_, high_ = (beside[f"fid_random_resampled_{end}"] for end in ("low", "high"))
    assert high_ - low_ < high - low, "the real side's own noise isn't known"


def test_nearest_ones_are_shown(sets, tmp_path, capsys):
    """A copy and its original lie side by side, first of all."""
    fake = np.concatenate([noise(5, seed=3), noise(12)[7:8]])
    np.savez(tmp_path / "copies.npz", images=fake)
    shown = tmp_path / "nearest.png"
    both = [f"--real={sets / 'real'}", f"--fake={tmp_path / 'copies.npz'}", "--metrics=copies"]
    assert scored(capsys, *both, f"--nearest={shown}")["copies_random"] == pytest.approx(
        1 / 6, rel=1e-5
    )
    with Image.open(shown) as opened:
        picture = np.asarray(opened)
    pair = pictures.grid([[noise(12)[7]] * 2], ["made", "nearest"])
    width, height = pair.shape[1], pair.shape[0]
    assert (picture[: height - 8, : width - 8] == pair[: height - 8, : width - 8]).mean() > 0.99
    assert evaluate.main([*both[:2], "--nearest=other.png"]) == 2
    assert "add it to --metrics" in capsys.readouterr().err


def test_a_runs_nearest_ones(trained, tmp_path, capsys):
    argv = [f"--workdir={trained}", "--metrics=copies", "--num=10"]
    scored(capsys, *argv, f"--nearest={tmp_path / 'a.png'}")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size[0] > 100


def test_devices_decide_nothing(sets, tmp_path):
    """Each device computes chunks of a fixed size by the program of one."""
    np.savez(tmp_path / "many.npz", images=noise(300, seed=5))
    words = [f"--real={sets / 'real'}", f"--fake={tmp_path / 'many.npz'}", "--metrics=fid,prdc"]
    flags = "--xla_force_host_platform_device_count=4"
    done = subprocess.run(
        [sys.executable, "-m", "jaxgan.evaluate", *words, "--json"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "XLA_FLAGS": flags},
    )
    found = json.loads(done.stdout.splitlines()[-1])
    here = jax.jit(random_features.features)
    features = [
        np.asarray(here(random_features.weights(), np.float32(x) / 127.5 - 1))
        for x in (noise(12), noise(300, seed=5))
    ]
    wanted = frechet_distance(*(fit([x]) for x in features))
    assert found["fid_random"] == pytest.approx(wanted, rel=1e-5)
    near = neighbours.neighbourhoods(*features, [3])[3]
    assert found["precision_random"] == pytest.approx(near.precision)


def test_only_a_few_images_are_read_ahead():
    """However many there are, they aren't all in memory."""
    asked = []

    class Source:
        def __len__(self):
            return 5000

        def __getitem__(self, index):
            asked.append(index)
            return np.zeros((2, 2, 3), np.uint8)

    images = image_sets.ImageSet("many", Source(), lambda: "", 0)
    for i, _ in zip(range(1500), image_sets.Reading(images), strict=False):
        assert max(asked) <= i + image_sets.AHEAD


def test_sub_folders_are_classes(tmp_path, capsys):
    """Nothing differs within one of them here, but between them."""
    for side in ("real", "fake"):
        for label, image in zip("abc", noise(3), strict=True):
            (tmp_path / side / label).mkdir(parents=True)
            for i in range(4):
                Image.fromarray(image).save(tmp_path / side / label / f"{i}.png")
    argv = [f"--real={tmp_path / 'real'}", f"--fake={tmp_path / 'fake'}", "--metrics=diversity"]
    for _ in range(2):  # made, and from the cache
        assert scored(capsys, *argv)["diversity_of_real_random"] < 1e-3
    assert scored(capsys, *argv, "--num=4")["diversity_random"] < 1e-3
    assert evaluate.main([*argv[:2], "--metrics=copies"]) == 2
    assert "copies of each other" in capsys.readouterr().err


BOTH = "--real=real.npz --fake=fake.npz "
MISTAKES = {
    "": "--real is missing",
    "--real=real": "--fake is missing",
    BOTH + "--metrics=fidd": "did you mean 'fid'",
    BOTH + "--resamples=1": "at least 2",
    BOTH + "--resamples=5 --num=3": "no halves",
    BOTH + "--metrics=fid_infinity": "it takes 20",
    BOTH + "--metrics=class_accuracy": "makes no logits",
    BOTH + "--weights=raw": "is of a run",
    BOTH + "--metrics=copies --nearest=x.txt": "ends in .png",
    BOTH + "--anyway": "for --table",
    BOTH + "--save-stats=real.npz": "is there already",
    BOTH + "--metrics=l1 --each=torn.npz": "add --overwrite",
    "--table=a": "two runs or more",
    "--table=a,b": "a",
    "--table=a,b --num=5": "isn't of --table",
    "--features=widths.npz --metrics=psnr": "features alone",
    BOTH + "--step=5": "add --workdir=RUN",
    BOTH + "--metrics=,": "--metrics names none",
    BOTH + "--features=resnet": "it takes inception",
    BOTH + "--features=inception": "needs --weights=FILE",
    BOTH + "--features=inception --weights=real.npz": "real.npz",
    BOTH + "--weights=real.npz": "leave it out",
    BOTH + "--metrics=is": "makes no logits",
    BOTH + "--metrics=kid": "--subset_size=11",
    BOTH + "--metrics=prdc --neighbours=11": "a smaller --neighbours",
    BOTH + "--metrics=prdc --wide_neighbours=12": "a smaller --wide_neighbours",
    BOTH + "--subsets=-1": "a number from 0",
    BOTH + "--subset_size=1": "at least 2 of each",
    BOTH + "--num=1": "at least 2",
    BOTH + "--splits=0": "a number from 1",
    "--real=absent --fake=fake.npz": "absent does not exist",
    "--real=absent.npz --fake=fake.npz": "absent.npz does not exist",
    "--real=empty --fake=fake.npz": "it is empty",
    "--real=real.npz --fake=large.npz": "--size=8 fits all",
    "--real=real.npz --fake=flat.npz": "images are [N, H, W, C]",
    "--real=real.npz --fake=bright.npz": "values from 0 to 255",
    "--real=real.npz --fake=whole.npz": "int64",
    "--real=real.npz --fake=torn.npz": "can't be read as arrays",
    "--real=stats.npz --fake=fake.npz": "the fake one of 960",
    "--real=stats.npz --fake=fake.npz --metrics=prdc": "statistics alone",
    "--real=stats.npz --fake=fake.npz --save_stats=x.npz": "statistics already",
    "--real=odd.npz --fake=fake.npz": "[D] and [D, D]",
    "--features=widths.npz": "features of 3 numbers (real) and 4 (fake)",
    "--features=widths.npz --real=real": "leave out --real",
    "--features=one.npz": "at least 2",
    "--features=nan.npz": "NaN",
    "--features=real.npz": "no array `real`",
}


@pytest.fixture(scope="module")
def mistaken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mistaken")
    (folder / "empty").mkdir()
    (folder / "torn.npz").write_bytes(b"PK\x03\x04 torn")
    eye = np.eye(3)
    for name, arrays in {
        "real": {"images": noise(12)},
        "fake": {"images": noise(11)},
        "large": {"images": noise(11, 16)},
        "flat": {"images": np.zeros((4, 9))},
        "bright": {"images": noise(4).astype(np.float32)},
        "whole": {"images": noise(4).astype(np.int64)},
        "stats": {"mu": np.zeros(3), "sigma": eye},
        "odd": {"mu": np.zeros(3), "sigma": np.eye(4)},
        "widths": {"real": eye, "fake": np.eye(4)},
        "one": {"real": eye, "fake": eye[:1]},
        "nan": {"real": eye, "fake": eye * np.nan},
    }.items():
        np.savez(folder / f"{name}.npz", **arrays)
    return folder


@pytest.mark.parametrize("words", MISTAKES)
def test_mistakes(words, mistaken, monkeypatch, capsys):
    monkeypatch.chdir(mistaken)
    assert evaluate.main(words.split()) == 2
    said = capsys.readouterr()
    assert MISTAKES[words] in said.err
    assert said.err.startswith("error: ")
    assert "Traceback" not in said.err
    assert not said.out
