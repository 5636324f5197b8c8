"""Mistakes at noise to image: exit code 2, a sentence that says what to do, nothing written."""

import json

import numpy as np
import pytest
import test_mistakes

from jaxgan import main

desk, mistake, images = test_mistakes.desk, test_mistakes.mistake, test_mistakes.images


def small(config, *overrides):
    """A config's smoke preset with fields of its own."""
    return [f"--config=configs/{config}.py:smoke", *(f"--config.{word}" for word in overrides)]


G, D = "model.generator", "model.discriminator"
# (config, fields) -> words of the message.
TYPED = [
    # losses
    ("dcgan loss.adversarial=bse", ["loss.adversarial='bse'", "did you mean 'bce'?"]),
    ("dcgan loss.smoothing=1", ["--config.loss.smoothing=1.0", "less than 1"]),
    ("sngan loss.smoothing=0.1", ["loss.smoothing", "loss.adversarial=bce or saturating"]),
    ("lsgan loss.smoothing=0.1", ["loss.smoothing", "--config.loss.labels.real=0.9"]),
    ("dcgan loss.labels.wanted=0", ["loss.labels", "lsgan", "wanted=1"]),
    ("acgan loss.classes.generator=-1", ["--config.loss.classes.generator=-1.0", "0 or more"]),
    (
        "wgan_gp loss.adversarial=relativistic train.generator_multiple=2",
        ["compares each fake with a real image", "set it to 1"],
    ),
    # penalties
    ("dcgan penalty.gp.weight=10", ["penalty.gp ", "batch norm", f"--config.{D}.norm=none"]),
    ("dcgan penalty.r2.weight=1", ["penalty.r2 ", "batch norm", f"--config.{D}.norm=none"]),
    ("wgan_gp penalty.gp.weight=-1", ["--config.penalty.gp.weight=-1.0", "0 or more"]),
    ("wgan_gp penalty.gp.every=0", ["--config.penalty.gp.every=0", "1 or more"]),
    (
        "wgan_gp penalty.gp.every=4 penalty.r1.weight=1 penalty.r1.every=16",
        ["every=4", "every=16", "the same `every`, or 1"],
    ),
    ("wgan penalty.clip.limit=-0.01", ["--config.penalty.clip.limit=-0.01", "0 or more"]),
    (f"wgan {D}.spectral=true", ["penalty.clip", "--config.penalty.clip.limit=0"]),
    ("wgan penalty.gp=10", ["--config.penalty.gp is a group of fields"]),
    # moves
    ("dcgan train.first=generators", ["train.first='generators'", "did you mean 'generator'?"]),
    (
        "wgan train.first=generator train.handed=true",
        ["train.first=generator", "the same fakes", "--config.train.handed=false"],
    ),
    ("dcgan train.generator_multiple=2", ["train.handed", "--config.train.handed=false"]),
    ("wgan train.critic_rounds=0", ["--config.train.critic_rounds=0", "1 or more"]),
    ("dcgan train.accumulate=3", ["data.batch_size=8", "train.accumulate=3"]),
    ("wgan train.warmup.rounds=7", ["train.warmup.rounds=7", "train.critic_rounds=5", "multiple"]),
    ("wgan train.warmup.rounds=100", ["never come", "--config.train.warmup.steps=25"]),
    (
        "wgan train.warmup.rounds=10 train.warmup.steps=1 train.first=generator",
        ["before the generator moves", "train.first=discriminator"],
    ),
    # networks
    (f"dcgan {G}.kind=resnt", [f"{G}.kind='resnt'", "did you mean 'resnet'?"]),
    (f"dcgan {D}.kind=patch", [f"{D}.kind='patch'", "cgan_mlp, dcgan, mlp, resnet"]),
    (f"gan {G}.widths=a,b", [f"{G}.widths='a,b'", "as 256,512"]),
    (f"gan {D}.widths=256,0", [f"{D}.widths='256,0'", "as 256,512"]),
    (f"gan {D}.dropout=1.0", [f"--config.{D}.dropout=1.0", "less than 1"]),
    (f"dcgan {G}.dropout=0.5", [f"{G}.dropout=0.5 is for", "cgan_mlp", f"--config.{G}.dropout=0"]),
    (
        f"dcgan {D}.maxout=5 {D}.init_range=0.1",
        [f"{D}.maxout=5 is for", f"--config.{D}.maxout=0 --config.{D}.init_range=0"],
    ),
    (f"gan {G}.norm=instance", [f"{G}.norm=instance", "no pixels", f"--config.{G}.norm=batch"]),
    (f"gan {D}.spread=true", [f"{D}.spread=true is for", f"--config.{D}.spread=false"]),
    (f"gan {D}.norm=instance", [f"{D}.norm=instance", "no pixels", f"--config.{D}.norm=batch"]),
    (f"cgan {G}.kind=cgan_mlp", ["has no norm", f"--config.{G}.norm=none"]),
    (
        f"cgan {G}.kind=cgan_mlp {G}.norm=none {G}.widths=5,5",
        [f"{G}.widths='5,5'", "three widths"],
    ),
    (f"dcgan {D}.pool=max", [f"--config.{D}.pool=max", "mean, sum"]),
    ("dcgan model.latent.law=gauss", ["--config.model.latent.law=gauss", "normal, uniform"]),
    # sizes
    ("dcgan data.image_size=24", ["data.image_size=24", "--config.data.image_size=32"]),
    (
        f"wgan_gp data.image_size=48 {G}.kind=resnet {D}.kind=resnet",
        ["data.image_size=48", "residual", "--config.data.image_size=64"],
    ),
    (
        f"wgan_gp data.image_size=12 {G}.kind=mlp {G}.norm=none {D}.kind=resnet",
        ["data.image_size=12", "residual", "--config.data.image_size=16"],
    ),
    ("gan data.image_size=4", ["data.image_size=4", "--config.data.image_size=8"]),
    ("gan data.channels=2", ["data.channels=2", "1 (grey) or 3, not 2"]),
    ("gan data.dtype=float32", ["data.dtype=float32", "glyphs"]),
    # classes
    (
        "cgan model.conditioning=projektion",
        ["--config.model.conditioning=projektion", "projection"],
    ),
    ("cgan data.classes=7", ["data.classes=7", "data.name=glyphs has 10", "leave it at 0"]),
    (f"gan {G}.kind=cgan_mlp", ["given classes", "--config.model.conditioning=concatenation"]),
    (
        f"acgan {D}.kind=cgan_mlp {D}.norm=none",
        ["takes the label into its layers", "--config.model.conditioning=concatenation"],
    ),
    (
        "dcgan checkpoint.best=class_accuracy",
        ["class_accuracy", "--config.checkpoint.best=readable"],
    ),
    ("dcgan checkpoint.best=fid", ["checkpoint.best='fid' is no score", "readable"]),
    # the rest
    ("dcgan task=point", ["--config.task=point", "labelled, points"]),
    ("dcgan augment.noise.deviation=-1", ["--config.augment.noise.deviation=-1.0", "0 or more"]),
    ("dcgan optimizer.generator.name=moment", ["optimizer.generator.name", "'momentum'"]),
    ("dcgan optimizer.generator.decay=0.5", ["optimizer.generator.decay=0.5", "1 or more"]),
    ("dcgan init.nets=G", ["no player or net 'G'", "there are generator, discriminator\n"]),
    ("dcgan data.name=glyph", ["data.name='glyph'", "did you mean 'glyphs'?"]),
    ("dcgan data.name=scenes", ["data.name='scenes'", "glyphs", "mnist"]),
]


@pytest.mark.parametrize(("typed", "words"), TYPED, ids=[typed for typed, _ in TYPED])
def test_what_is_typed(desk, capsys, typed, words):
    message = mistake(desk, capsys, *small(*typed.split())) + "\n"
    for word in words:
        assert word in message


def test_an_off_switch_is_enough(desk):
    """What else belongs to a part that is off says nothing."""
    assert main.main(small("wgan_gp", "penalty.gp.weight=0", "penalty.gp.every=4")) == 0
    assert main.main(small("lsgan", "loss.adversarial=hinge", "augment.noise.images=9")) == 0


# Data


def test_classes_of_images_without_any(desk, capsys):
    images(desk / "flat", 30)
    np.savez(desk / "flat.npz", image=np.zeros((30, 20, 20, 3), np.uint8))
    for config, kind, data in [
        ("cgan", "concatenation", ("folder", "flat")),
        ("acgan", "auxiliary", ("arrays", "flat.npz")),
    ]:
        argv = small(config, f"data.name={data[0]}", f"data.path={data[1]}")
        message = mistake(desk, capsys, *argv)
        assert f"model.conditioning={kind} needs classes" in message
        assert f"data.name={data[0]} has none" in message
        assert "--config.model.conditioning=none" in message
        assert main.main([*argv, "--config.model.conditioning=none"]) == 0
    argv = small("dcgan", "data.name=folder", "data.path=flat", "data.classes=10")
    assert "data.classes=10, but data.name=folder has 1; leave it at 0" in mistake(
        desk, capsys, *argv
    )


def test_a_score_without_a_judge(desk, capsys):
    images(desk / "sorted" / "cat", 30)
    argv = small("dcgan", "data.name=folder", "data.path=sorted", "checkpoint.best=readable")
    message = mistake(desk, capsys, *argv)
    assert "checkpoint.best='readable' needs a judge" in message
    assert "built-in glyphs" in message


@pytest.mark.parametrize(
    ("preset", "wanted"),
    [
        ("mnist", "train-images-idx3-ubyte"),
        ("cifar10", "cifar-10-batches-py"),
        ("folder", "a folder of images for each class"),
    ],
)
def test_published_data_that_is_not_there(desk, capsys, preset, wanted):
    argv = [f"--config=configs/dcgan.py:{preset},smoke"]
    for path, words in [
        ("", "data.path is not set"),
        ("gone", "data.path=gone does not exist"),
        ("notes.txt", "notes.txt"),
    ]:
        message = mistake(desk, capsys, *argv, *([f"--config.data.path={path}"] if path else []))
        assert words in message
        assert wanted.lower() in message.lower()
        assert "--config.data.path=PATH" in message or path == "notes.txt"


def test_folders_that_are_not_sorted(desk, capsys):
    images(desk / "mixed" / "cat")
    images(desk / "mixed" / "dog")
    (desk / "mixed" / "dog" / "0.png").rename(desk / "mixed" / "a.png")
    argv = small("cgan", "data.name=folder", "data.path=mixed")
    message = mistake(desk, capsys, *argv)
    assert "mixed has images such as a.png beside folders of images such as cat" in message


# A run's folder


def test_a_folder_with_another_config(desk, capsys):
    run = [*small("wgan_gp"), "--workdir=run"]
    assert main.main(run) == 0
    assert main.main([*run, "--config.evaluate.num=3"]) == 0
    for field, was, now in [
        ("penalty.gp.weight", "10.0", "1.0"),
        ("train.critic_rounds", "5", "1"),
        ("model.conditioning", '"none"', '"projection"'),
        ("model.discriminator.spectral", "false", "true"),
        ("ema.half_life", "10000.0", "10.0"),
    ]:
        word = f"--config.{field}={json.loads(now)}".lower()
        message = mistake(desk, capsys, *run, word)
        assert f"{field}: {was} -> {now}" in message
        assert f"{word} --workdir=run-2" in message
