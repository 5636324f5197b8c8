"""Data sets of TensorFlow Datasets: read without it and without a network, and prepared."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgan import commandline, experiment, fields
from jaxgan.data import datasets, paired, prepare, sources, tfds
from jaxgan.errors import UserError
from jaxgan.tasks import TASKS

ROOT = Path(__file__).parent.parent
CONFIG = f"--config={ROOT}/configs/cyclegan.py:smoke"
BUILDER = re.search(
    r"<!-- file: stable\.py -->\n```python\n(.*?)```", (ROOT / "docs/data.md").read_text(), re.S
)[1]
WITH_TENSORFLOW = all(map(importlib.util.find_spec, ("tensorflow", "importlib_resources")))


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def pictures(root: Path, **counts: int) -> Path:
    """Folders of pictures of many kinds, none of them a square."""
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds = [
        ("png", (20, 26, 3), {}),
        ("jpg", (22, 20, 3), {"exif": exif}),
        ("png", (20, 24), {}),
        ("png", (30, 20, 4), {}),
        ("jpg", (20, 28), {}),
    ]
    for seed, (folder, count) in enumerate(counts.items()):
        (root / folder).mkdir(parents=True)
        for i in range(count):
            suffix, shape, options = kinds[i % len(kinds)]
            image = Image.fromarray(noise(*shape, seed=100 * seed + i))
            image.save(root / folder / f"{i:02d}.{suffix}", **options)
    return root


@pytest.fixture(scope="module")
def stable(tmp_path_factory):
    """A current folder with the builder of the docs, its pictures, and them prepared in `data`."""
    desk = tmp_path_factory.mktemp("stable")
    (desk / "stable.py").write_text(BUILDER)
    pictures(desk / "pictures", trainA=6, trainB=5, testA=2, testB=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(desk)
        patch.syspath_prepend(desk)
        patch.setattr(sys, "dont_write_bytecode", True)
        assert prepare.main(["stable:Horses", "--data_dir=data"]) == 0
        yield desk
    sys.modules.pop("stable", None)


def copied(stable: Path, to: Path) -> Path:
    """A copy of the prepared set, to be spoilt: the folder of its version."""
    shutil.copytree(stable / "data/horses", to / "horses")
    return to / "horses" / "1.2.0"


def config(*argv: str):
    command = commandline.parse([CONFIG, *argv], {}, "test")
    return fields.resolve(command.config, command.overrides)


def opened(path: Path, name: str = "tfds:horses", *argv: str) -> datasets.Dataset:
    words = [f"--config.data.name={name}", f"--config.data.path={path}", *argv]
    return experiment.open_data(config(*words), TASKS["unpaired"])


def refusal(*args) -> str:
    with pytest.raises(UserError) as caught:
        opened(*args)
    message = str(caught.value)
    assert "\n" not in message
    assert len(re.findall(r"[.;?!] [A-Z]", message)) <= 1, "more than two sentences"
    return message


def images(source) -> list[np.ndarray]:
    return [source[i] for i in range(len(source))]


# Reading


@pytest.mark.parametrize("channels", [3, 1])
def test_the_same_pixels_as_in_the_folder(stable, channels):
    grey = f"--config.data.channels={channels}"
    ours = opened(stable / "data", "tfds:horses", grey)
    theirs = opened(stable / "pictures", "folder", grey)
    for mine, other, count in zip(ours[:4], theirs[:4], (6, 5, 2, 3), strict=True):
        assert len(mine) == len(other) == count
        np.testing.assert_array_equal(images(mine), images(other))
    assert ours.train_A[0].shape == (18, 18, channels)  # 286 / 256 of 16
    assert ours.test_A[0].shape == (16, 16, channels)
    assert ours.test_B.names == ["testB 0", "testB 1", "testB 2"]
    assert not ours.paired


def test_the_version_that_is_read_is_recorded(stable):
    resolved = config("--config.data.name=tfds:horses", f"--config.data.path={stable}/data")
    data = experiment.open_data(resolved, TASKS["unpaired"])
    assert resolved.data.name == "tfds:horses:1.2.0"
    assert data.notes == (f"tfds:horses:1.2.0 is read from {stable}/data/horses/1.2.0.",)
    assert len(opened(stable / "data", "tfds:horses:1.2.0").train_A) == 6


def test_the_newest_whole_version_is_found(tmp_path):
    for name in ("1.9.0", "1.10.0", "1.2.3", "incomplete.AB12CD_2.0.0", "soon"):
        (tmp_path / "set/config" / name).mkdir(parents=True)
        (tmp_path / "set/config" / name / "dataset_info.json").touch()
    (tmp_path / "set/config/3.0.0").mkdir()
    folder = tmp_path / "set/config"
    found = tfds.find("tfds:set/config", str(tmp_path))
    assert found == ("tfds:set/config:1.10.0", folder / "1.10.0")
    assert tfds.find("tfds:set/config:1.9.0", str(tmp_path))[1] == folder / "1.9.0"


def test_where_tfds_looks_by_itself(stable, monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(stable / "data"))
    assert tfds.find("tfds:horses", "")[1] == stable / "data/horses/1.2.0"
    monkeypatch.delenv("TFDS_DATA_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert tfds.data_dir("") == tmp_path / "tensorflow_datasets"


def test_a_part_is_held_out_where_there_is_no_test_set(stable, tmp_path):
    spoilt = copied(stable, tmp_path)
    edit_info(
        spoilt, lambda info: info["splits"].pop([s["name"] for s in info["splits"]].index("testA"))
    )
    whole, data = opened(stable / "data"), opened(tmp_path)
    assert [len(source) for source in data[:4]] == [5, 5, 1, 3]
    assert sorted(data.train_A.names + data.test_A.names) == whole.train_A.names
    assert data.notes[1].startswith("There is no testA: 1 of the 6 images in trainA is held out")
    assert opened(tmp_path).test_A.names == data.test_A.names
    place = whole.train_A.names.index(data.test_A.names[0])
    folder = sources.ImageFolder(stable / "pictures/trainA", size=16)
    np.testing.assert_array_equal(data.test_A[0], folder[place])


def test_threads_read_the_same(stable):
    data = tfds.open_unpaired(
        stable / "data/horses/1.2.0", image_size=16, load_size=18, budget_bytes=0
    )
    alone = images(data.train_A)
    with ThreadPoolExecutor(16) as threads:
        together = list(threads.map(lambda i: data.train_A[i % 6], range(300)))
    for i, image in enumerate(together):
        np.testing.assert_array_equal(image, alone[i % 6])


def test_nothing_but_the_disk_is_touched(stable, tmp_path):
    for name in ("tensorflow", "torch"):  # even where they are installed
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('imported')")
    script = (
        "import sys\n"
        "def refuse(event, args):\n"
        "    if event.startswith('socket.'): raise SystemExit(f'network: {event}')\n"
        "sys.addaudithook(refuse)\n"
        "from jaxgan.data import datasets, tfds\n"
        "assert 'tensorflow_datasets' not in sys.modules, 'imported where it is not needed'\n"
        "name, folder = tfds.find('tfds:horses', sys.argv[1])\n"
        "data = tfds.open_unpaired(folder, image_size=16, load_size=18)\n"
        "print(*(len([s[i] for i in range(len(s))]) for s in data[:4]))\n"
        "found = {'tensorflow', 'torch', 'stable', 'tensorflow_datasets'} & set(sys.modules)\n"
        "assert found == {'tensorflow_datasets'}, found\n"
    )
    words = [sys.executable, "-W", "error", "-c", script, str(stable / "data")]
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "6 5 2 3\n", "")


def test_pairs_side_by_side(tmp_path, monkeypatch):
    """The same builder, with pictures of both halves: as from the folders themselves."""
    (tmp_path / "halves.py").write_text(BUILDER.replace("Horses", "Halves"))
    for folder, count in (("train", 4), ("test", 2)):
        (tmp_path / "pictures" / folder).mkdir(parents=True)
        for i in range(count):
            image = Image.fromarray(noise(16, 40 - 3 * (i == 3), 3, seed=i + count))
            image.save(tmp_path / "pictures" / folder / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    sys.modules.pop("halves", None)
    try:
        assert prepare.main(["halves:Halves", "--data_dir=data"]) == 0
    finally:
        sys.modules.pop("halves", None)
    (_, folder), sizes = tfds.find("tfds:halves", "data"), {"image_size": 8, "load_size": 9}
    for direction in ("AtoB", "BtoA"):
        data = tfds.open_paired(folder, direction=direction, **sizes)
        plain = paired.open_folder("pictures", direction=direction, **sizes)
        assert (len(data.train), len(data.test)) == (3, 2)
        assert "37 pixels across have no halves" in data.notes[0]
        for ours, theirs in ((data.train, plain.train), (data.test, plain.test)):
            for i in range(len(theirs)):
                np.testing.assert_array_equal(ours[i], theirs[i])
    with pytest.raises(UserError, match="image_key=picture is no feature"):
        tfds.open_paired(folder, image_key="picture", **sizes)


# Sets that don't fit


def edit_info(folder: Path, change):
    path = folder / "dataset_info.json"
    info = json.loads(path.read_text())
    change(info)
    path.write_text(json.dumps(info))


def test_a_set_that_is_not_there(tmp_path):
    message = refusal(tmp_path, "tfds:cycle_gan/horse2zebra")
    assert f"data.name=tfds:cycle_gan/horse2zebra is not prepared in {tmp_path}" in message
    command = f"python -m jaxgan.data.prepare cycle_gan/horse2zebra --data_dir={tmp_path}."
    assert command in message
    assert "--config.data.name=folder" in message


def test_names_that_do_not_fit(stable, tmp_path):
    data = stable / "data"
    assert "has no version 9.9.9; there is 1.2.0" in refusal(data, "tfds:horses:9.9.9")
    for name in ("tfds", "tfds:", "tfds:horses:new", "tfds:a b", "tfds:../horses"):
        assert "such as tfds:cycle_gan/horse2zebra" in refusal(data, name)
    assert "is a URL" in refusal("gs://bucket", "tfds:horses")
    for name in ("apples", "pears"):
        (tmp_path / "fruit" / name / "1.0.0").mkdir(parents=True)
        (tmp_path / "fruit" / name / "1.0.0/dataset_info.json").touch()
    message = refusal(tmp_path, "tfds:fruit")
    assert "holds apples, pears; choose one" in message
    assert "--config.data.name=tfds:fruit/apples" in message


def test_a_format_that_is_read_in_order_only(stable, tmp_path):
    folder = copied(stable, tmp_path)
    edit_info(folder, lambda info: info.update(fileFormat="tfrecord"))
    for path in folder.glob("*array_record*"):
        path.rename(str(path).replace("array_record", "tfrecord"))
    message = refusal(tmp_path)
    assert "was prepared as tfrecord" in message
    assert "python -m jaxgan.data.prepare horses --data_dir=DIR" in message


def test_splits_and_features_that_do_not_fit(stable, tmp_path):
    folder = copied(stable, tmp_path)
    message = refusal(tmp_path, "tfds:horses", "--config.data.image_key=photo")
    assert "data.image_key=photo is no feature with images" in message
    assert message.endswith("which has image; try --config.data.image_key=image")
    edit_info(folder, lambda info: info.update(splits=info["splits"][1:3]))
    message = refusal(tmp_path)
    assert "has no split trainB (it has testB, trainA)" in message
    (folder / "features.json").write_text("{}")
    assert "can't be read as a prepared data set" in refusal(tmp_path)


def test_other_values_than_pictures_have(stable):
    for words in ("--config.data.dtype=float32", "--config.data.channels=2"):
        assert "which holds pictures" in refusal(stable / "data", "tfds:horses", words)


def test_files_that_are_cut_off(stable, tmp_path):
    folder = copied(stable, tmp_path)
    (path,) = folder.glob("*trainB*")
    path.write_bytes(path.read_bytes()[:-70000])
    message = refusal(tmp_path)
    assert f"None of the 5 images in trainB of {folder} can be read, such as trainB 0" in message
    path.unlink()
    assert "such as trainB 0: " in refusal(tmp_path)


def test_a_broken_image_is_skipped_and_named(stable, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "pictures", trainA=4, trainB=2, testA=1, testB=1)
    (tmp_path / "pictures/trainA/00.png").write_text("no image")
    assert prepare.main(["stable:Horses", "--data_dir=data"]) == 0
    data = opened(tmp_path / "data")
    assert data.train_A.names == ["trainA 1", "trainA 2", "trainA 3"]
    (note,) = data.notes[1:]
    assert note == (
        "1 of 4 files in trainA unreadable, skipped: trainA 0 (cannot identify image file)."
    )


# Preparing


def refused(capsys, *argv: str) -> str:
    capsys.readouterr()
    assert prepare.main(list(argv)) == 2
    message = capsys.readouterr().err.splitlines()[-1]  # TFDS's progress stands above
    assert message.startswith("error: ")
    assert len(re.findall(r"[.;?!] [A-Z]", message)) <= 1, "more than two sentences"
    return message


def test_what_preparing_tells(stable, tmp_path, capsys):
    (tmp_path / "of horses").mkdir()
    argv = ["--data_dir", str(tmp_path / "of horses"), "stable:Horses"]
    assert prepare.main(argv) == 0
    *_, where, then = capsys.readouterr().out.splitlines()
    folder = tmp_path / "of horses/horses/1.2.0"
    counts = "2 in testA, 3 in testB, 6 in trainA, 5 in trainB"
    assert where == f"horses:1.2.0 is prepared in {folder}: {counts}"
    assert then == (
        "Train on it: python -m jaxgan.main --config=configs/cyclegan.py:folder "
        f"--config.data.name=tfds:horses --config.data.path='{tmp_path}/of horses'"
    )
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    for name in ("stable:Horses", "horses", "horses:1.2.0"):
        assert prepare.main([*argv[:2], name]) == 0
        out = capsys.readouterr().out.splitlines()
        assert out == [where.replace("is prepared", "was prepared already"), then]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


TYPED = [
    ([], ["no data set is named", "python -m jaxgan.data.prepare cycle_gan/horse2zebra"]),
    (["a", "b"], ["'b'", "--data_dir"]),
    (["a", "--data=b"], ["unknown flag --data"]),
    (["cycle_gn/x"], ["no data set 'cycle_gn'", "did you mean 'cycle_gan'?"]),
    (["zzzzzz"], ["no data set 'zzzzzz'", "catalog"]),
    (["cycle_gan"], ["several configs", "horse2zebra"]),
    (["cycle_gan/horse2zebr"], ["no config 'horse2zebr'", "did you mean 'horse2zebra'?"]),
    (["cycle_gan/horse2zebra:9.0.0"], ["9.0.0", "only: 3.0.0"]),
    (["mnist/x"], ["mnist has no configs", "'/x'"]),
    (["a//b"], ["'a//b' doesn't fit", "NAME[/CONFIG][:VERSION]"]),
    (["nosuch:Builder"], ["'nosuch:Builder' can't be imported", "MODULE.py"]),
    (["stable:Cows"], ["no function 'Cows'"]),
    (["json:loads"], ["json:loads is no builder"]),
    (["stable:Horses/grey"], ["stable:Horses/grey can't be prepared", "grey"]),
    (["stable:Horses", "--data_dir=stable.py"], ["stable.py can't be written", "--data_dir=DIR"]),
    (["stable:Horses", "--data_dir=gs://bucket"], ["is a URL"]),
]


@pytest.mark.parametrize(("argv", "words"), TYPED, ids=lambda x: " ".join(x)[:40] or "nothing")
def test_what_is_typed(stable, capsys, argv, words, monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    message = refused(capsys, *argv)
    for word in words:
        assert word in message
    assert not list(tmp_path.iterdir())


def test_help(capsys):
    assert prepare.main(["--help"]) == 0
    assert "--data_dir" in capsys.readouterr().out


def test_tensorflow_that_is_missing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(prepare.importlib.util, "find_spec", lambda name: None)
    message = refused(capsys, "cycle_gan/horse2zebra", f"--data_dir={tmp_path}")
    assert 'pip install -c constraints.txt -e ".[tfds]"' in message
    assert "--config.data.name=folder" in message


def test_a_download_that_fails(stable, tmp_path, capsys, monkeypatch):
    import requests

    def fails(*_):
        raise requests.ConnectionError("no route")

    horses = sys.modules["stable"].Horses
    monkeypatch.setattr(horses, "_split_generators", fails)
    message = refused(capsys, "stable:Horses", f"--data_dir={tmp_path}")
    assert "can't be downloaded (ConnectionError: no route); repeat" in message
    assert "is not prepared" in refusal(tmp_path)


def test_a_builder_that_fails(stable, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = refused(capsys, "stable:Horses", f"--data_dir={tmp_path}/data")
    line = BUILDER.splitlines().index('        folders = sorted(Path("pictures").iterdir())') + 1
    assert f"at line {line} of {stable}/stable.py (FileNotFoundError: " in message


def test_an_interrupted_one_is_not_taken_for_prepared(stable, tmp_path, capsys, monkeypatch):
    horses = sys.modules["stable"].Horses

    def interrupted(self, folder):
        yield "a", {"image": folder / "00.png"}
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(horses, "_generate_examples", interrupted)
        assert prepare.main(["stable:Horses", f"--data_dir={tmp_path}"]) == 130
    assert capsys.readouterr().err.splitlines()[-1].startswith("interrupted")
    assert "is not prepared" in refusal(tmp_path)
    assert prepare.main(["stable:Horses", f"--data_dir={tmp_path}"]) == 0
    assert len(opened(tmp_path).train_A) == 6


def test_what_was_prepared_in_another_format(stable, tmp_path, capsys):
    edit_info(copied(stable, tmp_path), lambda info: info.update(fileFormat="tfrecord"))
    message = refused(capsys, "stable:Horses", f"--data_dir={tmp_path}")
    assert "was prepared as tfrecord" in message
    assert "delete that folder" in message


def test_a_set_without_two_domains(stable, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "pictures", train=1)
    assert prepare.main(["stable:Horses", f"--data_dir={tmp_path}/data"]) == 0
    told = capsys.readouterr().out.splitlines()[-1]
    assert "--config=configs/dcgan.py:folder --config.data.name=tfds:horses" in told
    assert "has no split trainA and no trainB (it has train)" in refusal(tmp_path / "data")
    pictures(tmp_path / "other/pictures", photos=1)
    monkeypatch.chdir(tmp_path / "other")
    assert prepare.main(["stable:Horses", f"--data_dir={tmp_path}/other"]) == 0
    assert "has nothing to train on" in capsys.readouterr().out.splitlines()[-1]


# Whole runs


def process(cwd: Path, *words: str) -> str:
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_run_from_nothing_but_the_docs(tmp_path):
    (tmp_path / "stable.py").write_text(BUILDER)
    pictures(tmp_path / "pictures", trainA=6, trainB=5)
    out = process(tmp_path, "-m", "jaxgan.data.prepare", "stable:Horses", "--data_dir=data")
    assert "Train on it" in out
    script = (
        "import sys; from jaxgan import main; code = main.main(sys.argv[1:]); "
        "assert 'tensorflow' not in sys.modules; sys.exit(code)"  # even where it is installed
    )
    argv = ["--config.data.name=tfds:horses", "--config.data.path=data", "--workdir=run"]
    process(tmp_path, "-c", script, CONFIG, *argv)
    recorded = json.loads((tmp_path / "run/config.json").read_text())["config"]
    assert recorded["data"]["name"] == "tfds:horses:1.2.0"
    assert recorded["found"] == {"train_A": 5, "train_B": 4}
    assert "nothing to do" in process(tmp_path, "-c", script, CONFIG, *argv)


@pytest.mark.slow
@pytest.mark.skipif(not WITH_TENSORFLOW, reason="needs the extra `tfds`")
def test_the_published_builder_on_a_local_folder(tmp_path):
    """`cycle_gan` itself; only its download is replaced."""
    pictures(tmp_path / "zip/horse2zebra", trainA=6, trainB=5, testA=2, testB=3)
    script = (
        "import sys, tensorflow_datasets as tfds; from jaxgan.data import prepare; "
        "tfds.download.DownloadManager.download_and_extract = lambda self, url: 'zip'; "
        "sys.exit(prepare.main(sys.argv[1:]))"
    )
    out = process(tmp_path, "-c", script, "cycle_gan/horse2zebra", "--data_dir=data")
    assert "6 in trainA" in out
    ours = opened(tmp_path / "data", "tfds:cycle_gan/horse2zebra")
    theirs = opened(tmp_path / "zip/horse2zebra", "folder")
    for mine, other in zip(ours[:4], theirs[:4], strict=True):  # TFDS has shuffled them
        assert sorted(x.tobytes() for x in images(mine)) == sorted(
            x.tobytes() for x in images(other)
        )
