"""A study's answer as files: `python -m jaxgan.report runs/STUDY`

writes `runs/STUDY/report/`: `index.html`, a page that needs nothing else, `report.md`, `table.csv`,
`scores.csv` (every seed) and `table.tex`. It reads the runs' folders, trains nothing, and can be
called while a study is under way. Any runs can be named instead, beside each other:

    python -m jaxgan.report runs/a-seed0 runs/a-seed1 runs/b-seed0 --metric=fid_random --output=DIR

Those that differ in their seed alone are one arm, and the first one is the base. `--output` is
`report` here where it isn't given.
"""

import csv
import io
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from jaxgan import answers, commandline, report_page, results, statistics, workdir
from jaxgan.errors import UserError
from jaxgan.files import write_atomically
from jaxgan.results import Results

COMMAND = "python -m jaxgan.report"
FOLDER = "report"
PAGE = "index.html"
COLUMNS = (
    *("score", "arm", "n", "failed", "mean", "deviation", "low", "high"),
    *("difference", "difference_low", "difference_high", "p_holm", "seeds_needed"),
    *("rank_low", "rank_high"),
)


def main(argv: Sequence[str]) -> int:
    """Runs the command; `argv` is without the program's name. Returns the exit code."""
    return commandline.run(_main, argv, __doc__)


def parsed(argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The folders and the flags of a command line.

    Raises:
      UserError: for any mistake.
    """
    named = [word for word in argv if not word.startswith("-")]
    rest = [word for word in argv if word.startswith("-")]
    return named, commandline.parse_flags(rest, {"metric": "", "output": ""})


def _main(argv: Sequence[str]) -> None:
    named, flags = parsed(argv)
    if not named:
        raise UserError(f"name a study's folder, or runs; try: {COMMAND} runs/ring_losses")
    folders = [workdir.resolve(name) for name in named]
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"there is no folder {folder}")
    if len(folders) == 1 and not (folders[0] / workdir.CONFIG).exists():
        if flags["metric"]:
            raise UserError("--metric is of runs; a study's own metric decides")
        found = results.of_study(folders[0])
        place = workdir.resolve(flags["output"]) if flags["output"] else folders[0] / FOLDER
    else:
        found = results.of_runs(folders, flags["metric"])
        place = workdir.resolve(flags["output"] or FOLDER)
    write(found, place)
    print(f"{summary(found)}\n\n{place / PAGE} shows it")


def _require_ours(place: Path) -> None:
    """
    Raises:
      UserError: there is something else than a report.
    """
    if place.exists() and not place.is_dir():
        raise UserError(f"{place} is a file; name another folder with --output")
    if not place.is_dir() or not any(place.iterdir()):
        return
    page = place / PAGE
    if not page.exists() or report_page.GENERATOR not in page.read_text(errors="replace"):
        raise UserError(f"{place} holds files and no report; name another folder with --output")


def write(found: Results, place: Path) -> None:
    """Writes all files. Equal runs give equal bytes.

    Raises:
      UserError: they can't be written, or the folder holds something else.
    """
    _require_ours(place)
    files = {
        PAGE: report_page.html(found),  # first: by it the folder is known as ours
        "report.md": markdown(found),
        "table.csv": table_csv(found),
        "scores.csv": scores_csv(found),
        "table.tex": table_tex(found),
    }
    for name, text in files.items():
        write_atomically(place / name, text.encode(), shared=True)


def summary(found: Results) -> str:
    """The question and the deciding table, of Markdown."""
    parts = [found.question] * bool(found.question)
    return "\n\n".join([*parts, _table_md(found, found.metric)])


def markdown(found: Results) -> str:
    """report.md."""
    warnings, facts = report_page.provenance(found)
    parts = [f"# {found.name}", *[found.question] * bool(found.question)]
    parts += [f"**{warning}**" for warning in warnings]
    for score in found.higher:
        parts += [f"## {score}", _table_md(found, score)]
    differing = [["arm", "fields"], *map(list, found.arms.items())]
    parts += ["## What differs", _rows_md(differing)]
    parts += ["## Training, seconds a seed", _rows_md(report_page.costs(found))]
    known = [["", ""], *([name, "; ".join(values)] for name, values in facts.items())]
    parts += ["## Where it comes from", _rows_md(known)]
    return "\n\n".join(parts) + "\n"


def _table_md(found: Results, score: str) -> str:
    return _rows_md(answers.table(found, score))


def _rows_md(rows: Sequence[Sequence[str]]) -> str:
    head, *others = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    lines = [head, ["---"] * len(head), *others]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def table_csv(found: Results) -> str:
    """table.csv: the numbers of all tables, not rounded; cells without one are empty."""
    lines = [list(COLUMNS)]
    for score, higher in found.higher.items():
        for row in answers.answers(found.values(score), found.base, higher):
            own = row.summary or statistics.Summary(*[math.nan] * 4, 0)
            apart = row.apart.summary if row.apart else None
            numbers = [own.mean, own.deviation, own.low, own.high]
            numbers += [apart.mean, apart.low, apart.high, row.apart.p] if apart else [math.nan] * 4
            cells = [repr(x) if math.isfinite(x) else "" for x in numbers]
            cells.append(str(row.apart.needed) if row.apart and row.apart.needed else "")
            cells += map(str, row.rank) if row.rank else [""] * 2
            lines.append([score, row.arm, str(row.count), str(row.failed), *cells])
    return _csv(lines)


def scores_csv(found: Results) -> str:
    """scores.csv: what every seed of every arm has reached."""
    lines = [["arm", "seed", *found.higher, "failed"]]
    for one in found.trained:
        values = [one.last(score) for score in found.higher]
        cells = [repr(value) if math.isfinite(value) else "" for value in values]
        lines.append([one.arm, str(one.seed), *cells, one.failed])
    return _csv(lines)


def _csv(lines: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def table_tex(found: Results) -> str:
    """table.tex: the deciding table, for \\input; it needs the package booktabs."""
    head, *rows = answers.table(found, found.metric)
    kept = [0, 1, 3, 4, 5, 6]  # ranks and deviations are for the page
    lines = [" & ".join(_tex(row[i]) for i in kept) + r" \\" for row in (head, *rows)]
    return "\n".join(
        [
            r"\begin{tabular}{lrrrrl}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _tex(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
