import base64
import html.parser
import io
import re

import ml_dtypes
import numpy as np
import pytest
from PIL import Image

from jaxgan import pictures
from jaxgan.errors import UserError
from jaxgan.page import Row, Section, page
from jaxgan.pictures import grid, png, to_rgb, to_uint8


def test_every_byte_survives_the_trip_through_minus_one_to_one():
    every = np.arange(256, dtype=np.uint8)
    for dtype in (np.float32, np.float64):
        assert np.array_equal(to_uint8(every.astype(dtype) / dtype(127.5) - dtype(1)), every)
    assert to_uint8(every) is every


def test_to_uint8_rounds_to_the_nearest_and_clips():
    values = np.array(
        [-7, -1, -1 + 0.49 / 127.5, -1 + 0.51 / 127.5, 0, 1, 9, np.nan, np.inf, -np.inf]
    )
    assert to_uint8(values).tolist() == [0, 0, 0, 1, 128, 255, 255, 0, 255, 0]
    assert to_uint8(np.array([-1, 1], ml_dtypes.bfloat16)).tolist() == [0, 255]
    with pytest.raises(TypeError, match="int32"):
        to_uint8(np.zeros(3, np.int32))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_any_number_of_channels_is_a_picture(channels):
    image = np.random.default_rng(0).integers(0, 256, (5, 6, channels), np.uint8)
    shown = to_rgb(image)
    assert shown.shape == (5, 6, 3)
    if channels >= 3:
        assert np.array_equal(shown, image[..., :3])
    else:
        grey = image.mean(-1)
        assert np.all(np.abs(shown - grey[..., None]) <= 0.5)
    assert np.array_equal(to_rgb(image[..., 0]), np.repeat(image[..., :1], 3, -1))


@pytest.mark.parametrize(("size", "factor"), [(16, 8), (64, 2), (100, 2), (128, 1), (300, 1)])
def test_a_grid_holds_every_picture_enlarged_by_a_whole_factor(size, factor):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 3, size, size, 3), np.uint8)
    shown = grid([list(row) for row in images], ["input", "translation", "reconstruction"])
    large = images.repeat(factor, 2).repeat(factor, 3)
    # Rows end at the bottom margin, columns at the right one, with gaps of 4 between.
    assert shown.dtype == np.uint8
    for r in range(2):
        for c in range(3):
            bottom = shown.shape[0] - 8 - (1 - r) * (size * factor + 4)
            right = shown.shape[1] - 8 - (2 - c) * (size * factor + 4)
            cell = shown[bottom - size * factor : bottom, right - size * factor : right]
            assert np.array_equal(cell, large[r, c])


def test_labels_titles_and_groups_are_drawn_above_the_pictures():
    black = np.zeros((128, 128, 3), np.uint8)

    def ink(**more):  # rows of pixels above the pictures that aren't paper
        shown = grid([[black, black]], **more)
        above = shown[: shown.shape[0] - 8 - 128]
        return int(np.any(above != 255, axis=(1, 2)).sum()), shown.shape

    few, plain = ink(labels=["input", "translation"])
    titled, with_title = ink(labels=["input", "translation"], title="step 500")
    grouped, with_groups = ink(labels=["input", "translation"], groups=[("A→B", 1), ("B→A", 1)])
    assert 0 < few < titled
    assert few < grouped
    assert with_title[0] > plain[0]
    assert with_groups[1] > plain[1]  # groups stand apart


def test_a_grid_may_have_holes_and_any_labels():
    image = np.zeros((40, 30), np.float32)
    shown = grid([[image, None], [None, image]], ["é→ß 你", "w" * 300], title="word " * 40)
    assert shown.shape[1] < 400
    assert grid([[None]], [""]).shape[2] == 3
    with pytest.raises(ValueError, match="labels"):
        grid([[image]], ["a", "b"])
    with pytest.raises(ValueError, match="labels"):
        grid([], ["a"])
    with pytest.raises(ValueError, match="groups"):
        grid([[image]], ["a"], groups=[("a", 2)])


def test_png_is_lossless_and_deterministic():
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    assert png(image) == png(image.copy())
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(image)))), image)


class _Reader(html.parser.HTMLParser):
    """What the page holds, and that every tag is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.images, self.text, self.rows, self.links = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.links += [v for k, v in attrs.items() if k in ("href", "src", "action", "srcset")]
        if tag == "tr":
            self.rows.append([])
        if tag == "img":
            self.images.append(attrs)
        if tag in ("td", "th"):
            self.rows[-1].append(attrs)
        if tag not in ("img", "meta", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def _read(path):
    reader = _Reader()
    reader.feed(path.read_text("utf-8"))
    assert reader.open == []
    return reader


def _picture(seed, size=16):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)


def _row(i, **scores):
    columns = ("input", "translation", "reconstruction")
    return Row(f"img {i}", {c: _picture(7 * i + j) for j, c in enumerate(columns)}, scores)


def test_the_page_shows_both_directions_with_pictures_scores_and_facts(tmp_path):
    path = tmp_path / "test" / "index.html"
    ab = [_row(i, psnr=20.0 + i) for i in range(3)]
    ba = [Row("back", {"input": _picture(50, 300), "truth": _picture(51)}, {"psnr": float("inf")})]
    facts = {"A→B PSNR": 20.12345, "step": 500, "command": "python -m jaxgan.main --x=1",
             "config": {"train": {"steps": 7}}}  # fmt: skip
    page(path, "CycleGAN", [Section("A→B", ab), Section("B→A", ba)], facts)
    reader = _read(path)
    text = "".join(reader.text)
    for what in ("A→B", "B→A", "20.12", "500", "python -m jaxgan.main --x=1", "train.steps = 7",
                 "img 2", "22.00", "3 test images", "1 test image"):  # fmt: skip
        assert what in text, what
    for attrs, image in zip(
        reader.images, [im for row in ab + ba for im in row.images.values()], strict=True
    ):
        data = base64.b64decode(attrs["src"].removeprefix("data:image/png;base64,"))
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), image)
        assert attrs["alt"]
        small = image.shape[0] < pictures.READABLE
        assert (attrs.get("class") == "pixels") == small
        assert 128 <= int(attrs["width"]) <= 256
    # What sorting reads: the row's number, nothing for pictures, the exact score.
    assert [cell.get("data-value") for cell in reader.rows[2]] == ["1", None, None, None, "21.0"]
    assert reader.rows[-1][-1]["data-value"] == "Infinity"


def test_the_page_needs_no_network_and_is_deterministic(tmp_path):
    for name in ("a", "b"):
        page(tmp_path / name, "t", [Section("A", [_row(0, psnr=1.0)])], {"x": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    reader = _read(tmp_path / "a")
    assert reader.links
    assert all(link.startswith("data:image/png;base64,") for link in reader.links)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", (tmp_path / "a").read_text())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_every_test_image_has_its_row(tmp_path):
    rows = [_row(i) for i in range(64)]
    page(tmp_path / "p.html", "t", [Section("A", rows)], {})
    reader = _read(tmp_path / "p.html")
    assert len(reader.images) == 3 * 64
    assert "64 test images" in "".join(reader.text)


def test_names_are_text_and_never_markup(tmp_path):
    evil = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'&"
    row = Row(evil, {evil: _picture(0)}, {evil: 1.0})
    facts = {evil: evil, "nested": {evil: evil}, "long": evil * 3}
    page(tmp_path / "p.html", evil, [Section(evil, [row])], facts)
    reader = _read(tmp_path / "p.html")
    assert len(reader.images) == 1
    assert reader.images[0]["alt"] == f"{evil}: {evil}"
    assert set(reader.images[0]) == {"class", "width", "height", "alt", "title", "src"}
    assert (tmp_path / "p.html").read_text().count("<script") == 1
    # A file name that is no UTF-8 reaches Python with surrogates.
    page(tmp_path / "p.html", "t", [Section("A", [Row("a\udcff", {})])], {})
    _read(tmp_path / "p.html")


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "index.html"
    page(path, "old", [], {})
    old = path.read_bytes()
    (tmp_path / ".index.html.tmp").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"index\.html can't be written: No space left"):
        page(path, "new", [], {})
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["index.html"]
