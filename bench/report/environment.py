"""What ran the trials and the timing, and where they disagree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import pandas as pd

from bench.analysis.evidence import Evidence
from bench.data.specs import DATASETS
from bench.errors import counted
from bench.metrics import LEAST_BUSY
from bench.records import Environment, TimingRecord, TrialRecord
from bench.report import words

PLACES = ("device", "device_name", "driver", "threads", "precision", "platform")
VERSIONS = ("python", "torch", "torchvision", "timm", "numpy", "pillow")
COMPARED = (*PLACES, *VERSIONS)  # trials that differ in one are not of one environment


def devices(evidence: Evidence) -> list[str]:
    """Each device that trials ran on: `cpu (Intel Xeon, 2 threads, fp32)`."""
    ran = evidence.records.values() if evidence.experiment.spec.train else evidence.sittings
    return _devices(ran)


def _devices(records: Iterable[TrialRecord | TimingRecord]) -> list[str]:
    return list(dict.fromkeys(map(_device, _environments(records))))


def _device(env: Environment) -> str:
    threads = counted(env["threads"], "thread") if env["device"] == "cpu" else ""
    inside = filter(None, [env["device_name"], threads, env["precision"]])
    return f"{env['device']} ({', '.join(inside)})"


def timed_elsewhere(evidence: Evidence) -> str:
    """On what times were taken, where it is none of the machines of the trials; else ""."""
    ran, timed = (
        {(env["device"], env["device_name"]) for env in _environments(of)}
        for of in (evidence.records.values(), evidence.sittings)
    )
    if not ran or timed <= ran:
        return ""
    where = words.join(_devices(evidence.sittings))
    return f"Times were taken on {where}; the trials ran elsewhere."


def warnings(evidence: Evidence) -> Iterator[str]:
    """What a reader must know before comparing the numbers."""
    records = evidence.records.values()
    ran = _environments(records)
    on_cpu = any(env["device"] == "cpu" for env in ran)
    for name in COMPARED if on_cpu else [one for one in COMPARED if one != "threads"]:
        values = _values(ran, name)
        if len(values) > 1 and name not in evidence.axes:
            yield f"The trials differ in {name.replace('_', ' ')}: {_counted(values)}."
    if elsewhere := timed_elsewhere(evidence):
        yield elsewhere
    made = Counter(record.get("loader", "pillow") for record in records)
    if len(made) > 1:
        yield (
            f"The trials differ in what made their batches: {_counted(made)}; pixels then differ "
            "by a level here and there."
        )
    taken = Counter(record.get("capture", "ok") for record in records)
    if refused := [f"{why} ({counted(n, 'trial')})" for why, n in taken.items() if why != "ok"]:
        yield f"Steps not captured, which take the processor's time: {words.join(refused)}."
    facts = [record["data"] for record in records if "data" in record]
    if doubts := dict.fromkeys(f"{of['name']}: {of['doubt']}" for of in facts if of.get("doubt")):
        yield (
            f"{'; '.join(doubts)}. The images may not be the published ones: compare the arms here "
            "with one another, not with numbers from elsewhere."
        )
    for context, timing in evidence.timings.items():
        if timing["status"] != "ok":
            ended = f"{timing['status']}: {timing.get('reason', '')}"
            yield f"Timing {context or 'the arms'} ended as {ended}."
    shares = [(row.arm.name, evidence.busy(row)) for row in evidence.rows]
    low = (arm for arm, share in shares if share is not None and share < LEAST_BUSY)
    if bound := dict.fromkeys(low):
        yield (
            f"Bound by launches: a training step of {words.join(bound)} keeps the GPU busy for "
            f"less than {100 * LEAST_BUSY:.0f} % of its time, and so takes the processor's time."
        )
    trials = evidence.experiment.trials.values()
    photographs = {name for name, of in DATASETS.items() if not of.generator}  # of ImageNet, all
    if weights := {one.pretrained for one in trials if one.dataset in photographs} - {None}:
        of_file = "The weights of a checkpoint, if they know ImageNet,"
        whose = "Published weights" if True in weights else of_file
        yield (
            f"{whose} have seen most validation images of Imagenette and Imagewoof, which are in "
            "ImageNet's training set: judge them by the accuracy on clean images, those named "
            "ILSVRC2012_val_*."
        )
    if "True" in _values(ran, "git_dirty"):
        yield "The working tree had changes that were not committed."


def timing(evidence: Evidence) -> str:
    """The noise floor of the timing, and whether it was disturbed; "" without a timing."""
    rounds = [one for sitting in evidence.sittings for one in sitting.get("disturbances", [])]
    if not rounds:
        return ""
    lost = sum(one["disturbed"] for one in rounds)
    used = sum(len(one["rounds_used"]) for one in evidence.sittings if "rounds_used" in one)
    told = f"Times are of {counted(used, 'interleaved round')}, "
    told += counted(len(evidence.sittings), "sitting")
    if floors := [of for label in evidence.timings if (of := evidence.floor(label, "train"))]:
        apart = words.span(100 * (of - 1) for of in floors)
        told += ", with 95 % intervals; two measurements of one arm's training step may be "
        told += f"{apart} % apart (noise floor)"
    told += "."
    left_out = len(rounds) - used  # in each sitting all that were disturbed, or none
    fates = {0: "used all the same", lost: f"which {'is' if lost == 1 else 'are'} left out"}
    fate = fates.get(left_out, f"{left_out} of them left out")
    return f"{told} Other load disturbed {counted(lost, 'round')}, {fate}." if lost else told


def table(evidence: Evidence) -> pd.DataFrame:
    """A line for each thing that is known: its name, of the trials, of the timing."""
    ran, timed = _environments(evidence.records.values()), _environments(evidence.sittings)
    names = dict.fromkeys(name for env in [*ran, *timed] for name in env)
    lines = [
        (
            name.replace("_", " "),
            _counted(_values(ran, name)) or words.NONE,
            _counted(_values(timed, name), "sitting") or words.NONE,
        )
        for name in names
    ]
    return pd.DataFrame(lines, columns=["what", "trials", "timing"])


def _environments(records: Iterable[TrialRecord | TimingRecord]) -> list[Environment]:
    return [record["environment"] for record in records if record.get("environment")]


def _values(environments: Iterable[Environment], name: str) -> Counter[str]:
    found = [env.get(name) for env in environments]
    return Counter(words.NONE if value is None else str(value) for value in found)


def _counted(values: Counter[str], noun: str = "trial") -> str:
    if len(values) < 2:
        return "".join(values)
    return words.join(f"{value} ({counted(n, noun)})" for value, n in values.items())
