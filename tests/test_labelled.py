"""Labelled data sets: published files, folders, arrays and prepared sets; and what is refused."""

import gzip
import os
import pickle
import re
import struct
import sys
import tarfile
from pathlib import Path

import numpy as np
import py2_pickle
import pytest
from ml_collections import ConfigDict
from PIL import Image

from jaxgan import main
from jaxgan.data import cifar, datasets, idx, in_memory, labelled, pipeline, prepare, transforms
from jaxgan.errors import UserError

ROOT = Path(__file__).parents[1]


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def settings(name: str, path, **fields) -> ConfigDict:
    data = ConfigDict({"name": name, "path": str(path), "image_size": 8, "load_size": 0})
    data.update(channels=3, dtype="uint8", low=-1.0, high=1.0, image_key="image", label_key="label")
    data.update(fields)
    data.load_size = data.load_size or datasets.default_load_size(data)
    return data


def opened(name: str, path, **fields) -> labelled.Labelled:
    kind = "tfds" if name.startswith("tfds:") else name
    data = datasets.LABELLED[kind](settings(name, path, **fields))
    counts = [len(data.train), len(data.test)]
    assert [len(data.labels), len(data.test_labels)] == counts
    assert data.labels.dtype == data.test_labels.dtype == np.int32
    for labels in (data.labels, data.test_labels):
        assert 0 <= labels.min() <= labels.max() < len(data.classes)
    return data


def refusal(name: str, path, **fields) -> str:
    with pytest.raises(UserError) as caught:
        opened(name, path, **fields)
    message = str(caught.value)
    assert "\n" not in message
    assert len(re.findall(r"[.;?!] [A-Z]", message)) <= 1, "more than two sentences"
    return message


def images(source) -> np.ndarray:
    return np.stack([source[i] for i in range(len(source))])


# IDX


def idx_bytes(array: np.ndarray) -> bytes:
    shape = b"".join(struct.pack(">i", side) for side in array.shape)
    return bytes([0, 0, 8, array.ndim]) + shape + array.tobytes()


DIGITS, TEST_DIGITS = noise(12, 28, 28), noise(4, 28, 28, seed=1)
LABELS, TEST_LABELS = np.arange(12, dtype=np.uint8) % 10, np.arange(4, dtype=np.uint8)


def mnist_folder(folder: Path, gz=False, digits=DIGITS, labels=LABELS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    parts = {"train-images-idx3": digits, "train-labels-idx1": labels}
    parts |= {"t10k-images-idx3": TEST_DIGITS, "t10k-labels-idx1": TEST_LABELS}
    for name, array in parts.items():
        data = idx_bytes(array)
        path = folder / f"{name}-ubyte{'.gz' * gz}"
        path.write_bytes(gzip.compress(data) if gz else data)
    return folder


@pytest.mark.parametrize("gz", [False, True])
def test_idx_files_give_their_values(tmp_path, gz):
    folder = mnist_folder(tmp_path, gz)
    for path in (folder, next(folder.glob("train-labels*"))):
        data = opened("mnist", path, image_size=28, channels=1)
        np.testing.assert_array_equal(data.train, DIGITS[..., None])
        np.testing.assert_array_equal(data.test, TEST_DIGITS[..., None])
        np.testing.assert_array_equal(data.labels, LABELS)
        np.testing.assert_array_equal(data.test_labels, TEST_LABELS)
        assert data.classes == tuple("0123456789")


def test_fashion_has_names_and_lies_where_others_unpack_it(tmp_path):
    mnist_folder(tmp_path / "FashionMNIST/raw")
    data = opened("fashion_mnist", tmp_path, image_size=28, channels=1)
    assert data.classes[3] == "Dress"
    assert len(data.classes) == 10


def test_npz_with_either_names(tmp_path):
    splits = [DIGITS, LABELS, TEST_DIGITS, TEST_LABELS]
    for names in (
        ("train_image", "train_label", "test_image", "test_label"),
        ("x_train", "y_train", "x_test", "y_test"),
    ):
        folder = tmp_path / names[0]
        folder.mkdir()
        np.savez(folder / "mnist.npz", **dict(zip(names, splits, strict=True)))
        for path in (folder, folder / "mnist.npz"):
            data = opened("mnist", path, image_size=28, channels=1)
            np.testing.assert_array_equal(data.train, DIGITS[..., None])
            np.testing.assert_array_equal(data.test_labels, TEST_LABELS)


def test_sizes_and_colours_are_fitted_once(tmp_path, monkeypatch):
    folder = mnist_folder(tmp_path)
    data = opened("mnist", folder, image_size=16, load_size=20)
    expected = np.asarray(Image.fromarray(DIGITS[3]).resize((20, 20), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(data.train[3], np.stack([expected] * 3, -1))
    assert data.test[0].shape == (16, 16, 3)
    first = data.train[3]
    monkeypatch.setattr(transforms, "resize", None)
    assert data.train[3] is first


def test_colour_becomes_luma():
    pixels = noise(1, 8, 8, 3)
    grey = in_memory.fitted(pixels, 1, 8)[0]
    assert grey.shape == (8, 8, 1)
    assert np.abs(grey[..., 0] - pixels[0] @ np.array([0.299, 0.587, 0.114])).max() <= 0.51


def test_images_in_memory_are_views_that_nobody_can_change(tmp_path):
    data = opened("mnist", mnist_folder(tmp_path), image_size=28, channels=1)
    assert data.train[0].base is not None
    assert not data.train[0].flags.writeable


def spoil_idx(folder: Path, case: str):
    images, labels = folder / "train-images-idx3-ubyte", folder / "train-labels-idx1-ubyte"
    if case == "cut":
        images.write_bytes(images.read_bytes()[:-1])
    elif case == "long":
        images.write_bytes(images.read_bytes() + b"1")
    elif case == "header":
        images.write_bytes(images.read_bytes()[:7])
    elif case == "swapped":
        images.write_bytes(labels.read_bytes())
    elif case == "empty":
        images.write_bytes(b"")
    elif case == "gz":
        images.write_bytes(gzip.compress(images.read_bytes())[:-30])
    elif case == "count":
        labels.write_bytes(idx_bytes(LABELS[:-1]))
    elif case == "range":
        labels.write_bytes(idx_bytes(LABELS + 5))
    elif case == "missing":
        labels.unlink()


IDX = {
    "cut": "is cut off: it has 9407 values, and its header promises 12 x 28 x 28; download it",
    "long": "is too long: it has 9409 values",
    "header": "is cut off: it has 0 values",
    "swapped": "begins with 00 00 08 01, where an IDX file of images begins with 00 00 08 03",
    "empty": "begins with nothing",
    "gz": "can't be read (",
    "count": "has 12 train images and 11 labels of them",
    "range": "the train image 5 has the label 10, and labels go from 0 to 9",
    "missing": "has no train-labels-idx1-ubyte. The folder of",
}


@pytest.mark.parametrize("case", IDX)
def test_idx_files_that_do_not_fit(tmp_path, case):
    spoil_idx(mnist_folder(tmp_path), case)
    assert IDX[case] in refusal("mnist", tmp_path)


WITH_PATH = ("mnist", "fashion_mnist", "cifar10", "cifar100", "stl10", "folder", "arrays")


@pytest.mark.parametrize("name", WITH_PATH)
def test_paths_that_are_not_there(tmp_path, name):
    assert refusal(name, "").endswith("--config.data.path=PATH")
    assert refusal(name, "").startswith("data.path is not set. ")
    message = refusal(name, tmp_path / "nothing/at/all")
    assert f"does not exist; the part that exists is {tmp_path}. " in message
    (tmp_path / "notes.txt").write_text("mine")
    assert str(tmp_path) in refusal(name, tmp_path)
    assert "notes.txt" in refusal(name, tmp_path / "notes.txt")


def test_pictures_are_bytes(tmp_path):
    for fields in ({"dtype": "float32"}, {"channels": 5}):
        assert "which holds pictures; leave them" in refusal("mnist", tmp_path, **fields)


# CIFAR

PIXELS, TEST_PIXELS = noise(10, 32, 32, 3), noise(3, 32, 32, 3, seed=1)
NAMES = ["cat", "dog", "frog"]


def rows(pixels):
    return pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)


def cifar_folder(folder: Path, dump=py2_pickle.protocol_2, hundred=False) -> Path:
    """CIFAR-10's five batches of two images each, or CIFAR-100's one of ten."""
    folder = folder / ("cifar-100-python" if hundred else "cifar-10-batches-py")
    folder.mkdir(parents=True)
    key = "fine_labels" if hundred else "labels"
    names = ["train"] if hundred else list(cifar.BATCHES)
    each = len(PIXELS) // len(names)
    for i, name in enumerate(names):
        part = rows(PIXELS[i * each :][:each])
        labels = [j % 3 for j in range(i * each, (i + 1) * each)]
        batch = {"batch_label": name, key: labels, "data": part, "coarse_labels": [7] * each}
        (folder / name).write_bytes(dump(batch | {"filenames": ["ä.png"] * each}))
    test = {"data": rows(TEST_PIXELS), key: [2, 1, 0]}
    (folder / ("test" if hundred else "test_batch")).write_bytes(dump(test))
    meta = {"fine_label_names" if hundred else "label_names": NAMES, "num_cases_per_batch": 2}
    (folder / ("meta" if hundred else "batches.meta")).write_bytes(py2_pickle.protocol_0(meta))
    return folder


def as_bytes(batch):
    return pickle.dumps({key.encode(): value for key, value in batch.items()}, protocol=4)


DUMPS = {
    "python 2": py2_pickle.protocol_2,
    "python 3, protocol 2": lambda batch: pickle.dumps(batch, protocol=2),
    "python 3, protocol 4": as_bytes,
}


@pytest.mark.parametrize("dump", DUMPS)
@pytest.mark.parametrize("hundred", [False, True])
def test_cifar_batches_give_their_pixels(tmp_path, dump, hundred):
    folder = cifar_folder(tmp_path, DUMPS[dump], hundred)
    for path in (folder, tmp_path):
        data = opened("cifar100" if hundred else "cifar10", path, image_size=32)
        np.testing.assert_array_equal(data.train, PIXELS)
        np.testing.assert_array_equal(data.test, TEST_PIXELS)
        np.testing.assert_array_equal(data.labels, np.arange(10) % 3)
        np.testing.assert_array_equal(data.test_labels, [2, 1, 0])
        assert data.classes == ("cat", "dog", "frog")


def test_the_written_pickles_are_what_python_reads():
    """Of the tests' own writer, which stands for the published files."""
    batch = {"a": [1, 300, "x" * 300], "b": {"c": -1}}
    assert pickle.loads(py2_pickle.protocol_2(batch)) == batch
    assert pickle.loads(py2_pickle.protocol_0(batch)) == batch
    array = pickle.loads(py2_pickle.protocol_2({"d": rows(PIXELS)}), encoding="latin1")["d"]
    np.testing.assert_array_equal(array, rows(PIXELS))


def test_cifar_is_read_from_its_archive(tmp_path):
    folder = cifar_folder(tmp_path)
    with tarfile.open(tmp_path / "cifar.tar.gz", "w:gz") as archive:
        archive.add(folder, folder.name)
    data = opened("cifar10", tmp_path / "cifar.tar.gz", image_size=32)
    np.testing.assert_array_equal(data.train, PIXELS)
    assert "is cifar10; add --config.data.name=cifar10" in refusal(
        "cifar100", tmp_path / "cifar.tar.gz"
    )
    whole = (tmp_path / "cifar.tar.gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    assert "cut.tar.gz can't be unpacked (" in refusal("cifar10", tmp_path / "cut.tar.gz")


class Harm:
    """What its pickle does when it is unpickled: it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_would_run_code_is_refused(tmp_path, protocol):
    folder = cifar_folder(tmp_path)
    harm = {"data": Harm(tmp_path / "harmed"), "labels": [0]}
    (folder / "data_batch_3").write_bytes(pickle.dumps(harm, protocol=protocol))
    message = refusal("cifar10", folder)
    assert "data_batch_3 is refused: it asks for posix.system, which could run code" in message
    assert not (tmp_path / "harmed").exists()


def test_nothing_is_called_that_is_only_named(tmp_path):
    for program in (
        b"cnumpy\nndarray\n)R.",  # a type, as a function
        b"U\x0cnumpy dtype)R.",  # a string, as a function
        b"cnumpy\ndtype\n(U\x02O8K\x00K\x01tR.",  # objects
        b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x03\x00\x00\x00zip\x85tR.",
        b"(" * 50,
        b"}" + b"(t" * 1000 + b"K\x01s.",
    ):
        with pytest.raises(UserError, match="can't be read as a published batch"):
            cifar.read_pickle(Path("batch"), program)


def spoil_cifar(folder: Path, case: str):
    path = folder / "data_batch_2"
    batch = {"data": rows(PIXELS[:2]), "labels": [0, 1]}
    if case == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif case == "empty":
        path.write_bytes(b"")
    elif case == "text":
        path.write_text("<html>not found</html>")
    elif case == "list":
        path.write_bytes(pickle.dumps([1], protocol=2))
    elif case == "missing":
        path.unlink()
    elif case == "no data":
        path.write_bytes(py2_pickle.protocol_2({"labels": [0, 1]}))
    elif case == "shape":
        path.write_bytes(py2_pickle.protocol_2(batch | {"data": rows(PIXELS)[:2, :99]}))
    elif case == "no labels":
        path.write_bytes(py2_pickle.protocol_2(batch | {"labels": ["a", "b"]}))
    elif case == "count":
        path.write_bytes(py2_pickle.protocol_2(batch | {"labels": [0]}))
    elif case == "range":
        path.write_bytes(py2_pickle.protocol_2(batch | {"labels": [0, 10**6]}))
    elif case == "names":
        (folder / "batches.meta").write_bytes(py2_pickle.protocol_2({}))


CIFAR = {
    "cut": "data_batch_2 can't be read as a published batch (",
    "empty": "data_batch_2 can't be read as a published batch (",
    "text": "data_batch_2 can't be read as a published batch (",
    "list": "data_batch_2 can't be read as a published batch (it holds a list); download it again",
    "missing": "has no data_batch_2. The published folder cifar-10-batches-py, or its .tar.gz",
    "no data": "data_batch_2 has no uint8 array data",
    "shape": "data_batch_2 has data of [2, 99], not [N, 3072]",
    "no labels": "data_batch_2 has no list labels of integers",
    "count": "data_batch_2 has 2 images and 1 labels",
    "range": "the train image 3 has the label 1000000, and labels go from 0 to 2",
    "names": "batches.meta has no list label_names",
}


@pytest.mark.parametrize("case", CIFAR)
def test_cifar_batches_that_do_not_fit(tmp_path, case):
    folder = cifar_folder(tmp_path)
    spoil_cifar(folder, case)
    assert CIFAR[case] in refusal("cifar10", folder)


def test_a_broken_batch_ends_a_run_with_code_2(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spoil_cifar(cifar_folder(tmp_path), "cut")
    argv = [f"--config={ROOT}/configs/dcgan.py:smoke", "--config.data.name=cifar10"]
    assert main.main([*argv, f"--config.data.path={tmp_path}", "--workdir=run"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert "data_batch_2 can't be read" in err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


# STL-10


def stl_folder(folder: Path, count=3) -> tuple[Path, np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    pixels = noise(count, 96, 96, 3)
    for split in ("train", "test"):
        (folder / f"{split}_X.bin").write_bytes(pixels.transpose(0, 3, 2, 1).tobytes())
        (folder / f"{split}_y.bin").write_bytes(bytes([1, 10, 4][:count]))
    return folder, pixels


def test_stl_images_are_stored_by_columns(tmp_path):
    folder, pixels = stl_folder(tmp_path / "stl10_binary")
    for path in (folder, tmp_path):
        data = opened("stl10", path, image_size=96)
        np.testing.assert_array_equal(data.train, pixels)
        assert data.labels.tolist() == data.test_labels.tolist() == [0, 9, 3]
        assert data.classes[9] == "truck"
    (folder / "class_names.txt").write_text("\n".join("abcdefghij") + "\n")
    assert opened("stl10", folder, image_size=96).classes == tuple("abcdefghij")


def test_stl_files_that_do_not_fit(tmp_path):
    folder, _ = stl_folder(tmp_path)
    path = folder / "test_X.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert "test_X.bin has 82943 bytes, which is no number of whole images" in refusal(
        "stl10", folder
    )
    path.write_bytes(whole[: 96 * 96 * 3])
    assert "has 1 test images and 3 labels" in refusal("stl10", folder)
    (folder / "train_y.bin").write_bytes(bytes([0, 1, 2]))
    assert "labels from 0 to 2, and STL-10's go from 1 to 10" in refusal("stl10", folder)
    (folder / "train_y.bin").unlink()
    assert "has no train_y.bin. STL-10's folder" in refusal("stl10", folder)


# Folders


def write(path: Path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def class_folder(root: Path, count=12, size=8, **shift) -> Path:
    """`count` images in each of the classes b and a; b's are dark."""
    for number, name in enumerate("ba"):
        for i in range(count):
            pixels = noise(size, size, 3, seed=100 * number + i) // 2 + 128 * number
            write(root / name / f"{i:02d}.png", pixels)
    return root


def test_a_folder_per_class(tmp_path):
    data = opened("folder", class_folder(tmp_path))
    assert data.classes == ("a", "b")
    assert len(data.train) == 22
    assert len(data.test) == 2
    for source, labels in ((data.train, data.labels), (data.test, data.test_labels)):
        for image, label, name in zip(images(source), labels, source.names, strict=True):
            assert name[0] == data.classes[label]
            assert (image.min() >= 128) == (label == 0)
    assert not set(data.train.names) & set(data.test.names)
    assert "2 of the 24 images are held out" in data.notes[0]


def test_what_is_held_out_depends_on_the_names_alone(tmp_path):
    first = opened("folder", class_folder(tmp_path / "one"))
    again = opened("folder", class_folder(tmp_path / "two", size=12), image_size=16)
    assert first.test.names == again.test.names
    assert first.train.names == again.train.names
    assert {name[0] for name in first.test.names} == {"a", "b"}


def test_held_out_shares():
    names = [str(i) for i in range(40_000)]
    labels = np.arange(40_000) % 4
    chosen = labelled.held_out(names, labels, 4)
    assert np.bincount(labels[chosen]).tolist() == [125] * 4
    assert (np.diff(chosen) > 0).all()
    assert len(labelled.held_out(names[:400], labels[:400], 4)) == 20
    assert len(labelled.held_out(names[:8], labels[:8], 4)) == 1


def test_train_beside_test(tmp_path):
    class_folder(tmp_path / "train", 3)
    write(tmp_path / "test/b/x.png", noise(8, 8, 3))
    data = opened("folder", tmp_path)
    assert (len(data.train), len(data.test)) == (6, 1)
    assert data.test_labels.tolist() == [1]
    (tmp_path / "test/b").rename(tmp_path / "test/c")
    assert "test has images of c, which" in refusal("folder", tmp_path)


def test_a_folder_without_classes(tmp_path):
    for i in range(30):
        write(tmp_path / f"{i:02d}.png", noise(8, 8, 3, seed=i))
    data = opened("folder", tmp_path)
    assert data.classes == ("image",)
    assert (len(data.train), len(data.test)) == (28, 2)
    assert not data.labels.any()


def test_nothing_is_squeezed(tmp_path):
    wide = noise(10, 30, 3)
    for i in range(2):
        write(tmp_path / f"{i}.png", wide)
        write(tmp_path / f"high {i}.png", wide.transpose(1, 0, 2))
    data = opened("folder", tmp_path, image_size=10)
    for image, name in zip(data.train, data.train.names, strict=True):
        expected = wide[:, 10:20]
        expected = expected.transpose(1, 0, 2) if name.startswith("high") else expected
        np.testing.assert_array_equal(image, expected)
    small = opened("folder", tmp_path, image_size=5).train
    square = Image.fromarray(np.ascontiguousarray(wide[:, 10:20]))
    shrunk = np.asarray(square.resize((5, 5), Image.Resampling.BICUBIC))
    index = next(i for i, name in enumerate(small.names) if not name.startswith("high"))
    np.testing.assert_array_equal(small[index], shrunk)


def test_transparency_lies_on_white(tmp_path):
    for i in range(2):
        write(tmp_path / f"{i}.png", np.zeros((8, 8, 4), np.uint8))
    assert opened("folder", tmp_path).train[0].min() == 255


def test_arrays_in_folders(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(2):
            np.save(tmp_path / name / f"{i}.npy", np.full((8, 8, 5), i, np.float32))
    fields = {"channels": 5, "dtype": "float32", "low": 0.0, "high": 1.0}
    data = opened("folder", tmp_path, **fields)
    assert set(np.unique(images(data.train))) <= {-1.0, 1.0}
    assert "values outside of data.low" in refusal("folder", tmp_path, **fields | {"high": 0.5})


def test_broken_images_are_named_and_left_out(tmp_path):
    class_folder(tmp_path, 3)
    (tmp_path / "a/01.png").write_text("no image")
    data = opened("folder", tmp_path)
    assert len(data.train) + len(data.test) == 5
    assert "a/01.png" not in data.train.names + data.test.names
    assert any("1 of 6 files in train unreadable, skipped: a/01.png" in note for note in data.notes)
    for path in (tmp_path / "a").iterdir():
        path.write_text("no image")
    assert "has no readable image to train on of the class a" in refusal("folder", tmp_path)
    for path in (tmp_path / "b").iterdir():
        path.write_text("no image")
    assert "None of the 6 files" in refusal("folder", tmp_path)


def test_images_beside_folders_of_images(tmp_path):
    class_folder(tmp_path, 2)
    write(tmp_path / "loose.png", noise(8, 8, 3))
    assert "has images such as loose.png beside folders of images such as a;" in refusal(
        "folder", tmp_path
    )
    (tmp_path / "a").rename(tmp_path / "train")
    (tmp_path / "b").rename(tmp_path / "test")
    assert "loose.png beside folders" in refusal("folder", tmp_path)


def test_folders_that_do_not_fit(tmp_path):
    (tmp_path / "a").mkdir()
    assert "has no images: it is empty" in refusal("folder", tmp_path)
    write(tmp_path / "a/0.png", noise(8, 8, 3))
    assert "one readable image is too few to hold one out" in refusal("folder", tmp_path)
    archive = tmp_path / "images.zip"
    archive.touch()
    assert "is a file. " in refusal("folder", archive)
    assert "unpack an archive first" in refusal("folder", archive)


def test_notes_on_folders(tmp_path):
    class_folder(tmp_path / "set/train", 2)
    (tmp_path / "set/train/c").mkdir()
    data = opened("folder", tmp_path / "set")
    assert any("without images, left out: c." in note for note in data.notes)
    notes = " ".join(opened("folder", tmp_path).notes)
    assert f"train with --config.data.path={tmp_path}/set." in notes


# Arrays


def test_a_stack_of_pictures(tmp_path):
    pixels = noise(20, 8, 10, 3)
    np.save(tmp_path / "a.npy", pixels)
    data = opened("arrays", tmp_path / "a.npy")
    assert (len(data.train), len(data.test)) == (19, 1)
    both = {image.tobytes() for source in (data.train, data.test) for image in images(source)}
    assert both == {image[:, 1:9].tobytes() for image in pixels}
    assert data.classes == ("image",)
    again = opened("arrays", tmp_path / "a.npy", channels=1)
    assert again.train[0].shape == (8, 8, 1)


@pytest.mark.parametrize(
    ("keys", "fields"),
    [
        (("image", "label"), {}),
        (("images", "labels"), {}),
        (("x", "y"), {}),
        (("arr_0", "labels"), {}),
        (("photo", "kind"), {"image_key": "photo", "label_key": "kind"}),
    ],
)
def test_keys_of_npz(tmp_path, keys, fields):
    pixels, labels = noise(6, 8, 8), np.array([0, 2, 1, 0, 2, 2])[:, None]
    image, label = keys
    np.savez(tmp_path / "a.npz", **{image: pixels, label: labels})
    data = opened("arrays", tmp_path / "a.npz", channels=1, **fields)
    assert data.classes == ("0", "1", "2")
    assert sorted([*data.labels, *data.test_labels]) == [0, 0, 1, 2, 2, 2]
    if image == "arr_0":
        return
    parts = {f"train_{image}": pixels, f"train_{label}": labels}
    parts |= {f"test_{image}": pixels[:2], f"test_{label}": labels[:2]}
    np.savez(tmp_path / "b.npz", **parts, class_names=np.array(["p", "q", "r"]))
    data = opened("arrays", tmp_path / "b.npz", channels=1, **fields)
    np.testing.assert_array_equal(data.train, pixels[..., None])
    assert data.test_labels.tolist() == [0, 2]
    assert data.classes == ("p", "q", "r")


def test_labels_that_are_names(tmp_path):
    np.savez(tmp_path / "a.npz", x=noise(4, 8, 8, 3), y=np.array(["dog", "cat", "dog", "cat"]),
             x_test=noise(1, 8, 8, 3), y_test=np.array(["dog"]))  # fmt: skip
    data = opened("arrays", tmp_path / "a.npz")
    assert data.classes == ("cat", "dog")
    assert data.labels.tolist() == [1, 0, 1, 0]
    assert data.test_labels.tolist() == [1]


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16])
def test_floating_point_by_its_range(tmp_path, kind):
    values = np.linspace(0, 4, 2 * 8 * 8 * 5).reshape(2, 8, 8, 5).astype(kind)
    np.savez(tmp_path / "a.npz", train_x=values, test_x=values)
    fields = {"channels": 5, "dtype": "float32", "low": 0.0, "high": 4.0}
    data = opened("arrays", tmp_path / "a.npz", **fields)
    assert data.train[0].dtype == np.float32
    np.testing.assert_allclose(data.train, values.astype(np.float64) / 2 - 1, atol=1e-6)
    message = refusal("arrays", tmp_path / "a.npz", **fields | {"high": 3.0})
    assert "try --config.data.low=0.0 --config.data.high=4.0" in message


X, Y = noise(4, 8, 8, 3), np.arange(4)
STACKS = {
    "one image [8, 8, 3]": {"x": X[0]},
    "is [4, 192], and images are [N, H, W, C] or [N, H, W]; reshape": {"x": X.reshape(4, -1)},
    "[N, C, H, W]; save np.moveaxis(array, 1, -1)": {"x": np.moveaxis(X, -1, 1)},
    "is int64; save it as uint8": {"x": X.astype(int)},
    "is floating point; add --config.data.dtype=float32": {"x": X / 255},
    "add --config.data.channels=5": {"x": noise(4, 8, 8, 5)},
    "is empty: [0, 8, 8, 3]": {"x": X[:0]},
    "has 4 train images and 3 labels": {"x": X, "y": Y[:3]},
    "save their argmax": {"x": X, "y": np.eye(4, dtype=int)},
    "labels of float64 [4]": {"x": X, "y": Y / 2},
    "the train image 0 has the label -1, and labels go from 0 to 2": {"x": X, "y": Y - 1},
    "has the label 5000, more than there are images": {"x": X, "y": Y + 4997},
    "the train image 2 has the label 2, and labels go from 0 to 1": {
        "x": X, "y": Y, "classes": np.array(["a", "b"]),
    },
    "has labels of one of its two splits": {"x": X, "x_test": X, "y_test": Y},
    "has test images of d, which none is trained on": {
        "x": X, "y": np.array(list("abca")), "x_test": X, "y_test": np.array(list("abcd")),
    },
    "pickled objects, which are never loaded": {"x": np.array([X, None], object)},
    "has no images. A .npy file": {"pixels": X},
    "one image is too few to hold one out": {"x": X[:1]},
}  # fmt: skip


@pytest.mark.parametrize("words", STACKS)
def test_arrays_that_do_not_fit(tmp_path, words):
    np.savez(tmp_path / "a.npz", **STACKS[words])
    assert words in refusal("arrays", tmp_path / "a.npz")


def test_array_files_that_are_broken(tmp_path):
    np.save(tmp_path / "a.npy", X)
    np.savez(tmp_path / "b.npz", x=X)
    for name, words in {"a.npy": "can't be read (", "b.npz": "is cut off, or no .npz file"}.items():
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[:-200])
        assert f"{name} {words}" in refusal("arrays", tmp_path / name)
    spoilt = bytearray(whole)
    spoilt[400] ^= 1
    (tmp_path / "b.npz").write_bytes(spoilt)
    assert "b.npz can't be read (Bad CRC-32" in refusal("arrays", tmp_path / "b.npz")
    spoilt[6] |= 32  # a flag that zipfile doesn't know
    (tmp_path / "b.npz").write_bytes(spoilt)
    assert "b.npz can't be read (" in refusal("arrays", tmp_path / "b.npz")
    np.save(tmp_path / "c.npy", X)
    (tmp_path / "c.npy").rename(tmp_path / "c.npz")
    assert "no .npz file, whatever its name" in refusal("arrays", tmp_path / "c.npz")
    assert "(it is cut off)" in refusal("arrays", tmp_path / "a.npy")


def test_npz_that_is_no_mnist(tmp_path):
    np.savez(tmp_path / "a.npz", x=DIGITS, y=LABELS)
    assert "a.npz has no test images. The folder of" in refusal("mnist", tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", x_train=DIGITS, x_test=DIGITS)
    assert "a.npz has no labels. The folder of" in refusal("mnist", tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", x_train=DIGITS, y_train=LABELS + 9, x_test=DIGITS, y_test=LABELS)
    assert "the train image 1 has the label 10" in refusal("mnist", tmp_path / "a.npz")


# Prepared sets

BUILDER = """
import tensorflow_datasets as tfds
from PIL import Image
import numpy as np

class Pets(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        f = tfds.features
        features = f.FeaturesDict({
            "photo": f.Image(), "mask": f.Image(),
            "species": f.ClassLabel(names=["cat", "dog"]), "age": f.Scalar(np.int64),
        })
        return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(6), "test": self._generate_examples(2)}

    def _generate_examples(self, count):
        for i in range(count):
            pixels = np.full((8, 10, 3), 10 * i + count, np.uint8)
            Image.fromarray(pixels).save("now.png")  # encoding arrays would need TensorFlow
            yield i, {"photo": "now.png", "mask": "now.png", "species": i % 2, "age": i}
"""


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    desk = tmp_path_factory.mktemp("pets")
    (desk / "pets_of_mine.py").write_text(BUILDER)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(desk)
        patch.syspath_prepend(desk)
        patch.setattr(sys, "dont_write_bytecode", True)
        assert prepare.main(["pets_of_mine:Pets", "--data_dir=data"]) == 0
        yield desk / "data"
    sys.modules.pop("pets_of_mine", None)


def test_a_prepared_set(pets):
    keys = {"image_key": "photo", "label_key": "species"}
    data = opened("tfds:pets", pets, **keys)
    assert data.classes == ("cat", "dog")
    assert data.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert images(data.train).mean((1, 2, 3)).tolist() == [6, 16, 26, 36, 46, 56]
    assert images(data.test).mean((1, 2, 3)).tolist() == [2, 12]
    assert data.notes[0] == f"tfds:pets:1.0.0 is read from {pets}/pets/1.0.0."
    bare = opened("tfds:pets", pets, image_key="photo", label_key="")
    assert bare.classes == ("image",)


def test_prepared_sets_that_do_not_fit(pets):
    message = refusal("tfds:pets", pets, image_key="photo", label_key="age")
    assert "data.label_key=age is no feature with classes" in message
    assert "try --config.data.label_key=species, or --config.data.label_key= for" in message
    assert "try --config.data.image_key=mask" in refusal("tfds:pets", pets)
    assert "is not prepared in" in refusal("tfds:mnist", pets)


# All together


def test_only_translation_crops_from_larger_images():
    data = settings("folder", "", image_size=256)
    assert datasets.default_load_size(data) == 256
    del data.label_key
    assert datasets.default_load_size(data) == 286


def test_batches_pair_images_with_their_labels(tmp_path):
    data = opened("folder", class_folder(tmp_path))
    stream = pipeline.labelled(
        data.train, data.labels, seed=0, batch_size=6, image_size=8, load_size=8, num_threads=0
    )
    for _ in range(4):
        batch = next(stream)
        dark = batch["image"].min((1, 2, 3)) < 128
        np.testing.assert_array_equal(dark, batch["label"] == 1)


def test_a_budget_keeps_the_pixels():
    images = noise(9, 16, 16, 3)
    split = in_memory.Split(images, np.zeros(9, int))
    sizes = {"channels": 3, "image_size": 8, "load_size": 8}
    free, tight = (
        in_memory.open_splits(split, split, ("a",), "here", **sizes, budget_bytes=budget)
        for budget in (10**6, 400)
    )
    np.testing.assert_array_equal([*free.train], [*tight.train])
    np.testing.assert_array_equal([*tight.train], [*tight.train])
    assert tight.train.nbytes <= 400


def test_names_of_classes():
    assert len(idx.FASHION) == len(idx.DIGITS) == 10
