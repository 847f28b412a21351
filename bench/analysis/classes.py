"""Which classes gain: accuracy by class, and what the treatment says where the baseline did not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.analysis.crossed import estimated, points
from bench.analysis.evidence import Evidence, Row
from bench.analysis.moderated import priors
from bench.analysis.pairs import Predictions, predictions_of
from bench.analysis.statistics import Interval, simultaneous
from bench.data.specs import DATASETS


@dataclass(frozen=True)
class Classes:
    """Two arms by the class of the image, over the seeds and the images that both have."""

    accuracy: pd.DataFrame  # classes x arms, %, mean over seeds
    difference: list[Interval]  # treatment minus baseline by class, points; they hold together
    moved: pd.DataFrame  # classes x said: how much more often the treatment says so, points
    only: dict[str, list[str]]  # images that one arm alone gets right in every seed, by arm


def classes(evidence: Evidence, row: Row) -> Classes | None:
    """Of a treatment's row; None without predictions of two seeds."""
    arms = [row.arm.name, evidence.experiment.baseline]
    pair = evidence.pair(row, arms[1])
    both = predictions_of(pair, evidence.predicted) if pair and len(pair.trials) > 1 else None
    if pair is None or both is None:
        return None
    ours, theirs = (arm.hits for arm in both)
    labels, first = both[0].labels, str(pair.trials["ours_key"].iloc[0])
    names = _names(evidence, first, int(labels.max()) + 1)
    by_class = [pd.DataFrame(100.0 * of.T).groupby(labels).mean() for of in (ours, theirs)]
    here = [names[label] for label in by_class[0].index]
    means = {arm: of.mean(axis=1).to_numpy() for arm, of in zip(arms, by_class, strict=True)}
    apart = points(ours, theirs)
    by_image = [apart[:, labels == label] for label in by_class[0].index]  # seeds x its images
    gains = [of.mean(axis=1) for of in by_image]
    found = map(estimated, gains, by_image, priors(gains))
    moved = (_said(labels, both[0], names) - _said(labels, both[1], names)).loc[here]
    only = [ours.all(axis=0) & ~theirs.any(axis=0), theirs.all(axis=0) & ~ours.any(axis=0)]
    shown = evidence.predicted(first)
    assert shown is not None
    images = shown["image"].sort_values().astype(str).to_numpy(dtype=object)
    return Classes(
        pd.DataFrame(means, index=here),
        simultaneous(list(found)),
        moved,
        {arm: images[of].tolist() for arm, of in zip(arms, only, strict=True)},
    )


def _names(evidence: Evidence, key: str, least: int) -> list[str]:
    facts = evidence.records[key].get("data", {})
    named, spec = facts.get("classes", []), DATASETS.get(facts.get("name", ""))
    readable = [spec.classes.get(name, name) if spec else name for name in named]
    return readable if len(named) >= least else [str(label) for label in range(least)]


def _said(labels: NDArray[np.int64], arm: Predictions, names: list[str]) -> pd.DataFrame:
    """How often an arm says each class of each class's images, %: shown x said."""
    n, seeds = len(names), len(arm.predicted)
    shown, said = np.tile(labels, seeds), arm.predicted.ravel()
    counts, _, _ = np.histogram2d(shown, said, bins=n, range=[(-0.5, n - 0.5)] * 2)
    images = np.maximum(np.bincount(labels, minlength=n), 1)[:, None]
    return pd.DataFrame(100 * counts / (seeds * images), index=names, columns=names)
