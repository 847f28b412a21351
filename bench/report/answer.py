"""The answer in words: what the primary comparison says, for what it holds, and its price."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from bench.analysis.controls import Beside, beside
from bench.analysis.effects import average, effects
from bench.analysis.evidence import Evidence, Row
from bench.analysis.prices import EqualPrice, equal_prices, equal_sides, multiples, times
from bench.analysis.statistics import LEAST_SEEDS, LEVEL, SETTLED, Verdict
from bench.analysis.verdicts import length, place
from bench.metrics import METRICS
from bench.report import words
from bench.report.environment import devices
from bench.report.words import MINUS, TIMES
from bench.spec.controls import STANDARD

ONE_BY_ONE = 2
"""Up to so many verdicts are told each by itself, with the controls of its context."""

MOST_LISTED = 8
"""So many verdicts or arms are listed at the most; each is in the table."""

MOST_SIZES = 4
"""A scope names so many sizes; of more, it names the smallest and the largest."""

PHASES = {"train": "A training step", "infer": "Inference", "latency": "One image at a time"}
"""The phases of the timing lane that an answer tells, and how."""


@dataclass(frozen=True)
class ControlLine:
    """What one control says of the treatment: a line of the page's table."""

    control: str  # what it is, in a few words
    difference: str  # treatment minus control, with its interval
    says: str  # what it says, at most ten words


@dataclass(frozen=True)
class Answer:
    """One verdict of a page in words, or what is told where there is none."""

    badge: str  # the verdict as a word: "better", "not settled", "mixed", "no verdict", "cost", …
    sentence: str  # one, free of Markdown: the difference with its interval and seeds
    place: str  # data, sizes, backbone, length: for what it holds
    controls: list[ControlLine] = field(default_factory=list)
    price: list[str] = field(default_factory=list)  # a step's time, what the same price buys
    details: list[str] = field(default_factory=list)  # what else is worth saying, folded


def answers(evidence: Evidence) -> list[Answer]:
    """At most two verdicts one by one; of more, one answer over all of them."""
    if not evidence.experiment.spec.train:
        return [_cost(evidence)]
    if not evidence.judged:
        return [_without_verdict(evidence)]
    if len(evidence.judged) > ONE_BY_ONE:
        return [_over_all(evidence)]
    *first, last = (_verdict(evidence, *one) for one in evidence.judged)
    return [*first, replace(last, details=[*last.details, *_of_the_whole(evidence)])]


def in_words(evidence: Evidence) -> str:
    """How far it is if unfinished, a line for each answer, and the scope."""
    unfinished = evidence.finished < len(evidence.experiment.runs)
    begin = [f"Not finished: {progress(evidence)}"] if unfinished else []
    told = [
        f"{one.badge.capitalize()}: {one.sentence}" + (f" On {one.place}." if one.place else "")
        for one in answers(evidence)
    ]
    return "\n".join([*begin, *told, scope(evidence)])


def progress(evidence: Evidence) -> str:
    """How much of the experiment there is."""
    if not evidence.experiment.spec.train:
        return "Cost alone: nothing is trained."
    total = len(evidence.experiment.runs)
    lost = len(evidence.records) - evidence.finished
    failed = f", {lost:,} failed" if lost else ""
    return f"{evidence.finished:,} of {words.count(total, 'trial')} finished{failed}."


def scope(evidence: Evidence) -> str:
    """For what the answer holds: data, sizes, backbone, training, seeds, device.

    Of the finished trials; of all, while none is.
    """
    asked, spec = evidence.experiment.trials, evidence.experiment.spec
    done = [asked[key] for key, record in evidence.records.items() if record["status"] == "ok"]
    trials = done or list(asked.values())
    sizes = list(dict.fromkeys(trial.size for trial in trials))
    if len(sizes) > MOST_SIZES:
        sizes = [words.span((trial.input_size for trial in trials), str)]
    first = [length(trial) for trial in trials if not trial.parents]
    then = [length(trial) for trial in trials if trial.parents]
    trained = words.lengths(then, first) if then else words.lengths(first)
    tuned = [
        f"{arm} tuned over {words.count(evidence.tried(arm), 'configuration')}"
        for arm in (evidence.search or {"arms": {}})["arms"]
    ]
    seeds = words.count(len({trial.seed for trial in trials}), "seed")
    parts = [
        words.join(_data(evidence)),
        words.join(dict.fromkeys(trial.backbone for trial in trials)),
        f"{words.join(sizes)} px",
        *([trained, seeds] if spec.train else []),
        *tuned,
        *([f"recipe tuned for {spec.recipe_for}"] if spec.recipe_for else []),
        *devices(evidence),
    ]
    return f"Scope: {'; '.join(parts)}."


def _data(evidence: Evidence) -> list[str]:
    found = {r["trial"]["dataset"]: r["data"] for r in evidence.records.values() if r.get("data")}
    names = dict.fromkeys(trial.dataset for trial in evidence.experiment.trials.values())
    counts = {
        name: f" ({of['train_images']:,} training, {of['val_images']:,} validation images)"
        for name, of in found.items()
    }
    return [name + counts.get(name, "") for name in names]


def _verdict(evidence: Evidence, row: Row, verdict: Verdict) -> Answer:
    """A verdict told by itself."""
    found, equal = beside(evidence, row), equal_prices(evidence, row)
    several = Counter(one.row.arm.name for one in found)
    return Answer(
        _badge(verdict),
        _sentence(evidence, verdict),
        _holds_for(evidence, [row]),
        [_control_line(evidence, one, named=several[one.row.arm.name] > 1) for one in found],
        [*_price(evidence, [row]), *_bought(row, equal)],
        [*_new_images(row), *_of_controls(evidence, found), *_dominance(equal), *_noise(evidence)],
    )


def _badge(verdict: Verdict) -> str:
    decided = verdict.answer in (*SETTLED, "not settled")
    return verdict.answer if decided else "no verdict"


def _sentence(evidence: Evidence, verdict: Verdict) -> str:
    ours, theirs, found = verdict.treatment, verdict.baseline, verdict.difference
    margin = words.count_points(verdict.margin_pct)
    shown = f"{ours} {MINUS} {theirs} = {words.difference(found)}"
    if verdict.answer == "tuned unequally":
        tried = [evidence.tried(arm) for arm in (ours, theirs)]
        return f"{ours} was tuned over {words.count(tried[0], 'configuration')}, {theirs} over " + (
            f"{tried[1]}: they cannot be compared."
        )
    if verdict.answer == "too few seeds":
        needed = f"a verdict needs {words.count(LEAST_SEEDS, 'seed')} of both"
        return f"{shown} so far; {needed}." if found.n else f"{needed.capitalize()}."
    shown += f", {words.count(found.n, 'seed')}"
    if verdict.answer == "not settled":
        low = verdict.more_seeds[0] if verdict.more_seeds else 0
        return f"{shown}; at least {words.count(low, 'more seed')} would settle it."
    if max(abs(found.low), abs(found.high)) < verdict.margin_pct:
        return f"{shown}; less than the {margin} that matter here."
    return f"{shown}; within {margin}." if verdict.answer == "no difference" else f"{shown}."


def _holds_for(evidence: Evidence, rows: Sequence[Row]) -> str:
    return words.holds_for(pd.DataFrame([place(evidence, row) for row in rows]))


def _control_line(evidence: Evidence, one: Beside, *, named: bool) -> ControlLine:
    """A line of the table; `named`: with the context, which tells it from others of its arm."""
    arm, standard = one.row.arm, STANDARD[one.row.arm.control] if one.row.arm.control else None
    title = standard.title.format(px=one.row.trial.input_size) if standard else arm.name
    where = f" ({words.place(one.row.context, evidence.axes)})" if named else ""
    says: dict[str, str] = {"better": "better", "worse": "worse", "not settled": "not settled"}
    if standard:
        says |= {"better": standard.shows, "worse": "the control is better"}
        says["not settled"] = f"not settled whether {standard.shows}"
    return ControlLine(title + where, words.difference(one.difference), says[one.standing])


def _of_controls(evidence: Evidence, found: Sequence[Beside]) -> list[str]:
    """How the table of controls is to be read."""
    if not found:
        return []
    level, several = words.percent(found[0].difference.level), len(found)
    lines = [f"Controls: {level} intervals, which share an error of 5 % among {several}."]
    arms = {arm.control for arm in evidence.experiment.spec.arm}
    if arms & set(STANDARD) and "budget" not in arms:
        lines.append(f"{evidence.experiment.baseline} is its own control of the training budget.")
    return lines


def _new_images(row: Row) -> list[str]:
    """The interval that covers new images, too, where it is another one."""
    if not row.crossed or not row.verdict:
        return []
    both = (row.crossed.interval, row.verdict.difference)
    wide, narrow = (words.difference(one) for one in both)
    return [f"For new images as well as new seeds: {wide}."] if wide != narrow else []


def _price(evidence: Evidence, rows: Sequence[Row]) -> list[str]:
    """What an arm's rows cost as multiples of the baseline's, a sentence each."""
    baseline = evidence.experiment.baseline
    timed = {phase: times(rows, phase) for phase in PHASES}
    lines = []
    for phase, found in timed.items():
        floor = evidence.floors.get(phase, 1.0)
        noise = ", within noise" if len(found) == 1 and not found[0].differs(floor) else ""
        if found:
            shown = f"takes {words.ratios(found)} as long as {baseline}'s{noise}."
            lines.append(f"{PHASES[phase]} of {rows[0].arm.name} {shown}")
    counted = {name: multiples(evidence, rows, name) for name in ("peak_memory_mib", "gmacs")}
    needed = [f"{words.span(v)} {TIMES} {METRICS[n].label}" for n, v in counted.items() if v]
    return [*lines, f"{rows[0].arm.name} needs {words.join(needed)}."] if needed else lines


def _bought(row: Row, found: Sequence[EqualPrice]) -> list[str]:
    """What the plain pipeline reaches at the same price."""
    ours = words.points(row.accuracy.mean)
    return [
        f"For the same {one.price}, a plain image reaches {words.points(one.reached)} %, "
        f"{row.arm.name} {ours} %."
        for one in found
        if one.reached is not None
    ]


def _dominance(found: Sequence[EqualPrice]) -> list[str]:
    """Whether the treatment is on the Pareto front, and between which sizes it was compared."""
    lines = []
    for one in found:
        if one.better:
            arm, px = one.better.arm.name, one.better.trial.input_size
            name = f"plain at {px} px" if one.better.trial.resizer == "none" else arm
            reaches = f"reaches more: {words.points(one.better.accuracy.mean)} %"
            lines.append(f"In {one.price}, by the means, {name} costs no more and {reaches}.")
        else:
            lines.append(f"In {one.price}, by the means, nothing that costs no more reaches more.")
        if one.below and one.above:
            sizes = f"{one.below.trial.input_size} and {one.above.trial.input_size} px"
            lines.append(f"The same {one.price} lies between plain images of {sizes}.")
        else:
            side = "dear" if one.below else "cheap"
            lines.append(f"No plain image as {side} in {one.price} was measured.")
    return lines


def _noise(evidence: Evidence) -> list[str]:
    """The noise floor of the timing lane, and whether it was disturbed."""
    if not evidence.floors:
        return []
    lane = evidence.timing or {}
    floor = evidence.floors.get("train", max(evidence.floors.values()))
    rounds = list(lane.get("disturbances") or [])
    lost = sum(one["disturbed"] for one in rounds)
    used = len(lane.get("rounds_used") or rounds)
    fate = "used all the same" if used == len(rounds) else "left out"
    apart = words.number(100 * (floor - 1), 2)
    return [
        f"Times are of {words.count(used, 'interleaved round')}, with 95 % intervals.",
        f"Two measurements of one arm's training step may be {apart} % apart (noise floor).",
        *([f"Other load disturbed {words.count(lost, 'round')}, {fate}."] if lost else []),
    ]


def _over_all(evidence: Evidence) -> Answer:
    """More verdicts than can be told one by one: their average and their counts."""
    rows = [row for row, _ in evidence.judged]
    given = [verdict for _, verdict in evidence.judged]
    counts = Counter(verdict.answer for verdict in given)
    pair = f"{given[0].treatment} {MINUS} {given[0].baseline}"
    mean = average(pd.DataFrame([evidence.gain(row) for row in rows]))
    over = f"on average over {words.count(len(rows), 'comparison')}"
    shown = (
        f"{pair} = {words.difference(mean)} {over}, {words.count(mean.n, 'seed')}." if mean else ""
    )
    means = [verdict.difference.mean for verdict in given if verdict.difference.n]
    each = f"{words.span(means, lambda v: words.points(v, signed=True))} points" if means else ""
    settled = [(row, one) for row, one in evidence.judged if one.answer in SETTLED]
    return Answer(
        _badge(given[0]) if len(counts) == 1 else "mixed",
        shown or f"No two seeds are finished in all of {words.count(len(rows), 'comparison')}.",
        _holds_for(evidence, rows),
        price=_price(evidence, rows),
        details=[
            *(
                f"{answer.capitalize()} in {n} of {len(rows)}."
                for answer, n in counts.most_common()
            ),
            *([f"Each by itself, {pair} is {each}."] if each else []),
            *(
                f"{one.answer.capitalize()} at {words.place(row.context, evidence.axes)}: "
                f"{words.difference(one.difference)}."
                for row, one in settled[:MOST_LISTED]
            ),
            *_of_the_whole(evidence),
            *_noise(evidence),
        ],
    )


def _of_the_whole(evidence: Evidence) -> list[str]:
    """What the axes do, and how often verdicts were given."""
    treatment, baseline = evidence.experiment.spec.primary or ("", "")
    lines = [
        f"{words.axis_value(one.axis, one.value)} rather than {words.plain(one.first)} changes "
        f"{treatment} {MINUS} {baseline} by {words.difference(one.change)}."
        for one in effects(evidence)
    ]
    if lines:
        level = words.percent(LEVEL)
        lines.append(f"Changes are paired by seed and the other axes, each at {level} by itself.")
    if evidence.looks > 1:
        lines.append(
            f"Verdicts were given at {evidence.looks} numbers of seeds, and share one error of 5 %."
        )
    return lines


def _without_verdict(evidence: Evidence) -> Answer:
    """Intervals alone: no comparison is named, or there is nothing to compare with yet."""
    baseline, arms = evidence.experiment.baseline, list(evidence.arms)
    reached = _reached(evidence, baseline)
    if evidence.experiment.spec.primary:
        sentence = f"The size of {baseline} is not matched yet."
    elif len(arms) > 1:
        sentence = "No comparison is named as the primary one: intervals, and no verdict."
    else:
        sentence = reached or "Nothing is finished yet."
    others = [_range(evidence, arm) for arm in arms if arm != baseline]
    details = [line for line in [reached, *others] if line and line != sentence]
    priced = [_of(evidence.compared, arm) for arm in arms if arm != baseline][:MOST_LISTED]
    return Answer(
        "no verdict",
        sentence,
        _holds_for(evidence, evidence.rows),
        price=[line for rows in priced if rows for line in _price(evidence, rows)],
        details=[*details[: MOST_LISTED + 1], *_noise(evidence)],
    )


def _of(rows: Sequence[Row], arm: str) -> list[Row]:
    return [row for row in rows if row.arm.name == arm]


def _reached(evidence: Evidence, arm: str) -> str:
    """What an arm reaches, over its rows."""
    found = [row.accuracy for row in _of(evidence.rows, arm) if row.accuracy.n]
    if len(found) == 1:
        seeds = words.count(found[0].n, "seed")
        return f"{arm} reaches {words.accuracy(found[0])}, {seeds}."
    means = [one.mean for one in found]
    return f"{arm} reaches {words.span(means, words.points)} %." if means else ""


def _range(evidence: Evidence, arm: str) -> str:
    """An arm's difference to the baseline, the least and the most."""
    rows = _of(evidence.compared, arm)
    found = sorted((d for row in rows if (d := row.difference) and d.n), key=lambda d: d.mean)
    pair = f"{arm} {MINUS} {evidence.experiment.baseline}"
    if len(found) < 2:
        return "".join(f"{pair} = {words.difference(one)}." for one in found)
    least, most = words.difference(found[0]), words.difference(found[-1])
    return f"{pair}: {least} at the least, {most} at the most, of {len(found)} rows."


def _cost(evidence: Evidence) -> Answer:
    """What the treatment costs, or else every arm, where nothing is trained."""
    spec, baseline = evidence.experiment.spec, evidence.experiment.baseline
    arms = spec.primary[:1] if spec.primary else [a for a in evidence.arms if a != baseline]
    priced = [rows for arm in arms[:MOST_LISTED] if (rows := _of(evidence.rows, arm))]
    first, *rest = [line for rows in priced for line in _price(evidence, rows)] or [
        "Nothing is timed yet."
    ]
    sides = equal_sides(evidence)
    spans: dict[tuple[str, int], list[float]] = {}
    for one in sides:
        spans.setdefault((one.price, one.treatment.trial.backbone_size), []).append(one.side)
    bought = [
        f"Instead of {px} px, the same {price} buys a plain image of {words.span(found, _px)} px."
        for (price, px), found in spans.items()
    ]
    each = [
        f"{words.place(one.treatment.context, evidence.axes)}: {one.price} of a plain image of "
        f"{_px(one.side)} px."
        for one in sorted(sides, key=lambda one: one.side)
    ]
    return Answer("cost", first, "", price=[*rest, *bought], details=[*each, *_noise(evidence)])


def _px(side: float) -> str:
    return f"{side:.0f}"
