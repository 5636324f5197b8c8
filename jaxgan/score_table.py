"""Runs' scores side by side, where they can be compared."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxgan import logs, records, workdir
from jaxgan.errors import UserError
from jaxgan.metrics import scores

# What may differ between scores that are compared: it is what a comparison is of, or a mere name of
# what a hash beside it tells.
FREE = ("fake.weights_sha256", "fake.trained_seed", "metrics", "real.name", "network.run", "git")


def table(runs: Sequence[str], names: Sequence[str], anyway: bool = False) -> str:
    """The last line of each run's scores.jsonl that has all of `names`, as text.

    Args:
      runs: folders.
      names: of `scores.SCORES` and `scores.PAIRED`.
      anyway: scores that can't be compared are marked, instead of refused.

    Returns:
      A row for each run: its step and its numbers; below them what differs, if anything.

    Raises:
      UserError: for a run without such scores, or scores that can't be compared.
    """
    if len(runs) < 2:
        raise UserError("--table takes two runs or more, with commas between them")
    chosen = [_line(run, names) for run in runs]
    facts = [_facts(line["how"], names) for line in chosen]
    unlike = differences(facts)
    if unlike and not anyway:
        listing = "\n".join(f"  {name}: {_values(values)}" for name, values in unlike.items())
        raise UserError(
            f"these scores can't be compared; between the runs differ\n{listing}\nScore them "
            "alike, or add --anyway: then they are marked"
        )
    columns = list(dict.fromkeys(name for line in chosen for name in _numbers(line, names)))
    rows = [["run", "step", *columns]]
    for run, line, fact in zip(runs, chosen, facts, strict=True):
        apart = any(fact.get(name) != facts[0].get(name) for name in unlike)
        mark = " *" if apart else ""
        found = [_number(line.get(name)) for name in columns]
        row = ["-" if value is None else f"{value:.6g}{mark}" for value in found]
        rows.append([run, str(line["step"]), *row])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    if unlike:
        lines.append("* not comparable with the first run; between the runs differ")
        lines += [f"  {name}: {_values(values)}" for name, values in unlike.items()]
    return "\n".join(lines)


def differences(facts: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """What several scores don't have in common: name -> the value of each."""
    names = dict.fromkeys(name for fact in facts for name in fact)
    found = {name: [fact.get(name) for fact in facts] for name in names}
    return {n: v for n, v in found.items() if not _free(n) and any(x != v[0] for x in v)}


def _free(name: str) -> bool:
    """Also of each of several: `real.AtoB.name`, `fake.weights_sha256.0`."""
    parts = name.split(".")
    ends = f"{parts[0]}.{parts[-1]}"
    return any(x in (name, ends) or name.startswith(f"{x}.") for x in FREE)


def _facts(how: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """What scores of these names depend on, of all that a line says."""
    sets = [scores.SCORES[name] for name in names if name in scores.SCORES]
    settings = {field for score in sets for field in score.settings}
    left = {k: v for k, v in how.items() if sets or k not in ("real", "network")}
    kept = {k: v for k, v in how.get("settings", {}).items() if k in settings}
    return flat(left | {"settings": kept})


def flat(how: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested mappings as `outer.inner` -> value."""
    found = {}
    for name, value in how.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = value
    return found


def _line(run: str, names: Sequence[str]) -> dict[str, Any]:
    workdir.recorded_config(run)
    lines = records.read(workdir.resolve(run) / logs.SCORES)
    made = [(line, line.get("how", {}).get("metrics", [])) for line in lines]
    having = [line for line, of in made if set(names) <= set(of)]
    if not having:
        there = list(dict.fromkeys(name for _, of in made for name in of))
        hint = f" (it has lines of {', '.join(there)})" if there else ""
        command = f"python -m jaxgan.evaluate --workdir={run} --metrics={','.join(names)}"
        raise UserError(
            f"{run} has no line of {', '.join(names)} in its scores.jsonl{hint}; make it, if "
            f"such a run can have one, by {command}"
        )
    return having[-1]


def _numbers(line: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Names of a line's numbers that belong to some scores."""
    made = [number for name in names for number in scores.numbers_of(name)]
    return [
        key
        for key, value in line.items()
        if _number(value) is not None and scores.base(key) in made
    ]


def _number(value: Any) -> float | None:
    """Of a line, in which what isn't finite is text; None of anything else."""
    if isinstance(value, int | float):
        return float(value)
    return float(value) if value in ("NaN", "Infinity", "-Infinity") else None


def _values(values: Sequence[Any]) -> str:
    return " | ".join("-" if value is None else str(value) for value in values)
