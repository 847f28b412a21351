"""The page of `check resizer`: ours beside the published module, and what bounds both."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import median

import pandas as pd

from bench.analysis.statistics import Ratio, noise_floor, time_ratio
from bench.errors import counted
from bench.records import AGAIN, PUBLISHED_FORM, FormsRecord, write_record, write_whole
from bench.report import render, words
from bench.report.answer import Answer
from bench.report.summary import Summary, save_summary
from bench.report.words import TIMES

NAME = "check-resizer"
QUESTION = "How much faster and smaller is our learned resizer than the published module?"
SCOPE = (
    "The module alone, forward and backward: 224 → 112 px, 16 kernels, 2 blocks, batch 32. A whole "
    "step: 128 → 64 px, 1 block, ResNet-10-T, batch 64"
)
FP32, BF16 = "ours, fp32", "ours, bf16"
ALIKE = "published, fp32"  # in the layout of ours
AIMS = (
    ("training step", "train", FP32, PUBLISHED_FORM, 1.5),
    ("training step", "train", BF16, PUBLISHED_FORM, 4.0),
    ("inference", "infer", FP32, PUBLISHED_FORM, 2.0),
    ("inference", "infer", "ours, onnxruntime", PUBLISHED_FORM, 2.0),
    ("inference", "infer", BF16, PUBLISHED_FORM, 4.0),
    ("whole step", "whole", FP32, ALIKE, 1.2),
    ("whole step", "whole", BF16, "published, bf16", 1.5),
)
"""What, phase, form, the form that it is compared with, and how many times as fast it should be."""
MOST_MEMORY = 0.35  # of the published form's peak in training


def save(record: FormsRecord, folder: Path) -> None:
    """Write page, summary and record into `folder`."""
    told = summary(record)
    noise = noise_floor(*(seconds(record, name, "train") for name in (PUBLISHED_FORM, AGAIN)))
    text = render.markdown(
        "resizer.md.j2",
        about=told,
        aims=aims(record),
        forms=forms(record),
        speeds={name: words.number(value) for name, value in speeds(record).items()},
        noise=words.percent(noise - 1),
        rounds=len(record["rounds"]),
    )
    write_record(folder, record)
    write_whole(folder / "report.md", text)
    write_whole(folder / "report.html", render.html(text, QUESTION))
    save_summary(told, folder)


def summary(record: FormsRecord) -> Summary:
    environment = record["rounds"][-1]["environment"]
    where = f"{environment['device_name']}, {counted(environment['threads'], 'thread')}"
    over, alike = (words.ratio(times(record, "train", FP32, of)) for of in (PUBLISHED_FORM, ALIKE))
    reached = list(aims(record)["reached"])
    sentence = (
        f"In fp32 ours trains {over} as fast as the published module, {alike} where both are "
        f"channels-last; {reached.count('yes') or 'none'} of {len(reached)} aims reached."
    )
    return Summary(
        name=NAME,
        question=QUESTION,
        scope=f"{SCOPE}; {where}.",
        progress="Cost alone: nothing is trained.",
        complete=True,
        date=record["finished"],
        baseline=PUBLISHED_FORM,
        environments={"trials": {}, "timing": dict(environment)},
        generated=True,
        answers=[Answer("cost", sentence, "")],
    )


def seconds(record: FormsRecord, form: str, phase: str) -> list[float]:
    """Of an image, in each round."""
    return [one["seconds"][form][phase] for one in record["rounds"]]


def times(record: FormsRecord, phase: str, form: str, over: str) -> Ratio:
    """How many times as fast a form is as another."""
    return time_ratio(seconds(record, over, phase), seconds(record, form, phase))


def aims(record: FormsRecord) -> pd.DataFrame:
    """What was aimed at, and what is found, of the forms that were measured."""
    lines = [
        (f"{what}, {form}", over, f"≥ {least:g} {TIMES}", words.ratio(of), of.value >= least)
        for what, phase, form, over, least in AIMS
        if form in record["rounds"][0]["seconds"]
        for of in [times(record, phase, form, over)]
    ]
    memory = {name: of["memory_mib"] for name, of in record["weighed"].items()}
    for form in (FP32, BF16):
        share = memory.get(form, math.nan) / memory[PUBLISHED_FORM]
        if not math.isnan(share):
            found, most = (f"{words.number(of)} {TIMES}" for of in (share, MOST_MEMORY))
            small = share <= MOST_MEMORY
            lines.append((f"peak memory, {form}", PUBLISHED_FORM, f"≤ {most}", found, small))
    headings = ["what", "compared with", "aim", "found", "reached"]
    return pd.DataFrame(lines, columns=headings).replace({True: "yes", False: "no"})


def forms(record: FormsRecord) -> pd.DataFrame:
    """Speed and memory of each form, and how fast it could train by arithmetic and by traffic."""
    can, weighed = speeds(record), pd.DataFrame(record["weighed"]).T
    names = record["weighed"]
    arithmetic = pd.Series([can["bf16" if "bf16" in name else "fp32"] for name in names], names)
    columns = {
        "training, images/s": rates(record, "train"),
        "arithmetic allows": arithmetic / weighed["gmacs"],
        "traffic allows": 1e3 * can["copy"] / weighed["traffic_mb"],
        "inference, images/s": rates(record, "infer"),
        "whole step, images/s": rates(record, "whole"),
        "peak memory, MiB": weighed["memory_mib"],
        "multiply-adds in training, GMAC": weighed["gmacs"],
        "traffic in training, MB": weighed["traffic_mb"],
    }
    return pd.DataFrame(columns).map(words.number).rename_axis("module").reset_index()


def rates(record: FormsRecord, phase: str) -> pd.Series:
    """Images/s of each form that was measured in the phase: the median of the rounds."""
    forms = [name for name, of in record["rounds"][0]["seconds"].items() if phase in of]
    return pd.Series(
        {name: 1 / median(seconds(record, name, phase)) for name in forms if name != AGAIN}
    )


def speeds(record: FormsRecord) -> dict[str, float]:
    """Of the machine: the medians of the rounds."""
    rounds = record["rounds"]
    return {name: median(one["speeds"][name] for one in rounds) for name in rounds[0]["speeds"]}
