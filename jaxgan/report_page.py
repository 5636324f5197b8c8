"""A report's page: tables, curves, samples and provenance in one HTML file."""

import base64
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from jaxgan import answers, curves, records, statistics
from jaxgan.results import Results, Trained

GENERATOR = '<meta name="generator" content="jaxgan.report">'  # by which a page is known as ours
POINTS = 200  # of a curve, at most
SIZE = (420, 280)  # of a chart, in pixels


def html(found: Results) -> str:
    """The page."""
    body = [f"<h1>{escape(found.question or found.name)}</h1>"]
    warnings, facts = provenance(found)
    body += [f'<p class="warning">{escape(words)}</p>' for words in warnings]
    for score in found.higher:
        decides = " decides" if score == found.metric and len(found.higher) > 1 else ""
        body += [f"<h2>{escape(score)}{decides}</h2>", _table(answers.table(found, score))]
    body.append(_reading(found))
    charts = [_chart(found, name) for name in found.higher]
    if any(charts):
        body += ["<h2>Scores over images seen</h2>", _charts(charts)]
    losses = _losses(found)
    charts = [_chart(found, name, training=True) for name in losses]
    if any(charts):
        body.append(
            f"<details><summary>Means of training: {escape(', '.join(losses))}</summary>"
            f"{_charts(charts)}</details>"
        )
    body += _samples(found)
    body += ["<h2>What differs</h2>", _table([["arm", "fields"], *map(list, found.arms.items())])]
    body += ["<h2>Training, seconds a seed</h2>", _table(costs(found))]
    failed = [[x.arm, str(x.seed), x.failed] for x in found.trained if x.failed]
    if failed:
        body += ["<h2>Failed</h2>", _table([["arm", "seed", "why"], *failed])]
    body += ["<h2>Every seed</h2>", f"<details><summary>table</summary>{_each(found)}</details>"]
    body.append("<h2>Where it comes from</h2>")
    body.append(_table([["", ""], *([name, "\n".join(v)] for name, v in facts.items())]))
    if found.text:
        body.append(
            f"<details><summary>the study's file</summary><pre>{escape(found.text)}</pre></details>"
        )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"{GENERATOR}\n<title>{escape(found.name)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def costs(found: Results) -> list[list[str]]:
    """Headings and rows: seconds that steps took, one seed's, least to greatest over seeds."""
    rows = [["arm", "mean", "least to greatest", "images seen"]]
    for arm in found.arms:
        mine = [one for one in found.trained if one.arm == arm]
        seconds = [one.seconds for one in mine if math.isfinite(one.seconds)]
        seen = {line["images"] for one in mine for line in one.metrics[-1:] if "images" in line}
        least, most = (min(seconds), max(seconds)) if seconds else (math.nan, math.nan)
        spread = f"{least:.3g} to {most:.3g}" if seconds else "-"
        mean = f"{sum(seconds) / len(seconds):.3g}" if seconds else "-"
        rows.append([arm, mean, spread, " or ".join(f"{n:,}" for n in sorted(seen)) or "-"])
    return rows


def provenance(found: Results) -> tuple[list[str], dict[str, list[str]]]:
    """Warnings where runs differ in what besides their configs decides the bits, and the facts."""
    facts: dict[str, dict[str, None]] = {}  # each text once, in the order of the runs
    for one in found.trained:
        if not one.record:
            continue
        for start in (one.record, *one.record["later"]):
            for name, text in _facts(start).items():
                facts.setdefault(name, {})[text] = None
    warnings = [
        f"the runs differ in {name}: {' / '.join(texts)}"
        for name, texts in facts.items()
        if len(texts) > 1
    ]
    if found.strangers:
        shown = ", ".join(found.strangers[:5]) + (", ..." if len(found.strangers) > 5 else "")
        warnings.append(f"beside the study lie runs that don't belong to it: {shown}")
    missing = [f"{x.arm}, seed {x.seed}" for x in found.trained if x.unfinished]
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        many = "runs aren't" if len(missing) > 1 else "run isn't"
        warnings.append(f"{len(missing)} {many} finished: {shown}")
    return warnings, {name: list(texts) for name, texts in facts.items()}


def _facts(start: Mapping) -> dict[str, str]:
    git, device = start["git"], start["device"]
    commit = git["commit"] + (" with changes" if git["dirty"] else "") if git else "unknown"
    versions = ", ".join(f"{name} {v}" for name, v in start["versions"].items())
    found = {
        "commit": commit,
        "code": start["code"][:16],
        "versions": versions,
        "machine": f"{device['count']} {device['platform']} ({device['kind']}), {device['cpu']}",
        "cores": str(device.get("threads", "unknown")),
    }
    if device["xla_flags"] or device["processes"] != 1:
        more = f"{device['processes']} processes, XLA_FLAGS={device['xla_flags']!r}"
        found["machine"] += f", {more}"
    if start.get("data"):
        found["data"] = start["data"][:16]
    return found


def _losses(found: Results) -> list[str]:
    """Means of training that all runs that have begun log."""
    names: list[str] | None = None
    for one in found.trained:
        if one.failed or not one.metrics:
            continue
        start = one.key("")
        mine = [n.removeprefix(start) for n in one.metrics[-1] if n.startswith(start)]
        mine = [n for n in mine if not records.is_timing(n) and n not in ("step", "images")]
        mine = [n for n in mine if not n.startswith(("seed", "learning_rate/", "momentum/"))]
        names = mine if names is None else [name for name in names if name in mine]
    return names or []


def _chart(found: Results, name: str, training: bool = False) -> str:
    """Means over seeds with bands from the least to the greatest; "" of fewer than two points."""
    drawn = []
    for arm in found.arms:
        mine = [one for one in found.trained if one.arm == arm and not one.failed]
        lines = [line for one in mine if (line := one.curve(name, training))]
        if not lines:
            continue
        x = sorted(set.intersection(*(set(line) for line in lines)))
        x = x[:: -(-len(x) // POINTS)] if x else []
        if len(x) < 2:
            continue
        y = np.array([[line[at] for at in x] for line in lines])
        band = (y.min(0), y.max(0)) if len(lines) > 1 else (None, None)
        drawn.append(curves.Curve(arm, x, y.mean(0), *band))
    finite = any(np.any(np.isfinite(curve.y)) for curve in drawn)
    return curves.chart(drawn, name, "images seen", "", SIZE) if finite else ""


def _charts(charts: Sequence[str]) -> str:
    return '<div class="charts">' + "".join(charts) + "</div>"


def _samples(found: Results) -> list[str]:
    """Each arm's last grid of one seed that all arms have: what is drawn for it is the same."""
    grids = {(one.arm, one.seed): _last_grid(one) for one in found.trained}
    having = [one for one in found.trained if grids[one.arm, one.seed]]
    arms = {one.arm for one in having}
    seeds = dict.fromkeys(one.seed for one in having)
    common = [s for s in seeds if all((arm, s) in grids and grids[arm, s] for arm in arms)]
    if not having:
        return []
    shown: dict[str, tuple[Trained, bytes]] = {}
    for one in having:
        if one.seed == common[0] if common else one.arm not in shown:
            shown[one.arm] = one, grids[one.arm, one.seed].read_bytes()
    figures = []
    for arm, (one, data) in shown.items():
        which = f"seed {one.seed}" if one.alone else "all seeds"
        image = base64.b64encode(data).decode()
        figures.append(
            f'<figure><img alt="{escape(arm)}" src="data:image/png;base64,{image}">'
            f"<figcaption>{escape(arm)}, {which}</figcaption></figure>"
        )
    return [
        "<h2>Samples</h2>",
        "<p>" + "Of the same draws, " * bool(common) + "after the last step that has a grid.</p>",
        '<div class="samples">' + "".join(figures) + "</div>",
    ]


def _last_grid(one: Trained) -> Path | None:
    names = {path: path.stem.removeprefix("step_") for path in one.folder.glob("samples/step_*")}
    steps = {int(name): path for path, name in names.items() if name.isdecimal()}
    return steps[max(steps)] if steps else None


def _each(found: Results) -> str:
    rows = [["arm", "seed", *found.higher]]
    for one in found.trained:
        values = [one.last(score) for score in found.higher]
        shown = [f"{value:.5g}" if math.isfinite(value) else "failed" for value in values]
        rows.append([one.arm, str(one.seed), *shown])
    return _table(rows)


def _reading(found: Results) -> str:
    counts = {len([x for x in found.trained if x.arm == arm]) for arm in found.arms}
    least = statistics.least_p(min(counts))
    return (
        "<p>Intervals are of the mean over training seeds (Student's t below "
        f"{statistics.FEW} seeds, the bootstrap's from there). p is of flips of the signs of "
        "differences between runs of the same seed, corrected by Holm over the arms; the least "
        f"that {min(counts)} seed{'s' * (min(counts) != 1)} can reach is {least:.3g} before that; "
        "where none could be small enough after it, the table says how many seeds would tell. "
        "Ranks leave open the order of arms that differences seed by seed can't tell apart. Bands "
        "of curves go from the least to the greatest seed. What failed is counted, and in no "
        "mean.</p>"
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *others = rows
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = [
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in others
    ]
    return (
        f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>'
        + "\n".join(lines)
        + "</tbody></table></div>"
    )


_STYLE = """
:root { color-scheme: light }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem;
  color: #18181b; background: #fff }
h1 { font-size: 1.5rem; line-height: 1.25 } h2 { font-size: 1.1rem; margin-top: 2.2rem }
table { border-collapse: collapse; font-size: .9rem }
th, td { text-align: left; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid #e4e4e7;
  vertical-align: top; white-space: pre-line; font-variant-numeric: tabular-nums }
th { font-weight: 600; color: #52525b }
.scroll { overflow-x: auto }
.warning { background: #fef3c7; border-left: 4px solid #d97706; padding: .4rem .8rem }
.charts, .samples { display: flex; flex-wrap: wrap; gap: 1rem }
figure { margin: 0; max-width: min(100%, 36rem) } figcaption { font-size: .85rem; color: #52525b }
img { max-width: 100%; image-rendering: auto }
summary { cursor: pointer; margin: .6rem 0 } pre { overflow-x: auto; font-size: .85rem }
"""
