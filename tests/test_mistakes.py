"""What a user types or brings that is wrong: exit code 2, a sentence or two, nothing written."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgan import benchmark, main, train, workdir

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
SMOKE = "--config=configs/cyclegan.py:smoke"
FOLDER = [SMOKE, "--config.data.name=folder"]


@pytest.fixture
def desk(tmp_path, monkeypatch, capsys):
    """A current folder with configs/; training itself is left out."""
    shutil.copytree(CONFIGS, tmp_path / "configs", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "notes.txt").write_text("mine\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(train, "train", lambda *_, **__: 0)
    return tmp_path


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }


def mistake(desk: Path, capsys, *argv: str, command=main.main) -> str:
    """The message of a command that has to be refused without a trace."""
    capsys.readouterr()
    before = files(desk)
    assert command(list(argv)) == 2
    assert files(desk) == before
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert "traceback" not in err.lower()
    assert err.count("\n") == 1 or "another config" in err
    assert len(re.findall(r"[.;?!] [A-Z]", err)) <= 1, "more than two sentences"
    return err.strip()


TYPED = [
    # no config, or none that can be used
    ([], ["no config is given", "--config=configs/cyclegan.py"]),
    (["--config"], ["no config is given"]),
    (["--config="], ["no config is given"]),
    (["--config=configs/cylegan.py"], ["no config file", "did you mean 'configs/cyclegan.py'?"]),
    (["--config=cyclegan"], ["no config file", "did you mean 'configs/cyclegan.py'?"]),
    (["--config=nothing"], ["no config file", "there is configs/acgan.py"]),
    (["--config=configs"], ["no config file", "configs/cyclegan.py"]),
    (["--config=notes.txt"], ["not a Python file", "get_config()"]),
    ([SMOKE, SMOKE], ["given 2 times"]),
    (["--config=configs/cyclegan.py:smok"], ["no preset 'smok'", "did you mean 'smoke'?"]),
    (["--config=configs/cyclegan.py:smoke,x"], ["no preset 'x'", "horse2zebra"]),
    # fields and flags
    ([SMOKE, "--config.trian.steps=3"], ["--config.trian.steps;", "--config.train.steps=3?"]),
    ([SMOKE, "--config.train.step=3"], ["did you mean --config.train.steps=3?"]),
    ([SMOKE, "--config.steps=3"], ["did you mean --config.train.steps=3?"]),
    ([SMOKE, "--config.optimiser.generator.b1=0"], ["--config.optimizer.generator.b1=0?"]),
    ([SMOKE, "--config.train.foo=3"], ["in --config.train there is accumulate, epochs"]),
    ([SMOKE, "--config.foo=3"], ["there is", "optimizer"]),
    ([SMOKE, "--config.seed.x=3"], ["unknown field --config.seed.x"]),
    ([SMOKE, "--config.=3"], ["unknown field --config."]),
    ([SMOKE, "--config.train=3"], ["group of fields", "--config.train."]),
    ([SMOKE, "--workdr=x"], ["unknown flag --workdr", "did you mean --workdir=x?"]),
    ([SMOKE, "--steps=3"], ["did you mean --config.train.steps=3?"]),
    ([SMOKE, "-x"], ["unknown flag -x", "--help"]),
    ([SMOKE, "--flagfile=x"], ["unknown flag --flagfile"]),
    ([SMOKE, "junk"], ["'junk'", "--help"]),
    ([SMOKE, "config.seed=3"], ["did you mean --config.seed=3?"]),
    ([SMOKE, "--"], ["'--'"]),
    ([SMOKE, "--config.train.steps=3", "10"], ["'10'"]),
    ([SMOKE, "--workdir"], ["--workdir needs a value"]),
    ([SMOKE, "--workdir", "--config.seed=2"], ["--workdir needs a value"]),
    ([SMOKE, "--config.seed"], ["--config.seed needs a value, such as --config.seed=0"]),
    ([SMOKE, "--noconfig.seed"], ["--noconfig.seed", "--config.seed=..."]),
    # values of another type
    ([SMOKE, "--config.seed=1.5"], ["--config.seed=1.5", "whole number"]),
    ([SMOKE, "--config.seed="], ["--config.seed=", "whole number"]),
    ([SMOKE, "--config.train.steps=1e3"], ["--config.train.steps=1e3", "whole number"]),
    ([SMOKE, "--config.data.flip=maybe"], ["--config.data.flip=maybe", "true or false"]),
    ([SMOKE, "--config.loss.cycle=abc"], ["--config.loss.cycle=abc", "number, such as 10.0"]),
    ([SMOKE, "--config.loss.cycle=nan"], ["finite number"]),
    ([SMOKE, "--config.loss.cycle=-inf"], ["finite number"]),
    ([SMOKE, "--config.train.epochs=1e400"], ["--config.train.epochs=1e400", "finite number"]),
    # values out of range
    ([SMOKE, "--config.train.steps=-1"], ["--config.train.steps=-1", "0 or more"]),
    ([SMOKE, "--config.train.steps", "-1"], ["--config.train.steps=-1", "0 or more"]),
    ([SMOKE, "--config.train.steps=0"], ["train.steps=0 and train.epochs=0", "set one of them"]),
    ([SMOKE, "--config.train.steps=2", "--config.train.epochs=2"], ["set one of them"]),
    ([SMOKE, f"--config.train.steps={10**30}"], ["lower --config.train.steps"]),
    ([SMOKE, "--config.train.epochs=1e308"], ["--config.train.epochs", "less than"]),
    ([SMOKE, "--config.train.accumulate=2"], ["data.batch_size=1", "train.accumulate=2"]),
    ([SMOKE, "--config.data.batch_size=0"], ["--config.data.batch_size=0", "1 or more"]),
    ([SMOKE, "--config.seed=-1"], ["--config.seed=-1", "at least 0"]),
    ([SMOKE, f"--config.seed={2**31}"], ["less than 2147483648"]),
    ([SMOKE, "--config.loss.cycle=-1"], ["--config.loss.cycle=-1", "0 or more"]),
    ([SMOKE, "--config.optimizer.generator.b1=1"], ["optimizer.generator.b1=1", "less than 1"]),
    ([SMOKE, "--config.data.channels=0"], ["--config.data.channels=0", "1 or more"]),
    ([SMOKE, "--config.data.dtype=float16"], ["one of uint8, float32"]),
    ([SMOKE, "--config.data.low=2"], ["data.low=2.0 is not below data.high=1.0"]),
    ([SMOKE, "--config.data.high=9"], ["--config.data.high", "--config.data.dtype=float32"]),
    ([SMOKE, "--config.model.discriminator.layers=9"], ["layers=9", "1 to 5"]),
    ([SMOKE, "--config.checkpoint.keep=0"], ["--config.checkpoint.keep=0", "1 or more"]),
    # names
    ([SMOKE, "--config.precision=float7"], ["one of float32, bfloat16, float64"]),
    ([SMOKE, "--config.game=cycle"], ["game='cycle'", "did you mean 'cyclegan'?"]),
    ([SMOKE, "--config.game=:"], ["game=':'", "MODULE:FUNCTION"]),
    ([SMOKE, "--config.game=nosuch:game"], ["game='nosuch:game'", "MODULE.py"]),
    ([SMOKE, "--config.game=json:game"], ["json has no function 'game'"]),
    ([SMOKE, "--config.data.name=scens"], ["data.name='scens'", "did you mean 'scenes'?"]),
    ([SMOKE, "--config.loss.adversarial=lsgn"], ["did you mean 'lsgan'?"]),
    ([SMOKE, "--config.model.generator.kind=unet"], ["model.generator.kind='unet'", "'resnet'"]),
    ([SMOKE, "--config.model.generator.norm=layer"], ["one of instance, batch, none"]),
    ([SMOKE, "--config.optimizer.generator.name=adm"], ["optimizer.generator.name", "'adam'"]),
    ([SMOKE, "--config.optimizer.generator.schedule=step"], ["schedule", "constant, cosine"]),
    ([SMOKE, "--config.checkpoint.best=fid"], ["checkpoint.best='fid'", "psnr_AtoB"]),
    (
        [SMOKE, "--config.checkpoint.best=psnr_AtoB", "--config.evaluate.every=0"],
        ["needs scores", "--config.evaluate.every=2"],
    ),
    # sizes and devices
    ([SMOKE, "--config.data.image_size=18"], ["data.image_size=18", "--config.data.image_size=16"]),
    ([SMOKE, "--config.data.image_size=8"], ["image_size=8", "--config.data.image_size=16"]),
    ([SMOKE, "--config.data.image_size=0"], ["--config.data.image_size=0"]),
    ([SMOKE, "--config.model.discriminator.layers=3"], ["data.image_size=16", "24 or more"]),
    ([SMOKE, "--config.data.load_size=8"], ["data.load_size=8", "leave it at 0"]),
    ([SMOKE, "--config.data.load_size=40"], ["data.load_size=40", "leave it at 0"]),
    ([SMOKE, "--config.data.channels=1"], ["data.channels=1", "in colour"]),
    ([SMOKE, "--config.data.dtype=float32"], ["data.dtype=float32", "drawn in uint8"]),
    ([SMOKE, "--config.devices=64"], ["devices=64", "--config.devices=auto"]),
    ([SMOKE, "--config.devices=2"], ["devices=2", "batch of 1", "--config.devices=auto"]),
    ([SMOKE, "--config.devices=some"], ["--config.devices=some", "auto or a number"]),
    # another run's networks
    ([SMOKE, "--config.init.workdir=gone"], ["gone holds no run", "config.json"]),
    ([SMOKE, "--config.init.workdir=notes.txt"], ["notes.txt holds no run"]),
    ([SMOKE, "--config.init.nets=G"], ["no player or net 'G'", "generators", "generator_AtoB"]),
    ([SMOKE, "--config.init.nets="], ["--config.init.nets=generators,discriminators"]),
    ([SMOKE, "--config.init.step=x"], ["--config.init.step=x", "latest or a step's number"]),
    # folders that can't be one
    ([SMOKE, "--workdir=notes.txt"], ["notes.txt can't be a folder: it is a file"]),
    ([SMOKE, "--workdir=notes.txt/a/b"], ["notes.txt is a file", "--workdir="]),
    ([SMOKE, "--workdir=configs"], ["configs holds files (", "and no run", "--workdir"]),
    ([SMOKE, "--workdir=gs://bucket/run"], ["is a URL", "local folder"]),
    ([SMOKE, "--workdir=" + 300 * "a"], ["too long", "--workdir"]),
]


@pytest.mark.parametrize(("argv", "words"), TYPED, ids=lambda x: " ".join(x)[:60] or "nothing")
def test_what_is_typed(desk, capsys, argv, words):
    message = mistake(desk, capsys, *argv)
    for word in words:
        assert word in message


FAULTY = {
    "syntax": ("def get_config(:\n", ["syntax.py", "line 1", "SyntaxError"]),
    "raises": ("a = 1\nb = a / 0\n", ["'raises.py' fails at line 2", "ZeroDivisionError"]),
    "later": ("def get_config():\n    raise ValueError('hm')\n", ["line 2", "ValueError: hm"]),
    "needs": ("import nosuch\n", ["line 1", "nosuch"]),
    "leaves": ("import sys\nsys.exit(0)\n", ["line 2", "SystemExit"]),
    "lacks": ("x = 1\n", ["no function get_config()"]),
    "value": ("get_config = 5\n", ["no function get_config()"]),
    "dict": ("def get_config():\n    return {}\n", ["gives a dict", "ConfigDict"]),
    "binary": ("\0", ["binary.py", "null bytes"]),
    "short": (
        "from ml_collections import ConfigDict\n\ndef get_config():\n    return ConfigDict()\n",
        ["lacks a field 'train'", "add it there"],
    ),
}


@pytest.mark.parametrize("name", FAULTY)
def test_faulty_configs(desk, capsys, name):
    content, words = FAULTY[name]
    (desk / f"{name}.py").write_text(content)
    message = mistake(desk, capsys, f"--config={name}.py")
    for word in words:
        assert word in message


def test_presets_of_a_config_without_any(desk, capsys):
    (desk / "plain.py").write_text(FAULTY["short"][0])
    assert "no presets" in mistake(desk, capsys, "--config=plain.py:smoke")


def images(folder: Path, count: int = 3, broken: bool = False):
    folder.mkdir(parents=True)
    for i in range(count):
        Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(folder / f"{i}.png")
        if broken:
            (folder / f"{i}.png").write_bytes(b"no image")


def test_data_paths(desk, capsys):
    def refused(*words: str, path: str = "data"):
        message = mistake(desk, capsys, *FOLDER, f"--config.data.path={path}")
        for word in words:
            assert word in message

    refused("data.path is not set", "trainA and trainB", "--config.data.path=DIR", path="")
    refused("data.path=gone/on does not exist", str(desk), "--config.data.path=DIR", path="gone/on")
    refused("data.path=notes.txt is a file", "unpack", path="notes.txt")
    (desk / "data").mkdir()
    refused("data.path=data has no trainA and no trainB", "it is empty", "--config.data.path=DIR")
    images(desk / "data" / "trainA")
    refused("data.path=data has no trainB (it holds trainA)", "--config.data.path=DIR")
    (desk / "data" / "trainB").mkdir()
    refused("data/trainB has no images: it is empty", "JPEG, PNG")
    (desk / "data" / "trainB" / "read.me").write_text("soon")
    refused("data/trainB has no images, only other files such as read.me")
    images(desk / "data" / "trainB" / "all", broken=True)
    refused("None of the 3 files in data/trainB can be read, such as all/0.png: ", "whole JPEG")


def test_arrays_and_flags_that_differ(desk, capsys):
    def refused(*words: str, flags: tuple[str, ...] = ()):
        message = mistake(desk, capsys, *FOLDER, "--config.data.path=data", *flags)
        for word in words:
            assert word in message

    for folder, low in (("trainA", 0), ("trainB", -5.5)):
        (desk / "data" / folder).mkdir(parents=True)
        for i in range(3):
            array = np.linspace(low, 3000, 400 * 4, dtype=np.float32).reshape(20, 20, 4)
            np.save(desk / "data" / folder / f"{i}.npy", array)
    channels, dtype = "--config.data.channels=4", "--config.data.dtype=float32"
    all_of_them = "None of the 3 files in data/trainA can be read, such as 0.npy: "
    refused(all_of_them + "it is floating point with 4 channels", channels, dtype)
    refused(all_of_them, "should be .npy files of uint8 [H, W, 4].", dtype, flags=(channels,))
    refused(
        "6 of the 6 files in data have values outside of data.low=-1.0 to data.high=1.0",
        "from -5.5 to 3000.0, such as trainA/0.npy",
        "--config.data.low=-5.5 --config.data.high=3000.0,",
        flags=(channels, dtype),
    )


def test_a_data_set_that_is_not_prepared(desk, capsys):
    argv = [SMOKE, "--config.data.name=tfds:cycle_gan/horse2zebra", "--config.data.path=sets"]
    message = mistake(desk, capsys, *argv)
    assert "run: python -m jaxgan.data.prepare cycle_gan/horse2zebra --data_dir=sets" in message


def test_sources_of_ones_own_that_do_not_fit(desk, capsys, monkeypatch):
    source = "from jaxgan.data.datasets import Dataset\nimport numpy as np\n"
    source += "def grey(data):\n    x = [np.zeros((16, 16), np.uint8)]\n"
    source += "    return Dataset(x, x, x, x, False, ())\n"
    (desk / "greys.py").write_text(source)
    monkeypatch.syspath_prepend(desk)
    argv = [SMOKE, "--config.data.name=greys:grey", "--config.data.load_size=16"]
    message = mistake(desk, capsys, *argv)
    assert "gives train_A images of uint8 [16, 16]" in message
    assert "should be uint8 [H, W, 3], of at least 16 x 16 px" in message


def test_a_run_in_progress(desk, capsys):
    assert main.main([SMOKE, "--workdir=run"]) == 0
    with workdir.Lock("run"):
        message = mistake(desk, capsys, SMOKE, "--workdir=run")
    assert f"run is in use by another run (process {os.getpid()} on" in message


def test_a_published_data_set_that_was_never_unzipped(desk, capsys):
    message = mistake(desk, capsys, "--config=configs/cyclegan.py:horse2zebra,smoke")
    assert "data.path=datasets/horse2zebra does not exist" in message


def test_a_score_that_needs_the_truth(desk, capsys):
    images(desk / "data" / "trainA")
    images(desk / "data" / "trainB")
    best = "--config.checkpoint.best=psnr_BtoA"
    message = mistake(desk, capsys, *FOLDER, "--config.data.path=data", best)
    assert "--config.checkpoint.best=cycle_l1_BtoA" in message


def test_a_folder_with_another_config(desk, capsys):
    assert main.main([SMOKE, "--workdir=run"]) == 0
    assert main.main([SMOKE, "--workdir=run", "--config.checkpoint.keep=5"]) == 0
    message = mistake(desk, capsys, SMOKE, "--workdir=run", "--config.loss.cycle=5")
    assert "loss.cycle: 10.0 -> 5.0" in message
    assert f"python -m jaxgan.main {SMOKE} --config.loss.cycle=5 --workdir=run-2" in message


def test_networks_of_a_run_without_a_checkpoint(desk, capsys):
    assert main.main([SMOKE, "--workdir=run"]) == 0
    start = [SMOKE, "--config.init.workdir=run", "--workdir=new"]
    assert "init.workdir=run has no checkpoint" in mistake(desk, capsys, *start)
    assert "7" in mistake(desk, capsys, *start, "--config.init.step=7")


@pytest.fixture
def locked(desk):
    """A folder in which nobody may write."""
    folder = desk / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    immutable = os.access(folder, os.W_OK) and _chattr("+i", folder)  # root may write anyway
    if os.access(folder, os.W_OK):
        pytest.skip("nothing keeps root from writing here")
    yield folder
    if immutable:
        _chattr("-i", folder)
    folder.chmod(0o755)


def _chattr(change: str, folder: Path) -> bool:
    try:
        return subprocess.run(["chattr", change, folder], capture_output=True).returncode == 0
    except OSError:
        return False


def test_a_folder_that_is_read_only(desk, capsys, locked):
    for folder in ("locked", "locked/run"):
        message = mistake(desk, capsys, SMOKE, f"--workdir={folder}")
        assert "can't be written: no permission in" in message
        assert "--workdir=runs/mine" in message


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc")
def test_a_folder_where_none_can_be_made(desk, capsys):
    message = mistake(desk, capsys, SMOKE, "--workdir=/proc/run")
    assert "/proc/run can't be written" in message


def test_benchmark(desk, capsys):
    def refused(*argv: str) -> str:
        return mistake(desk, capsys, *argv, command=benchmark.main)

    assert "python -m jaxgan.benchmark --config=configs/cyclegan.py" in refused()
    assert "--steps=0" in refused(SMOKE, "--steps=0")
    assert "--warmup=-1" in refused(SMOKE, "--warmup=-1")
    assert "--steps=many doesn't fit: it takes a whole number" in refused(SMOKE, "--steps=many")
    assert "--config.devices=auto" in refused(SMOKE, "--config.devices=64")


def test_help_shows_presets_and_fields(desk, capsys):
    assert main.main(["--help"]) == 0
    assert "--workdir" in capsys.readouterr().out
    assert main.main([SMOKE, "--help"]) == 0
    out = capsys.readouterr().out
    assert "arXiv:1703.10593" in out
    assert re.search(r"--config.precision=float32 +one of float32, bfloat16, float64", out)
    assert re.search(r"--config.train.steps=4\b", out)
    assert main.main(["--config=configs/cylegan.py", "--help"]) == 2


def test_values_in_all_spellings(desk):
    argv = [SMOKE, "--config.train.steps", "7", "-config.loss.cycle=2", "--noconfig.data.flip"]
    argv += ["--config.model.remat", "--config.deterministic=TRUE", "--config.devices=1"]
    command = main.commandline.parse(argv, {"workdir": ""}, "main")
    assert command.overrides == {
        "train.steps": 7,
        "loss.cycle": 2.0,
        "data.flip": False,
        "model.remat": True,
        "deterministic": True,
        "devices": "1",
    }
    assert {name: main.commandline.flat(command.config)[name] for name in command.overrides} == (
        command.overrides
    )
    assert command.flags == {"workdir": ""}


def test_a_real_process_says_it_at_once(desk):
    script = (
        "import sys; from jaxgan import main; code = main.main(sys.argv[1:]); "
        "assert not {'jax', 'numpy', 'tensorflow', 'torch'} & set(sys.modules); sys.exit(code)"
    )
    words = [sys.executable, "-c", script, "--config=configs/cylegan.py"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "error: there is no config file 'configs/cylegan.py'; did you mean 'configs/cyclegan.py'?\n"
    )


def test_every_command_as_a_real_process(desk):
    """All at once, since each takes seconds to import what it needs."""
    images(desk / "pictures")
    use = ["--direction=AtoB", "--input=pictures", "--output=out"]
    commands = {
        "main": ([*FOLDER, "--config.data.path=gone"], "data.path=gone does not exist"),
        "benchmark": ([SMOKE, "--config.devices=64"], "devices=64, but this machine has"),
        "translate": (["--workdir=gone", *use], "gone holds no run"),
        "convert": (["--workdir=new", "--generator_AtoB=notes.txt"], "notes.txt can't be read"),
        "data.prepare": (["horses"], "TFDS has no data set 'horses'"),
        "launch": (["--config=configs/cyclegan.py"], "the first word is the number of processes"),
    }
    before = files(desk)
    started = {
        name: subprocess.Popen(
            [sys.executable, "-B", "-m", f"jaxgan.{name}", *argv],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, (argv, _) in commands.items()
    }
    for name, process in started.items():
        out, err = process.communicate()
        assert (process.returncode, out) == (2, ""), err
        assert err.startswith("error: "), name
        assert commands[name][1] in err
        assert "Traceback" not in err
    assert files(desk) == before


def test_a_device_that_is_not_there(desk):
    words = [sys.executable, "-B", "-m", "jaxgan.main", SMOKE]
    before, environment = files(desk), {**os.environ, "JAX_PLATFORMS": "tpu"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert done.stderr.startswith("error: JAX can't use the devices of JAX_PLATFORMS=tpu (")
    assert "or tpu), and JAX_PLATFORMS=cpu does" in done.stderr
    assert "Traceback" not in done.stderr
    assert files(desk) == before


def test_who_reads_no_further_sees_no_traceback():
    for program in ("report", "ablate"):
        command = f"{sys.executable} -m jaxgan.{program} --help | head -1"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
        assert "Traceback" not in done.stderr
