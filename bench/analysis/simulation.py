"""What the rules of a verdict cost and save: simulated experiments, judged by the same code.

    python -m bench.analysis.simulation

prints how often arms that do not differ are called better or worse, and how often two points are
found, by number of seeds, looks and arms. The spread is that of the published differences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
from scipy import special

from bench.analysis.moderated import Variances, prior_of
from bench.analysis.statistics import NO_PRIOR, Floats

ERROR = 0.05
DIFFERENCE_SD = 1.1  # of a paired one in accuracy, points: pooled over published comparisons
RUNS = 20_000


@dataclass(frozen=True)
class Design:
    """An experiment that is drawn many times."""

    arms: int = 10  # the treatment, the baseline, and others that it is compared to
    looks: tuple[int, ...] = (3,)  # seeds at which a verdict is given; they share one error of 5 %
    effect: float = 0.0  # true difference to the baseline, points
    noisy: float = 1.0  # the treatment's spread over that of the others
    uneven: float = 0.0  # standard deviation of the logarithm of an arm's spread
    tails: float = np.inf  # degrees of freedom of the t distribution of a run; inf: normal
    # spreads, over the true one, of published experiments of ten arms and three seeds
    lent: tuple[float, ...] = ()
    moderated: bool = True  # whether the prior is used
    stream: int = field(default=20261126, compare=False)


def called(design: Design, runs: int = RUNS) -> float:
    """The share of experiments in which some look calls the treatment better or worse."""
    stream = np.random.default_rng(design.stream)
    differences = drawn(design, stream, runs)
    differences[:, 0] += design.effect
    lent = [_lent(design, scale, stream, runs) for scale in design.lent]
    error = ERROR / len(design.looks)
    found = [p_values(design, differences[..., :n], lent) < error for n in design.looks]
    return float(np.any(found, axis=0).mean())


def drawn(design: Design, stream: np.random.Generator, runs: int) -> Floats:
    """(runs, arms - 1, seeds) treatment minus each other arm, points; no true difference."""
    shape = (runs, design.arms, max(design.looks))
    spread = DIFFERENCE_SD / np.sqrt(2) * np.exp(stream.normal(0, design.uneven, shape[:2]))
    spread[:, 0] *= design.noisy
    noise = stream.standard_normal(shape)
    if np.isfinite(design.tails):
        scale = np.sqrt(stream.chisquare(design.tails, shape) / (design.tails - 2))
        noise /= scale
    scores = noise * spread[..., None]
    return np.asarray(scores[:, :1] - scores[:, 1:], dtype=float)


def p_values(design: Design, differences: Floats, lent: Sequence[Variances] = ()) -> Floats:
    """(runs,) of the two-sided t test of the first difference, the others moderating it."""
    n = differences.shape[-1]
    values, df = differences.var(axis=-1, ddof=1), n - 1.0
    others = Variances(values[:, 1:], np.full(design.arms - 2, df))
    prior = prior_of(values[:, 0], df, others, lent) if design.moderated else NO_PRIOR
    variance, total = prior.moderate(values[:, 0], df)
    t = differences[:, 0].mean(axis=-1) / np.sqrt(variance / n)
    return np.asarray(2 * special.stdtr(total, -np.abs(t)), dtype=float)


def _lent(design: Design, scale: float, stream: np.random.Generator, runs: int) -> Variances:
    elsewhere = replace(design, arms=10, looks=(3,), noisy=1.0)
    values = (scale * drawn(elsewhere, stream, runs)).var(axis=-1, ddof=1)
    return Variances(values, np.full(values.shape[-1], 2.0))


DESIGNS: dict[str, Design] = {
    "one experiment of ten arms": Design(),
    "of four arms": Design(arms=4),
    "of three arms": Design(arms=3),
    "treatment and baseline alone": Design(arms=2),
    "four arms, one published experiment lends": Design(arms=4, lent=(1.0,)),
    "treatment and baseline alone, one lends": Design(arms=2, lent=(1.0,)),
    "treatment and baseline alone, one 1.5 times less spread lends": Design(
        arms=2, lent=(1 / 1.5,)
    ),
    "treatment 1.5 times as noisy": Design(noisy=1.5),
    "spreads 40 % apart": Design(uneven=0.4),
    "heavy tails (t, 5 degrees of freedom)": Design(tails=5.0),
}


def table() -> str:
    """How often each design calls a difference that is not there, and one of 2 points: Markdown."""
    lines = [
        "| design | looks, seeds | false, % | with own t, % | 2 points found, % | with own t, % |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for (name, design), looks in product(DESIGNS.items(), ((3,), (6,), (4, 8), (3, 6, 10))):
        cells = [name, ", ".join(map(str, looks))]
        for effect, moderated in product((0.0, 2.0), (True, False)):
            one = replace(design, looks=looks, effect=effect, moderated=moderated)
            cells.append(f"{100 * called(one):.1f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())  # noqa: T201
