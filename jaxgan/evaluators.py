"""Test sets, translated and scored. Evaluators are functions of weights; nothing is stored."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.commandline import nearest
from jaxgan.data.datasets import Dataset
from jaxgan.data.sources import Source
from jaxgan.errors import UserError
from jaxgan.metrics import pairs
from jaxgan.page import Row, Section
from jaxgan.parts import in_parts
from jaxgan.update import decode

BATCH = 4  # few enough for any memory


class Domain(NamedTuple):
    """One direction of a test set: inputs, their names, and the truth where it is known.

    images, truth: [N, H, W, C], uint8 or float32 in [-1, 1].
    """

    source: str
    target: str
    names: list[str]
    images: np.ndarray
    truth: np.ndarray | None


class Translations(NamedTuple):
    """What a test set became: [N, H, W, C] in [-1, 1]; `rec` is None where there is no way back."""

    fake: np.ndarray
    rec: np.ndarray | None


def read_tests(data: Dataset, num: int) -> dict[str, Domain]:
    """The first `num` test images (0: all) of both directions, by "AtoB" and "BtoA"."""
    images, names = {}, {}
    for domain, source in (("A", data.test_A), ("B", data.test_B)):
        images[domain], names[domain] = read(source, num)
    return {
        f"{s}to{t}": Domain(s, t, names[s], images[s], images[t] if data.paired else None)
        for s, t in ("AB", "BA")
    }


def read(source: Source, num: int) -> tuple[np.ndarray, list[str]]:
    """The first `num` images (0: all), [N, H, W, C], and their names."""
    count = min(num or len(source), len(source))
    names = getattr(source, "names", None)
    names = list(names[:count]) if names else [f"scene {i}" for i in range(count)]
    return np.stack([source[i] for i in range(count)]), names


def translator(sample: Callable[..., Mapping[str, jax.Array]]):
    """`(weights, domain) -> Translations` by a game's `sample`, compiled once per direction.

    It gives None for a direction in which the game doesn't translate.
    """

    @jax.jit
    def made(weights, batch):
        return sample(weights, decode(batch, jnp.float32))

    def translate(weights: Any, domain: Domain, count: int | None = None) -> Translations | None:
        def part(images):
            return made(weights, {domain.source: images})

        whole = in_parts(part, BATCH, domain.images[:count])
        whole = {name: value.astype(np.float32) for name, value in whole.items()}
        fake = whole.get(f"fake_{domain.target}")
        return None if fake is None else Translations(fake, whole.get(f"rec_{domain.source}"))

    return translate


def unit(images: np.ndarray) -> np.ndarray:
    """Images in [-1, 1]: uint8 -> float32; floats are there already."""
    return images.astype(np.float32) / 127.5 - 1 if images.dtype == np.uint8 else images


def score(domain: Domain, made: Translations) -> dict[str, np.ndarray]:
    """Scores per image, each [N].

    With truth: PSNR of the translation, of the untranslated input, and of the best affine colour
    map that could be fitted with knowledge of the truth. Without: the cycle's L1.
    """
    images = unit(domain.images)
    scores = {}
    if made.rec is not None:
        scores["cycle_l1"] = pairs.l1(made.rec, images)
    if domain.truth is not None:
        truth = unit(domain.truth)
        scores["psnr"] = pairs.psnr(np.clip(made.fake, -1, 1), truth)
        scores["psnr_input"] = pairs.psnr(images, truth)
        scores["psnr_affine"] = pairs.affine_psnr(images, truth)
    return scores


def evaluate(translate, weights: Any, tests: Mapping[str, Domain]):
    """Scores of a whole test set and the sections of its page.

    Returns:
      name_DIRECTION -> mean over images; the page's sections.
    """
    means, sections = {}, []
    for direction, domain in tests.items():
        made = translate(weights, domain)
        if made is None:
            continue
        scores = score(domain, made)
        means |= {f"{name}_{direction}": float(np.mean(v)) for name, v in scores.items()}
        sections.append(_section(direction, domain, made, scores))
    return means, sections


def summary(scores: Mapping[str, float]) -> list[str]:
    """Scores in words, a line for each direction."""
    lines = []
    for direction in ("AtoB", "BtoA"):
        here = {name.removesuffix(f"_{direction}"): v for name, v in scores.items()}
        arrow = direction.replace("to", " → ")
        if "psnr" in here:
            gain = here["psnr"] - here["psnr_input"]
            lines.append(
                f"{arrow} PSNR {here['psnr']:.2f} dB, {gain:+.2f} over the untranslated input "
                f"({here['psnr_input']:.2f}); the best affine colour map {here['psnr_affine']:.2f}"
            )
        elif "cycle_l1" in here:
            lines.append(f"{arrow} → {arrow[0]} L1 of the cycle {here['cycle_l1']:.4f}")
    return lines


def best_mode(name: str) -> str:
    """Whether a higher ("max") or a lower ("min") score is better.

    Raises:
      UserError: for a score that no evaluator gives; "" (none) is "max".
    """
    known = [f"{n}_{d}" for n in ("psnr", "cycle_l1") for d in ("AtoB", "BtoA")]
    if name and name not in known:
        raise UserError(f"checkpoint.best={name!r} is no score: {nearest(name, known)}")
    return "min" if name.startswith("cycle_l1") else "max"


def require_score(name: str, paired: bool) -> None:
    """Checks that a score will be there.

    Raises:
      UserError: for one that needs a truth, where the test set has none.
    """
    if name.startswith("psnr") and not paired:
        raise UserError(
            f"checkpoint.best={name!r} needs test images whose truth is known, as the built-in "
            f"scenes have it; try --config.checkpoint.best={name.replace('psnr', 'cycle_l1')}"
        )


def _section(direction: str, domain: Domain, made: Translations, scores) -> Section:
    rows = []
    for i, name in enumerate(domain.names):
        images = {"input": domain.images[i], "translation": made.fake[i]}
        if domain.truth is not None:
            images["truth"] = domain.truth[i]
        if made.rec is not None:
            images["reconstruction"] = made.rec[i]
        shown = {n: float(v[i]) for n, v in scores.items() if n != "psnr_affine"}
        rows.append(Row(name, images, shown))
    return Section(f"{domain.source} → {domain.target}", rows)


def sample_grid(translate, weights: Any, tests: Mapping[str, Domain], count: int = 4):
    """Rows of input, translation and reconstruction both ways, their labels and groups."""
    rows, labels, groups = [[] for _ in range(count)], [], []
    for domain in tests.values():
        made = translate(weights, domain, count)
        if made is None:
            continue
        columns = {"input": domain.images[:count], "translation": made.fake}
        if made.rec is not None:
            columns["reconstruction"] = made.rec
        for i, row in enumerate(rows):
            row += [images[i] if i < len(images) else None for images in columns.values()]
        labels += columns
        groups.append((f"{domain.source} → {domain.target}", len(columns)))
    return [row for row in rows if any(x is not None for x in row)], labels, groups
