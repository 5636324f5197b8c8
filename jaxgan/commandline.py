"""What a user types: `--config=FILE[:PRESETS] --config.FIELD=VALUE ... --FLAG=VALUE`.

Each mistake becomes a `UserError` of one or two sentences, and `run` turns that into exit code 2
without a traceback.
"""

import contextlib
import difflib
import importlib.util
import inspect
import math
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from jaxgan.errors import NonFinite, UserError

HELP = {"--help", "-help", "-h", "--helpfull"}
KINDS = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a word"}


class Command(NamedTuple):
    """A parsed command line.

    Attributes:
      config: presets and overrides applied.
      name: the config file's stem.
      presets: in the order given.
      overrides: dotted field -> value, as given on the command line.
      flags: the other flags by name.
      argv: as typed.
    """

    config: ConfigDict
    name: str
    presets: tuple[str, ...]
    overrides: dict[str, Any]
    flags: dict[str, Any]
    argv: tuple[str, ...]


def nearest(word: str, among: Sequence[str]) -> str:
    """`did you mean X?`, or the list of what there is, to end a message with."""
    close = difflib.get_close_matches(word, list(among), n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return "there is " + ", ".join(sorted(among))


def select_presets(text: str | None, presets: dict[str, Callable[[ConfigDict], None]], config):
    """Applies presets named `a,b,c` to a config, one after another.

    Raises:
      UserError: for a name that isn't in `presets`.
    """
    for name in filter(None, (text or "").split(",")):
        if name not in presets:
            raise UserError(f"the config has no preset {name!r}; {nearest(name, list(presets))}")
        presets[name](config)
    return config


def parse(argv: Sequence[str], defaults: Mapping[str, Any], command: str) -> Command:
    """Parses a command line that has a `--config`.

    A value follows `=` or is the next word. `--FLAG` alone sets a true-or-false one, `--noFLAG`
    clears it. Of a field given twice the last value counts.

    Args:
      argv: without the program's name.
      defaults: the command's other flags and their defaults; a default's type is the flag's.
      command: the program as typed, for messages.

    Raises:
      UserError: for any mistake, naming the nearest that would be right.
    """
    given, rest = take_config(argv)
    if not given:
        raise UserError(f"no config is given; try: {command} --config=configs/cyclegan.py")
    path, _, presets = given.partition(":")
    config = _config(_module(path), path, presets)
    fields = {f"config.{name}": value for name, value in flat(config).items()}
    values = dict(_values(rest, {**fields, **defaults}))
    overrides = {name[len("config.") :]: v for name, v in values.items() if name in fields}
    config.update_from_flattened_dict(overrides)
    return Command(
        config,
        Path(path).stem,
        tuple(filter(None, presets.split(","))),
        overrides,
        {name: values.get(name, default) for name, default in defaults.items()},
        tuple(argv),
    )


def parse_flags(argv: Sequence[str], defaults: Mapping[str, Any], bare: str = "") -> dict[str, Any]:
    """Parses a command line without a `--config`, as `parse` does the other flags.

    One word that is neither a flag nor a flag's value gets the name `bare`, where that is given.

    Raises:
      UserError: for any mistake, naming the nearest that would be right.
    """
    return {**defaults, **dict(_values(argv, defaults, bare))}


def run(
    command: Callable[[Sequence[str]], int | None], argv: Sequence[str], about: str = ""
) -> int:
    """Runs a command and tells its user's mistakes: exit code 2, or 3 for a NaN in training.

    Where nobody reads on (`| head`) it ends without a word, by 141, as other programs do.

    Args:
      command: takes `argv`.
      argv: without the program's name.
      about: all that there is to say where help is asked for; "": the command says it.
    """
    try:
        if about and wants_help(argv):
            print(about.strip(), flush=True)
            return 0
        return command(argv) or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except NonFinite as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    except BrokenPipeError:  # `| head` has seen enough
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except AttributeError as error:
        missing = _missing_field(error)
        if missing is None:
            raise
        print(f"error: {missing}", file=sys.stderr)
        return 2


def wants_help(argv: Sequence[str]) -> bool:
    """Whether help is asked for."""
    return not HELP.isdisjoint(argv)


def help_text(
    about: str, argv: Sequence[str], wanted: Callable[[str], str] = lambda field: ""
) -> str:
    """A command's help; where a config is given, its docstring and fields too.

    Args:
      about: the command's docstring.
      argv: as for `parse`.
      wanted: what a field may hold, in words, by its dotted name.

    Raises:
      UserError: for a config that isn't there.
    """
    given, _ = take_config(argv)
    if not given:
        return f"{about.strip()}\n\nA config's fields and presets: --config=FILE --help"
    path, _, presets = given.partition(":")
    module = _module(path)
    lines = [about.strip(), "", "-" * 80, given, "", (inspect.getdoc(module) or "").strip(), ""]
    lines += ["Fields, and what they are here:"]
    for name, value in flat(_config(module, path, presets)).items():
        shown = f"  --config.{name}={value}"
        words = wanted(name)
        lines.append(f"{shown:56}  {words}".rstrip())
    return "\n".join(lines)


def flat(config: ConfigDict, prefix: str = "") -> dict[str, Any]:
    """Dotted field -> value."""
    found = {}
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def take_config(argv: Sequence[str]) -> tuple[str, list[str]]:
    """The value of `--config`, "" where there is none, and the other words."""
    rest, given = [], []
    words = iter(argv)
    for word in words:
        if word in ("--config", "-config"):
            given.append(next(words, ""))
        elif word.startswith(("--config=", "-config=")):
            given.append(word.partition("=")[2])
        else:
            rest.append(word)
    if len(given) > 1:
        raise UserError(f"--config is given {len(given)} times ({', '.join(given)}); give it once")
    return "".join(given), rest


def _module(path: str) -> ModuleType:
    """A config file, run.

    Raises:
      UserError: where it isn't there, isn't Python or fails.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(f"there is no config file {path!r}; {_other_configs(file)}")
    return executed(path, "config", "configs/cyclegan.py")


def executed(path: str, kind: str, example: str) -> ModuleType:
    """A file that says something by a function: `get_config()` of a config.

    Args:
      path: of the file, which is there.
      kind: config or study.
      example: a file of the kind.

    Raises:
      UserError: where it isn't Python, fails, or has no such function.
    """
    spec = importlib.util.spec_from_file_location(f"{kind}_{Path(path).stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path!r} is not a Python file; a {kind} is one with a get_{kind}()")
    module = importlib.util.module_from_spec(spec)
    with faults_of(path, kind):
        spec.loader.exec_module(module)
    if not callable(getattr(module, f"get_{kind}", None)):
        raise UserError(
            f"{path!r} has no function get_{kind}(), so it isn't a {kind}; see {example}"
        )
    return module


def _other_configs(file: Path) -> str:
    folders = {Path("configs"), file.parent} - {Path(".")}
    there = sorted(path for folder in folders for path in folder.glob("*.py"))
    if not there:
        return "run from the folder that holds configs/, or give the whole path"
    stems = {path.stem: str(path) for path in there}
    close = difflib.get_close_matches(file.stem, stems, n=1, cutoff=0.5)
    if close:
        return f"did you mean {stems[close[0]]!r}?"
    return "there is " + ", ".join(map(str, there))


def _config(module: ModuleType, path: str, presets: str) -> ConfigDict:
    if presets and not inspect.signature(module.get_config).parameters:
        raise UserError(f"{path!r} has no presets, so leave out {':' + presets!r}")
    with faults_of(path):
        config = module.get_config(presets) if presets else module.get_config()
    if not isinstance(config, ConfigDict):
        raise UserError(
            f"get_config() of {path!r} gives a {type(config).__name__}; "
            "it should give an ml_collections.ConfigDict"
        )
    return config


@contextlib.contextmanager
def faults_of(path: str, kind: str = "config") -> Iterator[None]:
    """Whatever such a file raises becomes a `UserError` that says where in it."""
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        steps = traceback.extract_tb(error.__traceback__)
        lines = [step.lineno for step in steps if step.filename == str(Path(path).absolute())]
        lines += [step.lineno for step in steps if step.filename == path]
        where = f" at line {lines[-1]}" if lines else ""
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"the {kind} {path!r} fails{where} ({what}); correct it there") from None


def _values(
    words: Sequence[str], known: Mapping[str, Any], bare: str = ""
) -> Iterator[tuple[str, Any]]:
    """(name, value) of every flag in `words`; `known` has what there is, with its defaults."""
    words = iter(words)
    for word in words:
        if bare and not word.startswith("-"):
            yield bare, word
            bare = ""
            continue
        if not word.startswith("-") or not word.strip("-"):
            raise UserError(f"don't know what to do with {word!r}; {_meant(word, known)}")
        name, equals, text = word[1 + word.startswith("--") :].partition("=")
        if name not in known and name.replace("-", "_") in known:
            name = name.replace("-", "_")
        negated = name.removeprefix("no")
        if isinstance(known.get(negated), bool) and name != negated and not equals:
            yield negated, False
            continue
        if name not in known:
            raise UserError(_unknown(word, name, known))
        if isinstance(known[name], bool) and not equals:
            yield name, True
            continue
        if not equals:
            text = next(words, "--")
            if text.startswith("--"):
                raise UserError(f"--{name} needs a value, such as --{name}={_example(known[name])}")
        yield name, _value(name, text, known[name])


def _value(name: str, text: str, default: Any) -> Any:
    kind = type(default)
    if kind not in KINDS:
        raise UserError(f"--{name} can't be given on the command line; set it in the config file")
    try:
        if kind is bool:
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        value = kind(text)
        if kind is float and not math.isfinite(value):
            raise ValueError
        return value
    except (KeyError, ValueError):
        raise UserError(
            f"--{name}={text} doesn't fit: it takes {KINDS[kind]}, such as {_example(default)}"
        ) from None


def _example(default: Any) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return str(default) or "NAME"


def _unknown(word: str, name: str, known: Mapping[str, Any]) -> str:
    group = [field for field in known if field.startswith(f"{name}.")]
    if group:
        return f"--{name} is a group of fields; give one of them, such as --{group[0]}=..."
    if name.startswith("no") and name[2:] in known:
        return (
            f"--{name} doesn't fit: only what is true or false can be switched off like that; "
            f"give --{name[2:]}=..."
        )
    what = "field" if name.startswith("config.") else "flag"
    return f"unknown {what} {word.partition('=')[0]}; {_meant(word, known)}"


def _meant(word: str, known: Mapping[str, Any]) -> str:
    """What a word that fits nothing was probably meant to be, or what there is."""
    name, equals, text = word.lstrip("-").partition("=")
    fields = [field[len("config.") :] for field in known if field.startswith("config.")]
    flags = [name for name in known if not name.startswith("config.")]
    close = difflib.get_close_matches(name, flags, n=1, cutoff=0.7)
    if close:
        return f"did you mean --{close[0]}{equals}{text}?"
    if not fields:
        return "there is " + ", ".join(f"--{flag}" for flag in flags)
    field = name.removeprefix("config.")
    guess = _closest_field(field, fields)
    if guess:
        return f"did you mean --config.{guess}{equals}{text}?"
    if not name.startswith("config."):
        return "flags look like --config.train.steps=100; --help lists them"
    group = field.rpartition(".")[0]
    there = [name for name in fields if name.startswith(f"{group}.")]
    if there:
        return f"in --config.{group} there is " + ", ".join(n[len(group) + 1 :] for n in there)
    return "there is " + ", ".join(dict.fromkeys(name.partition(".")[0] for name in fields))


def _closest_field(field: str, fields: Sequence[str]) -> str | None:
    group, _, last = field.rpartition(".")
    neighbours = {name.rpartition(".")[2]: name for name in fields if _group(name) == group}
    close = difflib.get_close_matches(last, neighbours, n=1, cutoff=0.6)
    if close:
        return neighbours[close[0]]
    same = [name for name in fields if name.rpartition(".")[2] == last]
    close = difflib.get_close_matches(field, same, n=1, cutoff=0) or same
    close = close or difflib.get_close_matches(field, fields, n=1, cutoff=0.8)
    return close[0] if close else None


def _group(field: str) -> str:
    return field.rpartition(".")[0]


def _missing_field(error: AttributeError) -> str | None:
    """What to say where a config lacks a field; None for any other error."""
    cause = error.args[0] if error.args else None
    steps = traceback.extract_tb(error.__traceback__)
    if not isinstance(cause, KeyError) or "ml_collections" not in steps[-1].filename:
        return None
    name = str(cause.args[0]).partition("\n")[0].strip("'")
    reader = next(step for step in reversed(steps) if "ml_collections" not in step.filename)
    return (
        f"the config lacks a field {name!r}, which {Path(reader.filename).name} reads at line "
        f"{reader.lineno} ({reader.line}); add it there"
    )
