import os
import threading
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from jaxgan.data import sources, transforms
from jaxgan.data.fingerprint import fingerprint
from jaxgan.errors import UserError

SHAPE = (12, 20)  # height, width: not square, so that a wrong rotation shows


def noise(*shape, seed=0, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, True)


def smooth(channels=3):
    """Few frequencies, so that a lossy format keeps it nearly."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    planes = [40 + 9 * y, 220 - 8 * x, 60 + 4 * x + 3 * y, 30 + 5 * x]
    return np.stack(planes[:channels], axis=-1).astype(np.uint8)


def write(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def folder_of(path, count, size=8, seed=0):
    for i in range(count):
        write(path / f"{i:03d}.png", noise(size, size, 3, seed=1000 * seed + i))
    return path


def unpaired_folder(root, train=3, test=0):
    for number, domain in enumerate("AB"):
        folder_of(root / f"train{domain}", train, seed=number)
        if test:
            folder_of(root / f"test{domain}", test, seed=10 + number)
    return root


def open_folder(root, **options):
    return sources.open_unpaired_folder(root, **{"image_size": 8, "load_size": 8, **options})


# Formats


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "tif", "PNG"])
def test_lossless_formats_give_their_pixels(tmp_path, suffix):
    pixels = noise(*SHAPE, 3)
    np.testing.assert_array_equal(sources.decode(write(tmp_path / f"a.{suffix}", pixels)), pixels)


def test_lossless_webp_gives_its_pixels(tmp_path):
    pixels = noise(*SHAPE, 3)
    path = write(tmp_path / "a.webp", pixels, lossless=True)
    np.testing.assert_array_equal(sources.decode(path), pixels)


@pytest.mark.parametrize("name", ["a.jpg", "a.jpeg", "a.webp"])
def test_lossy_formats_come_close(tmp_path, name):
    decoded = sources.decode(write(tmp_path / name, smooth(), quality=95))
    assert decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - smooth()).mean() < 3


def test_grey_becomes_rgb_and_stays_itself_with_one_channel(tmp_path):
    pixels = noise(*SHAPE)
    path = write(tmp_path / "a.png", pixels)
    np.testing.assert_array_equal(sources.decode(path), np.stack([pixels] * 3, -1))
    np.testing.assert_array_equal(sources.decode(path, channels=1), pixels[:, :, None])


def test_colour_becomes_luma_with_one_channel(tmp_path):
    pixels = noise(*SHAPE, 3)
    luma = pixels @ np.array([0.299, 0.587, 0.114])  # ITU-R 601
    grey = sources.decode(write(tmp_path / "a.png", pixels), channels=1)
    assert grey.shape == (*SHAPE, 1)
    assert np.abs(grey[:, :, 0] - luma).max() <= 0.51


def test_one_bit_images_are_black_and_white(tmp_path):
    bits = noise(*SHAPE) > 127
    Image.fromarray(bits).save(tmp_path / "a.png")
    expected = np.repeat(255 * bits[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(sources.decode(tmp_path / "a.png"), expected)


@pytest.mark.parametrize("channels", [3, 1])
def test_transparency_is_composited_on_white(tmp_path, channels):
    pixels = noise(*SHAPE, 4)
    if channels == 1:
        pixels[..., 1] = pixels[..., 2] = pixels[..., 0]
    alpha = pixels[..., 3:] / 255
    expected = pixels[..., :channels] * alpha + 255 * (1 - alpha)
    decoded = sources.decode(write(tmp_path / "a.png", pixels), channels)
    assert np.abs(decoded - expected).max() <= 1


def test_grey_with_alpha_is_composited_on_white(tmp_path):
    pixels = noise(*SHAPE, 2)
    alpha = pixels[..., 1:] / 255
    expected = np.repeat(pixels[..., :1] * alpha + 255 * (1 - alpha), 3, axis=2)
    assert np.abs(sources.decode(write(tmp_path / "a.png", pixels)) - expected).max() <= 1


def palette_image():
    indices = noise(*SHAPE) % 4
    palette = np.array([[255, 0, 0], [0, 255, 0], [10, 20, 30], [200, 100, 50]], np.uint8)
    image = Image.new("P", SHAPE[::-1])
    image.putdata(indices.ravel().tolist())
    image.putpalette(palette.ravel().tolist())
    return image, palette[indices], indices


def test_palette_colours_are_looked_up(tmp_path):
    image, expected, _ = palette_image()
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(sources.decode(tmp_path / "a.png"), expected)


@pytest.mark.parametrize("transparency", [1, bytes([255, 0, 255, 255])])
def test_a_transparent_palette_entry_is_white(tmp_path, transparency):
    image, expected, indices = palette_image()
    image.save(tmp_path / "a.png", transparency=transparency)
    expected = np.where(indices[..., None] == 1, 255, expected)
    np.testing.assert_array_equal(sources.decode(tmp_path / "a.png"), expected)


def test_a_transparent_colour_is_white(tmp_path):
    pixels = smooth()
    pixels[:3] = (1, 2, 3)
    path = write(tmp_path / "a.png", pixels, transparency=(1, 2, 3))
    pixels[:3] = 255
    np.testing.assert_array_equal(sources.decode(path), pixels)


def test_cmyk_jpeg_becomes_rgb(tmp_path):
    Image.fromarray(smooth()).convert("CMYK").save(tmp_path / "a.jpg", quality=98)
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.mode == "CMYK"
    assert np.abs(sources.decode(tmp_path / "a.jpg").astype(int) - smooth()).mean() < 4


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_16_bits_are_scaled_to_8_with_rounding(tmp_path, suffix):
    pixels = noise(*SHAPE, dtype=np.uint16)
    pixels[0, :3] = 0, 65535, 32768
    path = write(tmp_path / f"a.{suffix}", pixels)
    with Image.open(path) as image:
        assert image.mode.startswith("I")
    expected = np.round(pixels / 65535 * 255)
    np.testing.assert_array_equal(sources.decode(path, channels=1)[..., 0], expected)
    np.testing.assert_array_equal(sources.decode(path)[..., 2], expected)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_pixels_without_a_known_range_are_refused(tmp_path, dtype):
    path = write(tmp_path / "a.tiff", np.full(SHAPE, 1e6, dtype))
    with pytest.raises(ValueError, match="no known range"):
        sources.decode(path)


# What the eight EXIF orientations mean: how the stored array turns into the upright one.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("suffix", ["png", "webp", "jpg", "tiff"])
def test_exif_rotation_is_applied_once(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if suffix == "webp" else {}
    path = write(tmp_path / f"a.{suffix}", smooth(), exif=exif, **options)
    decoded = sources.decode(path)
    expected = UPRIGHT[orientation](smooth())
    assert decoded.shape == expected.shape
    assert np.abs(decoded.astype(int) - expected).max() <= (40 if suffix == "jpg" else 0)


def test_16_bits_are_rotated_too(tmp_path):
    pixels = noise(*SHAPE, dtype=np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 6
    decoded = sources.decode(write(tmp_path / "a.png", pixels, exif=exif), channels=1)
    np.testing.assert_array_equal(decoded[..., 0], np.rot90(np.round(pixels / 257), -1))


def test_damaged_exif_leaves_the_picture_as_stored(tmp_path):
    path = write(tmp_path / "a.webp", smooth(), lossless=True, exif=b"Exif\0\0XX broken")
    np.testing.assert_array_equal(sources.decode(path), smooth())


def test_the_content_decides_the_format_not_the_suffix(tmp_path):
    Image.fromarray(noise(*SHAPE, 3)).save(tmp_path / "a.jpg", format="PNG")
    np.testing.assert_array_equal(sources.decode(tmp_path / "a.jpg"), noise(*SHAPE, 3))


# Folders


def test_a_folder_is_sorted_recursive_and_leaves_others_out(tmp_path):
    for name in ["b/z.png", "a.png", "b/c/q.jpg", "b-1.png", ".hidden.png", ".git/x.png"]:
        write(tmp_path / name, noise(4, 4, 3))
    (tmp_path / "notes.txt").write_text("no image")
    folder = sources.ImageFolder(tmp_path)
    assert folder.names == ["a.png", "b-1.png", "b/c/q.jpg", "b/z.png"]
    assert len(folder) == 4


def test_links_are_followed_and_loops_are_not(tmp_path):
    write(tmp_path / "far" / "a.png", noise(4, 4, 3))
    (tmp_path / "near").mkdir()
    os.symlink(tmp_path / "far", tmp_path / "near" / "link")
    os.symlink(tmp_path / "near", tmp_path / "far" / "back")
    assert sources.ImageFolder(tmp_path / "near").names == ["link/a.png"]


def test_images_keep_their_sizes_or_are_squeezed_to_a_square(tmp_path):
    pixels = noise(*SHAPE, 3)
    write(tmp_path / "a.png", pixels)
    assert sources.ImageFolder(tmp_path)[0].shape == (*SHAPE, 3)
    squeezed = sources.ImageFolder(tmp_path, size=7)[0]
    expected = Image.fromarray(pixels).resize((7, 7), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(squeezed, np.asarray(expected))
    grey = sources.ImageFolder(tmp_path, channels=1, size=7)[0]
    expected = Image.fromarray(pixels).convert("L").resize((7, 7), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(grey[..., 0], np.asarray(expected))


def test_resizing_to_the_same_size_changes_nothing():
    image = noise(9, 9, 3)
    assert transforms.resize(image, 9) is image


def break_files(folder):
    """A text, an empty file, half a JPEG and half a PNG, beside what is there."""
    (folder / "text.jpg").write_text("not an image")
    (folder / "empty.png").write_bytes(b"")
    for name in ["half.jpg", "half.png"]:
        whole = write(folder / name, noise(64, 64, 3)).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])
    return ["empty.png", "half.jpg", "half.png", "text.jpg"]


def test_broken_files_are_skipped_counted_and_named(tmp_path):
    root = unpaired_folder(tmp_path, train=4, test=2)
    broken = break_files(root / "trainA")
    data = open_folder(root)
    assert data.train_A.names == ["000.png", "001.png", "002.png", "003.png"]
    for i in range(4):
        np.testing.assert_array_equal(data.train_A[i], noise(8, 8, 3, seed=i))
    (note,) = data.notes
    assert note.startswith("4 of 8 files in trainA unreadable, skipped: empty.png (")
    assert all(name in note for name in broken)
    assert str(root) not in note


def test_a_file_that_breaks_later_is_named(tmp_path):
    data = open_folder(unpaired_folder(tmp_path, train=2, test=1), budget_bytes=0)
    (tmp_path / "trainB" / "001.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"trainB/001\.png can't be read"):
        data.train_B[1]


def test_unpaired_folder_with_test_images(tmp_path):
    data = open_folder(unpaired_folder(tmp_path, train=3, test=2), image_size=6)
    assert [len(source) for source in data[:4]] == [3, 3, 2, 2]
    assert data.train_A[0].shape == (8, 8, 3)
    assert data.test_B[0].shape == (6, 6, 3)
    assert not data.held_out
    assert data.notes == []


def test_progress_counts_all_files(tmp_path):
    calls = []
    root = unpaired_folder(tmp_path, train=3, test=2)
    open_folder(root, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(i + 1, 10) for i in range(10)]


# Held-out images


def test_without_test_folders_a_part_is_held_out(tmp_path):
    root = unpaired_folder(tmp_path, train=30)
    data = open_folder(root, image_size=6)
    assert data.held_out
    for train, test in [(data.train_A, data.test_A), (data.train_B, data.test_B)]:
        assert len(train) == 28
        assert len(test) == 2
        assert sorted(train.names + test.names) == [f"{i:03d}.png" for i in range(30)]
        assert test[0].shape == (6, 6, 3)
    assert data.notes[0] == (
        "There is no testA: 2 of the 30 images in trainA are held out for testing "
        "and never trained on."
    )
    again = open_folder(root, image_size=6)
    assert again.test_A.names == data.test_A.names
    name = data.test_A.names[1]
    expected = transforms.resize(sources.decode(root / "trainA" / name), 6)
    np.testing.assert_array_equal(data.test_A[1], expected)


def test_only_the_missing_test_set_is_held_out(tmp_path):
    root = unpaired_folder(tmp_path, train=3)
    folder_of(root / "testB", 2)
    data = open_folder(root)
    assert [len(source) for source in data[:4]] == [2, 3, 1, 2]
    assert data.held_out
    assert len(data.notes) == 1


@pytest.mark.parametrize(("count", "held"), [(2, 1), (30, 2), (160, 8), (5000, 40)])
def test_held_out_share(count, held):
    names = [f"{i}.png" for i in range(count)]
    chosen = sources.held_out_names(names)
    assert len(set(chosen)) == held
    assert set(chosen) <= set(names)
    assert set(sources.held_out_names(names[::-1])) == set(chosen)


def test_broken_files_are_never_held_out(tmp_path):
    root = unpaired_folder(tmp_path, train=2)
    for i in range(30):
        (root / "trainA" / f"broken{i}.png").write_bytes(b"")
    data = open_folder(root)
    assert sorted(data.train_A.names + data.test_A.names) == ["000.png", "001.png"]


# Mistakes


def layout(root, *folders):
    root.mkdir(exist_ok=True)
    for name in folders:
        folder_of(root / name, 2)
    return root


def mistake(root):
    with pytest.raises(UserError) as caught:
        open_folder(root)
    message = str(caught.value)
    assert str(root) in message
    assert "\n" not in message
    return message


def test_absent_folder(tmp_path):
    message = mistake(tmp_path / "horses")
    assert "does not exist" in message
    assert f"the part that exists is {tmp_path}." in message
    assert "trainA and trainB" in message


def test_unset_path():
    with pytest.raises(UserError, match=r"data\.path is not set.*--config\.data\.path=DIR"):
        open_folder("")


def test_file_instead_of_a_folder(tmp_path):
    (tmp_path / "horses.zip").write_bytes(b"")
    assert "is a file" in mistake(tmp_path / "horses.zip")


def test_empty_folder(tmp_path):
    assert "has no trainA and no trainB (it is empty)" in mistake(tmp_path)


def test_missing_domain_lists_what_is_there(tmp_path):
    message = mistake(layout(tmp_path, "trainA", "testA", "photos"))
    assert "has no trainB (it holds photos, testA, trainA)" in message


@pytest.mark.parametrize(
    ("folders", "hint"),
    [
        (("A", "B"), "rename A to trainA and B to trainB"),
        (("train_a", "Train-B"), "rename train_a to trainA and Train-B to trainB"),
        (("train/A", "train/B"), "rename train/A to trainA and train/B to trainB"),
        (("trainA", "trainb"), "rename trainb to trainB"),
        (("horses/trainA", "horses/trainB"), "--config.data.path={root}/horses"),
    ],
)
def test_hint_at_a_layout_that_is_nearly_right(tmp_path, folders, hint):
    root = layout(tmp_path / "data", *folders)
    assert mistake(root).endswith(hint.format(root=root))


def test_hint_at_the_parent(tmp_path):
    root = unpaired_folder(tmp_path)
    with pytest.raises(UserError, match=f"try --config.data.path={tmp_path}$"):
        open_folder(root / "trainA")


def test_empty_domain(tmp_path):
    root = layout(tmp_path, "trainA")
    (root / "trainB").mkdir()
    assert f"{root}/trainB has no images: it is empty" in mistake(root)


def test_domain_of_other_files(tmp_path):
    root = layout(tmp_path, "trainA")
    (root / "trainB").mkdir()
    (root / "trainB" / "clip.mp4").write_bytes(b"")
    assert "has no images, only other files such as clip.mp4" in mistake(root)


def test_domain_of_broken_files(tmp_path):
    root = layout(tmp_path, "trainA")
    (root / "trainB").mkdir()
    break_files(root / "trainB")
    message = mistake(root)
    assert f"None of the 4 files in {root}/trainB can be read: empty.png (" in message


def test_empty_test_folder(tmp_path):
    root = unpaired_folder(tmp_path)
    (root / "testA").mkdir()
    assert f"{root}/testA has no images" in mistake(root)


def test_one_image_cannot_be_held_out(tmp_path):
    root = unpaired_folder(tmp_path, train=1)
    assert "no testA, and one readable image in trainA is too few" in mistake(root)


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(unpaired_folder(tmp_path)))
    assert len(open_folder("~").train_A) == 2


# Cache


class Counting:
    """Images of 12 bytes whose every read is counted."""

    def __init__(self, count):
        self.reads = [0] * count

    def __len__(self):
        return len(self.reads)

    def __getitem__(self, index):
        self.reads[index] += 1
        return np.full((2, 2, 3), index, np.uint8)


def test_cache_reads_once_and_gives_the_same():
    source = Counting(5)
    cached = sources.Cached(source, 60)
    for _ in range(3):
        for i in range(5):
            np.testing.assert_array_equal(cached[i], np.full((2, 2, 3), i))
    assert source.reads == [1] * 5
    assert cached.nbytes == 60
    with pytest.raises(ValueError, match="read-only"):
        cached[0][0] = 1


def test_cache_keeps_its_budget():
    source = Counting(5)
    cached = sources.Cached(source, 35)
    for _ in range(2):
        for i in range(5):
            assert cached[i][0, 0, 0] == i
    assert cached.nbytes == 24
    assert source.reads == [1, 1, 2, 2, 2]


def test_reading_all_fills_the_cache_in_parallel():
    barrier = threading.Barrier(2, timeout=20)

    class Meeting(Counting):
        def __getitem__(self, index):
            barrier.wait()  # passes only if two threads read at once
            return super().__getitem__(index)

    source = Meeting(6)
    cached = sources.Cached(source)
    assert sources.read_all(cached, threads=2) == []
    assert source.reads == [1] * 6
    assert cached.nbytes == 72
    assert not [t for t in threading.enumerate() if t.name.startswith("jaxgan-read")]


def test_opening_decodes_every_file_once(tmp_path, monkeypatch):
    root = unpaired_folder(tmp_path, train=3, test=1)
    decoded = []
    decode = sources.decode
    monkeypatch.setattr(
        sources, "decode", lambda path, *a: decoded.append(path) or decode(path, *a)
    )
    data = open_folder(root)
    for source in data[:4]:
        for i in range(len(source)):
            source[i]
    assert len(decoded) == len(set(decoded)) == 8


def test_default_budget_is_at_most_4_gib():
    assert 0 < sources.default_budget() <= 4 * 2**30


# Fingerprints


def test_a_fingerprint_tells_data_apart(tmp_path):
    def found(name):
        return fingerprint(open_folder(tmp_path / name))

    for name in ("a", "b", "more", "other", "renamed"):
        unpaired_folder(tmp_path / name, train=4, test=2)
    (tmp_path / "other" / "trainA" / "003.png").unlink()
    write(tmp_path / "other" / "trainA" / "003.png", noise(8, 8, 3, seed=99))
    folder_of(tmp_path / "more" / "trainB", 5, seed=1)
    (tmp_path / "renamed" / "testA" / "000.png").rename(tmp_path / "renamed" / "testA" / "x.png")
    assert found("a") == found("b"), "wherever they lie"
    assert len({found(name) for name in ("a", "more", "other", "renamed")}) == 4


def test_fingerprints_of_what_is_drawn():
    from jaxgan.data import points

    ring, grid = (fingerprint(_Drawn(points.WORLDS[name], ("said",))) for name in ("ring", "grid"))
    assert ring != grid
    assert ring == fingerprint(_Drawn(points.WORLDS["ring"], ("otherwise",)))


class _Drawn(NamedTuple):
    world: Any
    notes: tuple[str, ...]
