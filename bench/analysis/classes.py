"""Which classes gain: accuracy by class, and what the treatment says where the baseline did not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.analysis.evidence import Evidence, Row
from bench.analysis.statistics import Interval, estimate, simultaneous
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
    keys = evidence.pairs(row.label, "key").reindex(columns=arms).dropna()
    told = [[evidence.predicted(str(key)) for key in keys[arm]] for arm in arms]
    tables = [[one for one in arm if one is not None] for arm in told]
    if len(keys) < 2 or {len(arm) for arm in tables} != {len(keys)}:
        return None
    ours, theirs = ([one.sort_values("image") for one in arm] for arm in tables)
    labels, images = ours[0]["label"], ours[0]["image"]
    said = [np.array([one["predicted"] for one in arm]) for arm in (ours, theirs)]
    if said[0].shape != said[1].shape:
        return None
    right = [of == labels.to_numpy() for of in said]
    names = _names(evidence, str(keys.iloc[0, 0]), int(labels.max()) + 1)
    by_class = [
        pd.DataFrame(100.0 * of.T).groupby(labels.to_numpy()).mean() for of in right
    ]  # classes x seeds
    differences = by_class[0] - by_class[1]
    estimates = [estimate(seeds.tolist()) for _, seeds in differences.iterrows()]
    here = [names[int(label)] for label in differences.index]
    means = {arm: of.mean(axis=1).to_numpy() for arm, of in zip(arms, by_class, strict=True)}
    always = [of.all(axis=0) for of in right]
    never = [~of.any(axis=0) for of in right]
    return Classes(
        pd.DataFrame(means, index=here),
        simultaneous(estimates),
        _moved(labels.to_numpy(), said, names),
        {
            arms[0]: images[always[0] & never[1]].astype(str).tolist(),
            arms[1]: images[always[1] & never[0]].astype(str).tolist(),
        },
    )


def _names(evidence: Evidence, key: str, least: int) -> list[str]:
    facts = evidence.records[key].get("data", {})
    named, spec = facts.get("classes", []), DATASETS.get(facts.get("name", ""))
    readable = [spec.classes.get(name, name) if spec else name for name in named]
    return readable if len(named) >= least else [str(label) for label in range(least)]


def _moved(labels: np.ndarray, said: list[np.ndarray], names: list[str]) -> pd.DataFrame:
    """How much more often the first arm says each class of each class's images, points."""
    n = len(names)
    counts = [np.zeros((n, n)), np.zeros((n, n))]
    for count, of in zip(counts, said, strict=True):
        for seed in of:
            known = (seed >= 0) & (seed < n)
            np.add.at(count, (labels[known], seed[known]), 100.0 / len(of))
    total = np.maximum(np.bincount(labels, minlength=n), 1)[:, None]
    moved = pd.DataFrame((counts[0] - counts[1]) / total, index=names, columns=names)
    return moved[np.bincount(labels, minlength=n) > 0]
