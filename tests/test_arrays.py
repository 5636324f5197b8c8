"""`.npy` files: what is read, what is refused and how, and the folders that hold them."""

import io
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgan.data import arrays, sources, transforms
from jaxgan.data.arrays import UINT8, Values
from jaxgan.errors import UserError

SCAN = Values("float32", 0.0, 3000.0)
UNIT = Values("float32")


def saved(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)
    return path


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def scan(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).uniform(0, 3000, shape).astype(dtype)


# What is read


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_bytes_are_their_pixels(tmp_path, channels):
    array = noise(6, 9, channels)
    read = arrays.read(saved(tmp_path / "a.npy", array), channels)
    np.testing.assert_array_equal(read, array)
    assert read.dtype == np.uint8


def test_without_a_third_axis_there_is_one_channel(tmp_path):
    read = arrays.read(saved(tmp_path / "a.npy", noise(6, 9)), 1)
    np.testing.assert_array_equal(read, noise(6, 9)[:, :, None])


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8"])
def test_floating_point_becomes_float32_by_its_range(tmp_path, dtype):
    array = scan(6, 9, 5, dtype=dtype)
    array[0, 0, :3] = 0, 1500, 3000
    read = arrays.read(saved(tmp_path / "a.npy", array), 5, SCAN)
    assert read.dtype == np.float32
    assert read.dtype.isnative
    assert read[0, 0, :3].tolist() == [-1, 0, 1]
    np.testing.assert_allclose(read, array.astype(float) / 1500 - 1, atol=1e-7)


def test_values_in_the_unit_range_are_untouched(tmp_path):
    array = np.array([[-1, 1e-30, 0.1, 1]], np.float32)
    read = arrays.read(saved(tmp_path / "a.npy", array), 1, UNIT)
    np.testing.assert_array_equal(read[:, :, 0], array)


def test_a_narrow_range_far_from_zero_keeps_its_values(tmp_path):
    array = 1e6 + np.linspace(0, 1, 30).reshape(5, 6)
    read = arrays.read(saved(tmp_path / "a.npy", array), 1, Values("float32", 1e6, 1e6 + 1))
    np.testing.assert_allclose(read.ravel(), np.linspace(-1, 1, 30), atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_bounds_are_as_the_file_can_express_them(tmp_path, dtype):
    """0.3 as float32 is more than 0.3; and no float16 is as large as 1e6."""
    path = saved(tmp_path / "a.npy", np.array([[0.1, 0.3]], dtype))
    assert arrays.read(path, 1, Values("float32", 0.1, 0.3)).max() == 1
    assert arrays.read(path, 1, Values("float32", -1e6, 1e6)).max() < 1e-6


def test_the_order_in_the_file_is_not_that_in_memory(tmp_path):
    for array, values in ((noise(6, 9, 4), UINT8), (scan(6, 9, 4), SCAN)):
        path = saved(tmp_path / "a.npy", np.asfortranarray(array))
        read = arrays.read(path, 4, values)
        np.testing.assert_array_equal(read, arrays.read(saved(path, array), 4, values))
        assert read.flags.c_contiguous


@pytest.mark.parametrize(("low", "high"), [(0, 3000), (-1, 1), (0.1, 0.3), (-3e38, 3e38)])
def test_the_way_back(tmp_path, low, high):
    """What is written lies within the range, whatever a network makes, and is read as it was."""
    values = Values("float32", low, high)
    unit = np.linspace(-1, 1, 35, dtype=np.float32).reshape(5, 7, 1)
    path = tmp_path / "a.npy"
    path.write_bytes(arrays.to_bytes(values.from_unit(1.5 * unit)))
    assert np.load(path).dtype == np.float32
    np.testing.assert_allclose(arrays.read(path, 1, values), np.clip(1.5 * unit, -1, 1), atol=1e-6)


# What is refused


REFUSED = [
    (scan(4, 4, 3), 3, UINT8, "floating point with 3 channels, .*data.dtype=float32"),
    (noise(4, 4, 3), 3, SCAN, "uint8 with 3 channels, for runs with --config.data.dtype=uint8"),
    (noise(4, 4, 3).astype(np.int16), 3, UINT8, "it is int16; convert it to uint8, or to float32"),
    (noise(4, 4) > 9, 1, SCAN, "it is bool; convert"),
    (scan(4, 4).astype(complex), 1, SCAN, "it is complex128; convert"),
    (scan(4, 4).astype(np.longdouble), 1, SCAN, "convert"),
    (np.array([["a"]]), 1, UINT8, "convert"),
    (np.zeros((4, 4), [("x", "u1")]), 1, UINT8, "convert"),
    (noise(4, 4, 5), 3, UINT8, "5 channels, for runs with --config.data.channels=5$"),
    (noise(4, 4), 3, UINT8, "1 channel, for runs with --config.data.channels=1"),
    (noise(4, 4, 1), 2, SCAN, "data.channels=1 --config.data.dtype=uint8"),
    (noise(5, 8, 8), 5, UINT8, r"it is \[5, H, W\]; save np.moveaxis"),
    (noise(9), 1, UINT8, r"it has 1 axis, not \[H, W, C\]"),
    (noise(1, 4, 4, 3), 3, UINT8, "it has 4 axes"),
    (np.uint8(3), 1, UINT8, "it has 0 axes"),
    (noise(0, 4, 3), 3, UINT8, "it is empty"),
    (scan(4, 4) * np.nan, 1, SCAN, "NaN or infinite"),
    (np.array([[0, np.inf]]), 1, SCAN, "NaN or infinite"),
    (np.array([[0, np.nan]], np.float16), 1, SCAN, "NaN or infinite"),
    (np.array([[1, 3000.5]]), 1, SCAN, r"from 1.0 to 3000.5, outside of data.low=0.0 to .*=3000.0"),
    (np.array([[-0.1, 1]], np.float32), 1, SCAN, "from -0.1 to 1.0"),
]


@pytest.mark.parametrize(("array", "channels", "values", "words"), REFUSED)
def test_what_does_not_fit_is_refused_in_words(tmp_path, array, channels, values, words):
    with pytest.raises(ValueError, match=words):
        arrays.read(saved(tmp_path / "a.npy", array), channels, values)


class Malicious:
    """Writes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_nothing_is_ever_unpickled(tmp_path):
    mark = tmp_path / "executed"
    evil = np.empty((2, 2, 3), object)
    evil[:] = Malicious(mark)
    as_array, as_pickle = io.BytesIO(), pickle.dumps(Malicious(mark))
    np.save(as_array, evil, allow_pickle=True)
    for content in (as_array.getvalue(), as_pickle):
        (tmp_path / "a.npy").write_bytes(content)
        for values in (UINT8, SCAN):
            with pytest.raises(ValueError, match=r"pickled objects|no \.npy file"):
                arrays.read(tmp_path / "a.npy", 3, values)
    assert not mark.exists()
    pickle.loads(as_pickle)
    assert mark.exists()  # it would have been


def header(shape):
    out = io.BytesIO()
    content = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, content)
    return out.getvalue()


WHOLE = header((20, 20, 3)) + bytes(1200)
BROKEN = {
    "empty": (b"", "cut off"),
    "half a header": (WHOLE[:50], "cut off"),
    "half": (WHOLE[:700], "cut off"),
    "text": (b"not an array at all", "no .npy file"),
    "huge": (header((10**6, 10**6, 3)) + bytes(99), "cut off"),
    "larger than can be": (header((2**32, 2**32, 3)) + bytes(99), ""),
    "larger than numbers": (header((10**30, 2, 3)) + bytes(99), ""),
    "less than nothing": (header((-1, 20, 3)) + bytes(99), ""),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_unreadable_images(tmp_path, name):
    content, words = BROKEN[name]
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(sources.UnreadableImage) as caught:
        sources.ImageFolder(tmp_path)[0]
    assert words in caught.value.reason
    assert str(tmp_path) not in caught.value.reason


def test_the_whole_file_is_read(tmp_path):
    (tmp_path / "a.npy").write_bytes(WHOLE)
    assert not sources.ImageFolder(tmp_path)[0].any()


# Sizes


def bicubic(plane, size):
    return np.asarray(Image.fromarray(plane).resize((size, size), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_any_channels_are_resized_one_by_one(channels):
    image = noise(20, 13, channels)  # as Pillow's RGBA the last one would weigh the others
    resized = transforms.resize(image, 8)
    assert resized.dtype == np.uint8
    for channel in range(channels):
        np.testing.assert_array_equal(resized[..., channel], bicubic(image[..., channel], 8))


def test_rgb_at_once_is_its_channels_one_by_one():
    image = noise(20, 13, 3)
    planes = [bicubic(image[..., channel], 8) for channel in range(3)]
    np.testing.assert_array_equal(transforms.resize(image, 8), np.stack(planes, -1))
    np.testing.assert_array_equal(transforms.resize(image[..., :1], 8)[..., 0], planes[0])


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_floats_are_resized_as_floats_and_clipped(channels):
    image = np.sign(np.random.default_rng(0).normal(size=(9, 9, channels))).astype(np.float32)
    resized = transforms.resize(image, 20)
    assert (resized.dtype, resized.shape) == (np.float32, (20, 20, channels))
    for channel in range(channels):
        plane = bicubic(image[..., channel], 20)
        assert np.abs(plane).max() > 1.1  # it overshoots
        np.testing.assert_array_equal(resized[..., channel], np.clip(plane, -1, 1))


# Folders


def scans(root, train=4, test=0, channels=5):
    for number, domain in enumerate("AB"):
        for i in range(train):
            array = scan(10, 12, channels, seed=10 * number + i)
            saved(root / f"train{domain}" / f"{i}.npy", array)
        for i in range(test):
            saved(root / f"test{domain}" / f"{i}.npy", scan(10, 12, channels, seed=50 + i))
    return root


def opened(root, channels=5, values=SCAN, image_size=6, **options):
    sizes = {"image_size": image_size, "load_size": 8}
    return sources.open_unpaired_folder(root, channels, values=values, **sizes, **options)


def test_a_folder_of_floating_point(tmp_path):
    data = opened(scans(tmp_path, train=4, test=2))
    for source, count, size in ((data.train_A, 4, 8), (data.test_B, 2, 6)):
        assert len(source) == count
        assert (source[0].dtype, source[0].shape) == (np.float32, (size, size, 5))
    expected = transforms.resize(SCAN.to_unit(scan(10, 12, 5, seed=12)), 8)
    np.testing.assert_array_equal(data.train_B[2], expected)
    assert data.notes == []


def test_headers_are_read_by_one_thread_at_a_time(tmp_path, monkeypatch):
    """In several, Python 3.11 now and then finds no sense in a sound one."""
    inside, most, opened_by = [], [], np.lib.format.open_memmap

    def slowly(*args, **kwargs):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.002)
        inside.pop()
        return opened_by(*args, **kwargs)

    monkeypatch.setattr(np.lib.format, "open_memmap", slowly)
    paths = [saved(tmp_path / f"{i}.npy", noise(3, 3, 1)) for i in range(12)]
    with ThreadPoolExecutor(4) as threads:
        read = list(threads.map(lambda path: arrays.read(path, 1), paths))
    assert len(read) == len(most) == 12, "once each"
    assert max(most) == 1


@pytest.mark.parametrize(("values", "width"), [(UINT8, 1), (SCAN, 4)])
def test_what_is_held_out_stays_in_memory(tmp_path, values, width):
    scans(tmp_path, train=30)
    if values == UINT8:
        for path in tmp_path.rglob("*.npy"):
            np.save(path, noise(10, 12, 5))
    data = opened(tmp_path, values=values)
    for i in range(2):
        data.test_A[i]
    assert len(data.test_A) == 2
    assert data.test_A.nbytes == 2 * 5 * 6 * 6 * width


def test_the_budget_is_of_bytes(tmp_path):
    data = opened(scans(tmp_path, train=4, test=4), budget_bytes=4 * 2 * (64 + 36) * 5 * 4 // 2)
    assert [source.nbytes for source in data[:4]] == [2 * 64 * 5 * 4] * 2 + [2 * 36 * 5 * 4] * 2


def test_pictures_and_bytes_in_one_folder(tmp_path):
    Image.fromarray(noise(4, 4, 3)).save(tmp_path / "b.png")
    saved(tmp_path / "c/a.npy", noise(4, 5, 3, seed=1))
    saved(tmp_path / "A.npy", noise(4, 4, 3, seed=2)).rename(tmp_path / "A.NPY")
    folder = sources.ImageFolder(tmp_path)
    assert folder.names == ["A.NPY", "b.png", "c/a.npy"]
    for i, (seed, width) in enumerate([(2, 4), (0, 4), (1, 5)]):
        np.testing.assert_array_equal(folder[i], noise(4, width, 3, seed=seed))


def test_arrays_that_do_not_fit_are_skipped_counted_and_named(tmp_path):
    scans(tmp_path, test=1)
    train = tmp_path / "trainA"
    saved(train / "bytes.npy", noise(9, 9, 5))
    saved(train / "grey.npy", scan(9, 9))
    saved(train / "nan.npy", np.full((9, 9, 5), np.nan))
    (train / "cut.npy").write_bytes((train / "0.npy").read_bytes()[:500])
    Image.fromarray(noise(9, 9, 3)).save(train / "view.png")
    data = opened(tmp_path)
    assert data.train_A.names == [f"{i}.npy" for i in range(4)]
    (note,) = data.notes
    assert note.startswith("5 of 9 files in trainA unreadable, skipped: bytes.npy (it is uint8")
    for words in ("cut.npy (it is cut off)", "grey.npy (", "nan.npy (it holds NaN", "view.png (im"):
        assert words in note


def test_pictures_where_they_cannot_be(tmp_path):
    (tmp_path / "trainA").mkdir()
    for i in range(3):
        Image.fromarray(noise(9, 9, 3)).save(tmp_path / f"trainA/{i}.png")
    (tmp_path / "trainB").symlink_to("trainA")
    with pytest.raises(UserError, match=r"as 0.png: image files have 1 or 3 .* of uint8 \[H, W, 5"):
        opened(tmp_path, values=UINT8)
    with pytest.raises(UserError, match=r"files are uint8, .* \[H, W, 3\] from 0.0 to 3000.0\.$"):
        opened(tmp_path, channels=3)


def test_a_range_that_fits_some_files_can_only_be_widened(tmp_path):
    """All folders are looked through first; the flags to give then fit all of them."""
    scans(tmp_path, test=1)
    saved(tmp_path / "trainB/x.npy", scan(9, 9, 5) - np.float32(7.5))
    saved(tmp_path / "testB/y.npy", scan(9, 9, 5).astype(np.float16) + np.float16(1500))
    with pytest.raises(UserError, match=r"2 of the 12 files in .* trainB/x\.npy; try ") as caught:
        opened(tmp_path)
    words = dict(
        word.split("=") for word in str(caught.value).replace(",", "").split() if "--" in word
    )
    low, high = (float(words[f"--config.data.{name}"]) for name in ("low", "high"))
    assert low < 0
    assert high > 3000
    assert opened(tmp_path, values=Values("float32", low, high)).notes == []
