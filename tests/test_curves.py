"""Curves as SVG: that it is XML, and that points lie where their values say."""

import math
import xml.etree.ElementTree as xml

import pytest

from jaxgan import curves
from jaxgan.curves import Curve

SVG = "{http://www.w3.org/2000/svg}"


def test_points_lie_where_their_values_say():
    picture = xml.fromstring(
        curves.chart([Curve("a", [0, 1, 3], [2, 4, 8])], "one", "steps", "fid", bounds=(0, 10))
    )
    dots = [tuple(float(dot.get(c)) for c in ("cx", "cy")) for dot in picture.iter(f"{SVG}circle")]
    (x0, y0), (x1, y1), (x3, y3) = dots
    assert (x1 - x0) * 3 == pytest.approx(x3 - x0, abs=0.3)
    assert (y0 - y1) * 3 == pytest.approx(y0 - y3, abs=0.3)
    texts = [text.text for text in picture.iter(f"{SVG}text")]
    assert texts[0] == "one"
    assert {"steps", "fid", "0", "2", "10"} <= set(texts)


def test_names_are_told_and_escaped():
    many = [Curve(f"<{i} & so>", [0, 1], [i, i + 1]) for i in range(9)]
    picture = xml.fromstring(curves.chart(many))
    texts = [text.text for text in picture.iter(f"{SVG}text")]
    assert "<8 & so>" in texts
    lines = list(picture.iter(f"{SVG}polyline"))
    styles = {(line.get("stroke"), line.get("stroke-dasharray")) for line in lines}
    assert len(styles) == 9


def test_what_is_not_finite_breaks_the_line():
    nan = math.nan
    picture = xml.fromstring(
        curves.chart([Curve("", [0, 1, 2, 3, 4], [1, 2, nan, 3, 4], [0, 1, nan, 2, 3], [2] * 5)])
    )
    assert len(list(picture.iter(f"{SVG}polyline"))) == 2
    (band,) = picture.iter(f"{SVG}polygon")
    assert "nan" not in band.get("points")
    with pytest.raises(ValueError, match="nothing to draw"):
        curves.chart([Curve("", [0], [nan])])


@pytest.mark.parametrize(
    ("low", "high", "apart"), [(0, 10, 2), (0, 1, 0.2), (-3, 4, 2), (0, 26, 10), (1e-4, 5e-4, 1e-4)]
)
def test_ticks_are_round(low, high, apart):
    assert curves.tick_distance(low, high) == pytest.approx(apart)


def test_one_value_has_an_axis_too():
    assert "<circle" in curves.chart([Curve("", [5], [0.0])])


def test_charts_in_rows():
    one = curves.chart([Curve("", [0, 1], [0, 1])], size=(300, 200))
    picture = xml.fromstring(curves.table([[one, one], [one]]))
    assert (picture.get("width"), picture.get("height")) == ("600", "400")
