"""What ran the trials and the timing lane, and where they disagree."""

from __future__ import annotations

from collections import Counter
from typing import Any

from bench.analysis.evidence import Evidence
from bench.records import Record
from bench.report import words

COMPARED = (
    *("device", "device_name", "driver", "threads", "precision", "platform"),
    *("python", "torch", "torchvision", "timm", "numpy", "pillow"),
)
"""Trials that differ in one of these are not of one environment."""


def devices(evidence: Evidence) -> list[str]:
    """Each device that trials ran on: `cpu (Intel Xeon, 2 threads, fp32)`."""
    told = []
    lane = [evidence.timing] if evidence.timing and not evidence.experiment.spec.train else []
    for env in map(_environment, _ran(evidence) or lane):
        inside = [env.get("device_name"), _threads(env), env.get("precision")]
        told.append(f"{env.get('device', '?')} ({', '.join(str(v) for v in inside if v)})")
    return list(dict.fromkeys(told))


def warnings(evidence: Evidence) -> list[str]:
    """What a reader must know before comparing the numbers."""
    counted = {name: _values(evidence, name) for name in COMPARED if name not in evidence.axes}
    lines = [
        f"The trials differ in {name.replace('_', ' ')}: {_counted(values)}."
        for name, values in counted.items()
        if len(values) > 1
    ]
    lane = evidence.timing or {"status": "ok"}
    if lane["status"] != "ok":
        lines.append(f"The timing lane ended with “{lane['status']}”: {lane.get('reason', '')}.")
    if any(trial.pretrained for trial in evidence.experiment.trials.values()):
        lines.append(
            "Pretrained backbones have seen most validation images of Imagenette and Imagewoof, "
            "which are in ImageNet's training set: judge them by the accuracy on clean images, "
            "those named ILSVRC2012_val_*."
        )
    if "True" in _values(evidence, "git_dirty"):
        lines.append("The working tree had changes that were not committed.")
    return lines


def table(evidence: Evidence) -> list[tuple[str, str, str]]:
    """A line for each thing that is known: its name, of the trials, of the timing lane."""
    lane = _environment(evidence.timing or {})
    names = [
        name
        for record in [*_ran(evidence), {"environment": lane}]
        for name in record["environment"]
    ]
    return [
        (
            name.replace("_", " "),
            _counted(_values(evidence, name)) or words.NONE,
            str(lane.get(name, words.NONE)),
        )
        for name in dict.fromkeys(names)
    ]


def _ran(evidence: Evidence) -> list[Record]:
    return [record for record in evidence.records.values() if record.get("environment")]


def _environment(record: Record) -> dict[str, Any]:
    return dict(record.get("environment") or {})


def _threads(env: dict[str, Any]) -> str:
    return words.count(int(env["threads"]), "thread") if env.get("threads") else ""


def _values(evidence: Evidence, name: str) -> Counter[str]:
    return Counter(str(r["environment"].get(name, words.NONE)) for r in _ran(evidence))


def _counted(values: Counter[str]) -> str:
    if len(values) < 2:
        return "".join(values)
    return words.join(f"{value} ({words.count(n, 'trial')})" for value, n in values.items())
