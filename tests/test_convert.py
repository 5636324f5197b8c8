"""Published weights become a run, and a run's weights published ones."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from jaxgan import (
    commandline,
    convert,
    experiment,
    fields,
    main,
    state_dicts,
    train,
    trained,
    translate,
)
from jaxgan.checkpoint import Checkpoints

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden" / "cyclegan.npz"
FILES = Path(__file__).parent / "weights"
NAMES = {
    "generator_AtoB": "G_A",
    "generator_BtoA": "G_B",
    "discriminator_A": "D_B",
    "discriminator_B": "D_A",
}


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDEN))


@pytest.fixture(scope="module")
def files(golden, tmp_path_factory):
    """The reference's four networks, each in a file named as the reference names it."""
    folder = tmp_path_factory.mktemp("reference")
    for name in NAMES.values():
        arrays = {n.removeprefix(f"{name}/"): a for n, a in golden.items() if n.startswith(name)}
        arrays = {n: a for n, a in arrays.items() if n.startswith("model.")}
        (folder / f"{name}.safetensors").write_bytes(state_dicts.to_safetensors(arrays))
    return folder


def given(files, *nets, prefix="--"):
    return [f"{prefix}{net}={files / NAMES[net]}.safetensors" for net in nets or NAMES]


@pytest.fixture(scope="module")
def run(files, tmp_path_factory):
    """All four as a run."""
    folder = tmp_path_factory.mktemp("converted") / "run"
    assert convert.main([f"--workdir={folder}", *given(files)]) == 0
    return folder


def test_reference_weights_give_the_references_outputs(run, golden, tmp_path):
    """Through `convert` and `translate`, as arrays and as pictures."""
    image = golden["batches"][0, 0, 0].transpose(1, 2, 0)
    theirs = golden["fake_B_before"][0].transpose(1, 2, 0)
    ours = translate.translator(trained.open_run(str(run)), "AtoB")(image)
    assert np.abs(ours - theirs).max() / np.abs(theirs).max() < 1e-5

    Image.fromarray(image).save(tmp_path / "a.png")
    words = [f"--workdir={run}", "--direction=AtoB", f"--input={tmp_path / 'a.png'}"]
    assert translate.main([*words, f"--output={tmp_path / 'out'}"]) == 0
    picture = np.asarray(Image.open(tmp_path / "out" / "a.png"))
    assert np.abs(picture - (theirs + 1) * 127.5).max() < 0.51


def test_each_network_lies_where_it_belongs(run, golden):
    """`discriminator_A` judges domain A: the reference calls it D_B."""
    arrays = Checkpoints(run, read_only=True).arrays(0)
    for net, name in NAMES.items():
        first = "first" if net.startswith("generator") else "conv_0"
        theirs = golden[f"{name}/model.{1 if first == 'first' else 0}.weight"]
        assert np.array_equal(
            arrays[f"params/{net}/{first}/kernel"], theirs.transpose(2, 3, 1, 0).astype(np.float32)
        )


def test_there_and_back(run, golden, tmp_path, capsys):
    out = tmp_path / "published"
    assert convert.main([f"--workdir={run}", f"--export={out}"]) == 0
    assert "latest_net_D_B.safetensors: discriminator_A of step 0" in capsys.readouterr().out
    for name in NAMES.values():
        back = state_dicts.read(out / f"latest_net_{name}.safetensors")
        theirs = {n.removeprefix(f"{name}/"): a for n, a in golden.items() if n.startswith(name)}
        theirs = {n: a for n, a in theirs.items() if n.startswith("model.")}
        assert set(back) == set(theirs)
        for leaf, array in back.items():
            assert np.array_equal(array, theirs[leaf].astype(np.float32)), leaf


def test_nothing_is_replaced_unless_told(run, tmp_path, capsys):
    out = tmp_path / "published"
    out.mkdir()
    (out / "latest_net_G_A.safetensors").write_text("mine")
    words = [f"--workdir={run}", f"--export={out}"]
    assert convert.main(words) == 2
    assert "latest_net_G_A.safetensors would be replaced" in capsys.readouterr().err
    assert [p.name for p in out.iterdir()] == ["latest_net_G_A.safetensors"]
    assert convert.main([*words, "--overwrite"]) == 0
    assert len(list(out.iterdir())) == 4


@pytest.mark.parametrize("name", ["zip", "older"])
def test_one_network_of_a_pth_file(name, tmp_path, capsys):
    run = tmp_path / "run"
    words = [f"--workdir={run}", f"--generator_BtoA={FILES / name}.pth"]
    assert convert.main(words) == 0
    said = capsys.readouterr().out
    assert f"{run} holds generator_BtoA" in said
    assert "--direction=BtoA" in said
    assert "--direction=AtoB" not in said
    assert "--config.model.generator.width=2 --config.model.generator.blocks=1" in said
    opened = trained.open_run(str(run))
    assert set(opened.weights) == {"generator_BtoA"}
    g = opened.config.model.generator
    assert (g.width, g.blocks, g.norm, g.padding) == (2, 1, "instance", "reflect")
    arrays = state_dicts.read(FILES / "zip.pth")
    kernel = opened.weights["generator_BtoA"]["params"]["last"]["kernel"]
    assert np.array_equal(kernel, arrays["model.18.weight"].transpose(2, 3, 1, 0))

    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    use = [f"--workdir={run}", f"--input={tmp_path / 'a.png'}", f"--output={tmp_path / 'out'}"]
    assert translate.main([*use, "--direction=AtoB"]) == 2
    assert "this run doesn't translate AtoB; try --direction=BtoA" in capsys.readouterr().err
    # The same command again finds its work done.
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    assert convert.main(words) == 0
    assert before == {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}


def test_training_starts_from_them_and_not_over_them(tmp_path, monkeypatch, capsys):
    """`init.workdir` takes them; the folder itself isn't trained in."""
    taken = {}
    monkeypatch.setattr(train, "train", lambda *_, **named: taken.update(named) or 0)
    monkeypatch.chdir(tmp_path)
    words = ["--workdir=published", f"--generator_AtoB={FILES / 'zip.pth'}"]
    assert convert.main(words) == 0
    start = [f"--config={ROOT / 'configs/cyclegan.py'}:smoke", "--config.model.generator.width=2"]
    source = ["--config.init.workdir=published", "--config.init.nets=generator_AtoB"]
    assert main.main([*start, *source]) == 0
    arrays, nets = taken["source"]
    assert nets == ["generator_AtoB"]
    assert np.array_equal(
        arrays["params/generator_AtoB/last/kernel"],
        state_dicts.read(FILES / "zip.pth")["model.18.weight"].transpose(2, 3, 1, 0),
    )
    capsys.readouterr()
    assert main.main([*start, source[0], "--workdir=b"]) == 2
    assert "name fewer nets in init.nets" in capsys.readouterr().err
    assert main.main([*start, "--workdir=published"]) == 2
    err = capsys.readouterr().err
    assert "converted.generator_AtoB" in err
    assert "--workdir=published-2 --config.init.workdir=published" in err


def test_all_padding_and_norms(tmp_path):
    """What one finds published: zero padding, batch norm, dropout, PixelGAN."""
    words = ["--config.model.generator.padding=zero", "--config.model.generator.norm=batch"]
    words += ["--config.model.generator.dropout=0.5", "--config.model.discriminator.kind=pixel"]
    config = f"--config={ROOT / 'configs/cyclegan.py'}:smoke"
    config = fields.resolve(commandline.parse([config, *words], {}, "test").config)
    state, rng = experiment.build(config, 1).template(), np.random.default_rng(0)
    nets = {n: state.variables(n) for n in NAMES}
    nets = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(x.dtype), nets)
    run = trained.Run(config, None, nets, 0)
    convert.export(run, str(tmp_path / "a"))
    files = {n: str(tmp_path / f"a/latest_net_{NAMES[n]}.safetensors") for n in NAMES}
    assert convert.main([f"--workdir={tmp_path / 'b'}", *(f"--{n}={files[n]}" for n in files)]) == 0
    back = trained.open_run(str(tmp_path / "b"))
    assert back.config.model.generator.to_dict() == config.model.generator.to_dict()
    assert back.config.model.discriminator.kind == "pixel"
    for net in NAMES:
        ours, theirs = back.weights[net], run.weights[net]
        assert set(ours) == set(theirs)
        for part in ours:
            assert jax.tree.all(jax.tree.map(np.array_equal, ours[part], theirs[part]))


def write(path, arrays):
    path.write_bytes(state_dicts.to_safetensors(arrays))


def test_mistakes(files, run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    generator, discriminator = (
        state_dicts.read(files / f"{name}.safetensors") for name in ("G_A", "D_A")
    )
    short = {n: a for n, a in generator.items() if not n.startswith("model.26.")}
    write(tmp_path / "short.safetensors", short)
    wide = {n: np.repeat(a, 2, 0) if n.startswith("model.4.") else a for n, a in generator.items()}
    write(tmp_path / "wide.safetensors", wide)
    write(tmp_path / "nan.safetensors", generator | {"model.1.bias": np.full(4, np.nan)})
    grey = generator | {"model.1.weight": generator["model.1.weight"][:, :1]}
    write(tmp_path / "grey.safetensors", grey)
    deep = {n.replace("model.", "module.up."): a for n, a in generator.items()}
    write(tmp_path / "other.safetensors", deep)
    write(tmp_path / "discriminator.safetensors", discriminator)
    Path("harm.pth").write_bytes(pickle.dumps(Harm(str(tmp_path / "harmed"))))
    Path("notes.txt").write_text("mine")
    Path("taken").mkdir()
    Path("taken/notes.txt").write_text("mine")

    def written():
        return sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*"))

    before = written()

    def refused(*argv):
        assert convert.main(list(argv)) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: ")
        assert "Traceback" not in err
        assert err.count("\n") == 1 or "another config" in err
        assert written() == before
        return err

    new = "--workdir=new"
    good = given(files, "generator_AtoB")[0]
    assert "try: python -m jaxgan.convert --workdir=" in refused()
    assert "either networks or --export" in refused(new)
    assert "either networks or --export" in refused(new, good, "--export=x")
    assert "either networks or --export" in refused(good)
    assert "did you mean --generator_AtoB" in refused(new, "--generator_AtB=x.pth")
    for theirs, ours in (
        ("G_A", "generator_AtoB"),
        ("generator_B", "generator_BtoA"),
        ("D_A", "discriminator_B"),
    ):
        assert f"did you mean --{ours}=x.pth?" in refused(new, f"--{theirs}=x.pth")
    assert "absent.pth does not exist" in refused(new, "--generator_AtoB=absent.pth")
    assert "taken is a folder" in refused(new, "--generator_AtoB=taken")
    assert "notes.txt can't be read as weights" in refused(new, "--generator_AtoB=notes.txt")
    assert "harm.pth is refused: it asks for" in refused(new, "--generator_AtoB=harm.pth")
    assert "asks for torch.nn" in refused(new, f"--generator_AtoB={FILES / 'network.pth'}")
    assert "missing model.26.weight" in refused(new, "--generator_AtoB=short.safetensors")
    message = refused(new, "--generator_AtoB=wide.safetensors")
    assert "of another architecture: params/down_0/bias is [16] there and [8] here" in message
    assert "model.1.bias holds NaN" in refused(new, "--generator_AtoB=nan.safetensors")
    assert "takes 1 channels" in refused(new, "--generator_AtoB=grey.safetensors")
    message = refused(new, "--generator_AtoB=other.safetensors")
    assert "--generator_AtoB=other.safetensors: no published ResNet generator" in message
    message = refused(new, "--generator_AtoB=discriminator.safetensors")
    assert "no published ResNet generator" in message
    message = refused(new, f"--discriminator_A={files / 'G_A.safetensors'}")
    assert "no published PatchGAN discriminator: " in message
    message = refused(new, good, f"--generator_BtoA={FILES / 'zip.pth'}")
    assert "model.generator.width=4 and --generator_BtoA has 2" in message
    message = refused(new, good, "--config.model.generator.width=64")
    assert "--config.model.generator.width=64 doesn't fit the files" in message
    assert "no config file" in refused(new, good, "--config=absent.py")
    assert "taken holds files (notes.txt) and no run" in refused("--workdir=taken", good)
    assert "it is a file" in refused("--workdir=notes.txt", good)
    message = refused(f"--workdir={run}", good)
    assert "another config" in message
    assert "converted.generator_BtoA" in message

    assert "absent holds no run" in refused("--workdir=absent", "--export=x")
    assert "no checkpoint 5; there is 0" in refused(f"--workdir={run}", "--export=x", "--step=5")
    assert "no averaged weights" in refused(f"--workdir={run}", "--export=x", "--weights=ema")
    message = refused(f"--workdir={run}", "--export=notes.txt")
    assert "a part of that path is a file. Name another folder." in message
    assert not Path("harmed").exists()


class Harm:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_as_it_is_typed(tmp_path):
    """In another folder than the checkout, without PyTorch."""
    words = [sys.executable, "-m", "jaxgan.convert", "--workdir", "run"]
    words += ["--generator_AtoB", str(FILES / "zip.pth")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("run holds generator_AtoB. To use it:\n")


def test_help(capsys):
    assert convert.main(["--help"]) == 0
    assert "calls it `D_B`" in capsys.readouterr().out
