"""Every verdict of one or many experiments as a row of a table, with what stands beside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import pandas as pd

from bench.analysis.evidence import Evidence, Row, holds_for
from bench.analysis.judging import Answer, Reason, Verdict
from bench.analysis.prices import paid, same_settings
from bench.data.specs import DATASETS
from bench.spec.trial import Length, Trial

UNFINISHED: tuple[Reason, ...] = ("too few seeds", "before a look")


@dataclass(frozen=True, kw_only=True)
class VerdictRow:
    """A primary comparison in one context: the columns of `as_table`."""

    experiment: str
    treatment: str
    baseline: str
    answer: Answer
    reason: Reason | None  # why there is no verdict; None where there is one
    # for what it holds
    dataset: str
    input_size: int  # of the treatment, pixels
    output_size: int | None
    size: str  # of both: `64 → 32`
    backbone: str
    others: dict[str, Any]  # values of the other axes that take several; the length left out
    length: Length  # of training; 0 epochs where nothing is trained
    started_from: tuple[Length, ...]  # lengths of the trials that the treatment starts from
    # treatment minus baseline, points: the interval that the answer is drawn from
    difference: float
    low: float
    high: float
    level: float  # of the intervals
    sd: float  # of the differences
    seeds: int
    own_low: float  # of the plain t interval over seeds
    own_high: float
    over_images: bool  # whether the interval is the one over new images, as the wider one
    detectable: float | None  # what the design finds in four of five experiments
    by_seed: dict[int, float]
    headroom: dict[int, float]  # the plain pipeline on all the pixels minus baseline, by seed
    margin_pct: float  # differences smaller than this do not matter to the asker
    baseline_top1_pct: float
    # a training step, as a multiple of the baseline's
    step_ratio: float | None = None
    step_beyond_noise: bool | None = None
    # treatment minus a plain image of its training time, points, with the 95 % interval
    equal_time_difference: float | None = None
    equal_time_low: float | None = None
    equal_time_high: float | None = None
    # what the comparison was made of
    front_end: bool  # whether the treatment has one that the baseline has not
    generated: bool  # whether its images are
    subject: str  # what its images show, where that is known
    tuned: bool  # whether its arms were tuned, each for itself
    recipe_for: str | None  # the arm alone for which the recipe of all was tuned
    trials: tuple[str, ...]  # keys
    base_runs: tuple[str, ...]  # those of them that are the baseline's, and what any starts from


def as_table(rows: Iterable[VerdictRow]) -> pd.DataFrame:
    """A line for each row, under the fields of `VerdictRow`; numbers that are not there are nan."""
    names = {field.name: str(field.type) for field in fields(VerdictRow)}
    numbers = [name for name, kind in names.items() if kind in ("float | None", "int | None")]
    table = pd.DataFrame([vars(row) for row in rows], columns=list(names))
    return table.astype(dict.fromkeys(numbers, float))


def verdict_rows(evidence: Evidence) -> list[VerdictRow]:
    """The experiment's verdicts, and comparisons whose seeds are there but give none."""
    return [
        _verdict_row(evidence, row, verdict)
        for row, verdict in evidence.judged
        if verdict.difference.n > 1 and verdict.reason not in UNFINISHED
    ]


def _verdict_row(evidence: Evidence, row: Row, verdict: Verdict) -> VerdictRow:
    base, found, step = evidence.baseline_of(row), verdict.difference, row.times.get("train")
    ours, theirs = (tuple(map(str, one.seeds["key"])) for one in (row, base))
    data = DATASETS.get(row.trial.dataset)
    parents = {key for one in (row, base) for of in one.trials.values() for key in of.parents}
    equal = {one.price: one.equal for one in paid(evidence, row)}.get("training time")
    at_time = equal.difference.interval() if equal else None
    return VerdictRow(
        experiment=evidence.experiment.name,
        treatment=row.arm.name,
        baseline=base.arm.name,
        answer=verdict.answer,
        reason=verdict.reason,
        **holds_for(evidence, row),
        difference=found.mean,
        low=found.low,
        high=found.high,
        level=found.level,
        sd=found.sd,
        seeds=found.n,
        own_low=verdict.own.low,
        own_high=verdict.own.high,
        over_images=verdict.over_images,
        detectable=verdict.detectable,
        by_seed=_by_seed(evidence.gain(row)),
        headroom=_headroom(evidence, row, base),
        margin_pct=verdict.margin_pct,
        baseline_top1_pct=base.accuracy.mean,
        step_ratio=step.value if step else None,
        step_beyond_noise=step.differs(evidence.floor(row.label, "train") or 1.0) if step else None,
        equal_time_difference=at_time.mean if at_time else None,
        equal_time_low=at_time.low if at_time else None,
        equal_time_high=at_time.high if at_time else None,
        front_end=row.trial.resizer not in ("none", base.trial.resizer),
        generated=is_generated(row.trial),
        subject=data.title.partition(": ")[2] if data else "",
        tuned=evidence.search is not None,
        recipe_for=evidence.experiment.spec.recipe_for,
        trials=tuple(sorted({*ours, *theirs})),
        base_runs=tuple(sorted({*theirs, *parents})),
    )


def _headroom(evidence: Evidence, row: Row, base: Row) -> dict[int, float]:
    """What the baseline gains by the treatment's pixels; empty where no arm tells."""
    for other in evidence.beside(row):
        plain = other.trial.resizer == "none" and other.terms == row.terms
        larger = other.trial.input_size == row.trial.input_size > base.trial.input_size
        if plain and larger and same_settings(row, other):
            return _by_seed(evidence.difference(row.label, other.arm.name, base.arm.name))
    return {}


def _by_seed(values: pd.Series[float]) -> dict[int, float]:
    return dict(zip(values.index.tolist(), values.tolist(), strict=True))


def is_generated(trial: Trial) -> bool:
    """Whether the trial's images are."""
    return trial.dataset in DATASETS and DATASETS[trial.dataset].generator is not None
