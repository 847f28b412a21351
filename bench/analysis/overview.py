"""The comparisons of many experiments: each once, by scale, and what they say together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import pandas as pd

from bench.analysis import meta
from bench.analysis.effects import average
from bench.analysis.judging import ONE_BY_ONE, SETTLED
from bench.analysis.statistics import LEVEL, Interval, Ratio, t_interval

ANSWERS = "answer-"  # begins the names of experiments that were designed to settle the question


def distinct(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Each comparison once, as the experiment has it that asked the fewest at a time.

    One over a part of another's seeds is not counted beside it.
    """
    once = verdicts.sort_values(["level", "experiment"], kind="stable").drop_duplicates("trials")
    trials = [frozenset(keys) for keys in once["trials"]]
    return once.loc[[not any(one < other for other in trials) for one in trials]]


@dataclass(frozen=True)
class Line:
    """One verdict, or the many of one experiment as their average."""

    verdicts: pd.DataFrame  # with the columns of `VerdictRow`

    @property
    def first(self) -> pd.Series[Any]:
        return self.verdicts.iloc[0]

    @property
    def several(self) -> bool:
        return len(self.verdicts) > 1

    @property
    def difference(self) -> Interval | None:
        """Treatment minus baseline, points; of several, their average over the seeds of all."""
        if not self.several:
            ends = ("difference", "low", "high", "seeds", "level", "sd")
            return Interval(*(self.first[name] for name in ends))
        mean = average(pd.DataFrame(list(self.verdicts["by_seed"])))
        return mean.interval() if mean else None

    @property
    def equal_time(self) -> Interval | None:
        """Treatment minus a plain image of its training time, points; of one verdict alone."""
        if self.several or pd.isna(self.first["equal_time_difference"]):
            return None
        mean, low, high = (self.first[f"equal_time_{end}"] for end in ("difference", "low", "high"))
        return Interval(mean, low, high, self.first["seeds"], LEVEL, math.nan)


@dataclass(frozen=True)
class Overview:
    """What many verdicts say, those of real images apart from those of generated ones."""

    real: pd.DataFrame  # each comparison once
    generated: pd.DataFrame  # likewise, the settled ones, the largest gain first
    told: pd.DataFrame  # the real ones as their experiments have them

    @cached_property
    def lines(self) -> list[Line]:
        """Each real verdict once; those of an experiment that has too many for that, as one."""
        sizes = self.told.groupby("experiment")["experiment"].transform("size")
        alone, many = distinct(self.told[sizes <= ONE_BY_ONE]), self.told[sizes > ONE_BY_ONE]
        groups = [alone.loc[[i]] for i in alone.index]
        groups += [group for _, group in many.groupby("experiment", sort=False)]
        return [Line(group) for group in groups]

    @property
    def alike(self) -> list[Line]:
        """The real ones whose arms were tuned, each for itself."""
        tuned = self.real.index[self.real["tuned"].astype(bool)]
        return [Line(self.real.loc[[i]]) for i in tuned]

    @property
    def together(self) -> meta.Summary | None:
        """Random effects over the real ones that share no base run."""
        return meta.summary(_compared(self.real, "by_seed"))

    @property
    def recovered(self) -> Ratio | None:
        """How much of what all the pixels bring is recovered, where they surely bring some."""
        sure = [t_interval(list(one.values())).low > 0 for one in self.real["headroom"]]
        gains, headrooms = (
            [one.mean for one in meta.distinct(_compared(self.real[sure], column))]
            for column in ("by_seed", "headroom")
        )
        return meta.share_of_headroom(gains, headrooms)


def overview(verdicts: pd.DataFrame) -> Overview:
    """What stands on a front page of these experiments: what front ends do.

    Args:
        verdicts: of many experiments, as `bench.analysis.verdicts.as_table` gives them.
    """
    verdicts = verdicts[verdicts["front_end"].astype(bool)]
    whole = distinct(verdicts)
    generated = whole["generated"].astype(bool)
    settled = whole[generated & whole["answer"].isin(SETTLED)].drop_duplicates("dataset")
    settled = settled.sort_values("difference", ascending=False)
    return Overview(whole[~generated], settled, verdicts[~verdicts["generated"].astype(bool)])


def settling(verdicts: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The verdicts of experiments that were designed to settle the question, and the earlier ones.

    Those on generated images are of both. All are of the first kind as long as there is none of it
    on real images.
    """
    ours, generated = verdicts["experiment"].str.startswith(ANSWERS), verdicts["generated"]
    if not ours.any():
        return verdicts, verdicts[ours]
    return verdicts[ours | generated.astype(bool)], verdicts[~ours]


def by_scale(lines: Sequence[Line]) -> dict[tuple[int, int], list[Line]]:
    """The lines by the pixels that are loaded and that the backbone gets, the smallest first."""
    groups = groupby(sorted(lines, key=_scale), lambda line: _scale(line)[:2])
    return {sizes: list(group) for sizes, group in groups}


def _scale(line: Line) -> tuple[int, int, str, int, int]:
    first, size = line.first, int(line.first["input_size"])
    output = first["output_size"]
    small = int(output) if output == output else size
    return size, small, first["dataset"], len(line.verdicts), first["length"][0]


def _compared(real: pd.DataFrame, column: str) -> list[meta.Comparison]:
    return [
        meta.Comparison(differences, frozenset(runs))
        for differences, runs in zip(real[column], real["base_runs"], strict=True)
    ]
