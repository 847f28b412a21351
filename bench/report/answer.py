"""The answer in words: what the primary comparison says, for what it holds, and its price."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from bench.analysis.controls import Beside, beside
from bench.analysis.effects import average, effects
from bench.analysis.evidence import Evidence, Row
from bench.analysis.judging import LEAST_SEEDS, ONE_BY_ONE, SETTLED, Reason, Verdict
from bench.analysis.prices import EqualSide, Paid, equal_sides, multiples, paid, times
from bench.analysis.verdicts import holds_for
from bench.metrics import METRICS
from bench.report import words
from bench.report.environment import devices
from bench.report.words import MINUS, TIMES
from bench.spec.controls import STANDARD

MOST_LISTED = 8
"""So many verdicts or arms are listed at the most; each is in the table."""

MOST_SIZES = 4
"""A scope names so many sizes; of more, it names the smallest and the largest."""

PHASES = {
    "train": "A training step of {}",
    "infer": "Inference with {}",
    "latency": "A single image through {}",
}
"""The phases of the timing that an answer tells, and how."""


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
    at: str = ""  # what tells its place from the other answer's, where there are two
    difference: str = ""  # with its interval
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


def headline(given: Sequence[Answer]) -> tuple[str, str]:
    """One badge and one sentence for all answers of an experiment."""
    badges = {one.badge for one in given}
    if len(given) == 1:
        return given[0].badge, given[0].sentence
    told = "; ".join(f"{one.at}: {one.difference}" for one in given)
    return (badges.pop() if len(badges) == 1 else "mixed"), f"{told}."


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
    first = [trial.length for trial in trials if not trial.parents]
    then = [trial.length for trial in trials if trial.parents]
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
    others = beside(evidence, row)
    bought = paid(evidence, row)
    details = [
        *_of_the_interval(verdict),
        *_of_recipes(evidence, row),
        *_of_controls(evidence, others),
        *_of_prices(bought),
    ]
    return Answer(
        badge=verdict.answer,
        sentence=_sentence(evidence, verdict),
        place=_holds_for(evidence, [row]),
        at=words.place(row.context, evidence.axes) if len(evidence.judged) > 1 else "",
        difference=words.difference(verdict.difference) if verdict.difference.n else words.NONE,
        controls=[_control_line(one, row) for one in others],
        price=[
            *_secondary(evidence, row),
            *_price(evidence, [row]),
            *(line for one in bought for line in _bought(row, one)),
        ],
        details=[*details, *_noise(evidence)],
    )


def _sentence(evidence: Evidence, verdict: Verdict) -> str:
    ours, theirs = evidence.experiment.spec.primary or ("", "")
    found, finds = verdict.difference, verdict.detectable
    if not found.n:
        return f"No seed of {ours} and {theirs} has ended well yet."
    shown = f"{ours} {MINUS} {theirs} = {words.difference(found)}"
    if verdict.reason:
        return f"{shown}; {why_not(verdict)}."
    shown += f", {words.count(found.n, 'seed')}"
    if _is_small(verdict):
        return f"{shown}; within the margin of {words.count_points(verdict.margin_pct)}."
    assert finds is not None
    if len(evidence.judged) > 1:
        return f"{shown}; detectable: {words.points(finds)}."
    return f"{shown}; this design would have found {words.points(finds)}."


def _secondary(evidence: Evidence, row: Row) -> list[str]:
    """The secondary comparison of a row's context, if one is declared."""
    arms = f" {MINUS} ".join(evidence.experiment.spec.secondary or ())
    given = [evidence.secondary[at] for at in row.contexts if at in evidence.secondary]
    return [
        f"Secondary: {one.answer}; {arms} = {words.difference(one.difference)}, "
        f"{why_not(one) or words.count(one.difference.n, 'seed')}."
        for one in given[:1]
        if one.difference.n
    ]


def _is_small(verdict: Verdict) -> bool:
    """Whether the difference, whatever its sign, is within the margin."""
    found = verdict.difference
    sure = max(abs(found.low), abs(found.high)) < verdict.margin_pct
    return sure or verdict.answer == "no difference"


def why_not(verdict: Verdict) -> str:
    """Why there is no verdict, in one plain clause."""
    first, last = verdict.looks.seeds[0], verdict.looks.seeds[-1]
    so_far = words.count(verdict.ended, "seed")
    due = f"{so_far} so far, and its verdict is due at {first}"
    if len(verdict.looks.seeds) > 1:
        due = f"{so_far} so far, before the first declared look at {first}"
    added = f"exploratory: seeds were added after the last look, at {last}"
    if verdict.ended < last:
        added = f"exploratory: {so_far}, between the declared looks"
    well = words.count(verdict.difference.n, "seed")
    reasons: dict[Reason, str] = {
        "too few seeds": f"{well} of both arms ended well, and a verdict needs {LEAST_SEEDS}",
        "before the first look": due,
        "exploratory": added,
        "one class": "a model predicts one class for every image",
        "at chance": "both arms are at chance",
        "no spread": "every seed has the same difference",
        "too few images": f"{verdict.images} validation images cannot resolve "
        f"{words.count_points(verdict.margin_pct)}",
        "tuned unequally": "the arms were tuned over different numbers of configurations",
        "primary not settled": "it is tested once the primary comparison is settled",
    }
    return reasons[verdict.reason] if verdict.reason else ""


def _of_the_interval(verdict: Verdict) -> list[str]:
    """What the verdict's interval rests on, and what others would be."""
    found, prior = verdict.difference, verdict.prior
    if found.n < 2:
        return []
    lines = [f"The interval of the verdict has a level of {words.percent(found.level)}: "]
    lines[0] += f"{_family(verdict)}."
    if verdict.detectable is not None:
        finds = words.count_points(float(f"{verdict.detectable:.1f}"))
        lines.append(f"This design finds {finds} or more in four of five experiments.")
    if float(prior.df):
        counts, sd = words.number(float(prior.df), 2), words.points(float(prior.variance) ** 0.5)
        lines.append(
            f"Its variance is moderated: other differences of its kind, with a standard deviation "
            f"of {sd} points, count as {counts} more degrees of freedom."
        )
    if verdict.new_images:
        wider = ", the wider interval, which the verdict uses" if verdict.over_images else ""
        over = words.difference(verdict.new_images)
        lines.append(f"Over new images as well as new seeds: {over}{wider}.")
    if float(prior.df) or verdict.over_images:
        own = words.difference(verdict.own)
        lines.append(f"Over seeds alone, by their own variance (plain t interval): {own}.")
    return lines


def _of_recipes(evidence: Evidence, row: Row) -> list[str]:
    """What each recipe says by itself, where the seeds take several in turn."""
    means = [words.points(gain.mean(), signed=True) for gain in evidence.gain_by_recipe(row)]
    if len(means) < 2:
        return []
    return [f"By recipe, of which seeds take {len(means)} in turn: {words.join(means)} points."]


def _family(verdict: Verdict) -> str:
    """What shares the error of 5 %."""
    looks, given = verdict.looks.seeds, verdict.looks.verdicts
    shared = [words.count(given, "verdict")] if given > 1 else []
    if len(looks) > 1:
        shared.append(f"looks at {words.join(map(str, looks))} seeds")
    return f"{words.join(shared)} share an error of 5 %" if shared else "one verdict, at one look"


def _holds_for(evidence: Evidence, rows: Sequence[Row]) -> str:
    return words.holds_for(pd.DataFrame([holds_for(evidence, row) for row in rows]))


def _control_line(one: Beside, treatment: Row) -> ControlLine:
    arm, difference = one.row.arm, words.difference(one.difference)
    if arm.control is None:
        return ControlLine(arm.name, difference, one.standing)
    control = STANDARD[arm.control]
    says = {"better": control.shows, "worse": "the control is better"}
    title = control.title.format(px=one.row.trial.input_size)
    ours, its = (of.times.get("train") for of in (treatment, one.row))
    if arm.control == "time" and ours and its:  # as it was matched once, and as it is measured here
        title += f" ({words.number(its.value / ours.value, 2)} {TIMES})"
    shown = says.get(one.standing, f"not settled whether {control.shows}")
    return ControlLine(title, difference, shown)


def _of_controls(evidence: Evidence, others: Sequence[Beside]) -> list[str]:
    """How the table of controls is to be read."""
    if not others:
        return []
    lines = [f"Controls: {_shared(others[0].difference.level, len(others))}, moderated variances."]
    arms = {arm.control for arm in evidence.experiment.spec.arm}
    if arms & set(STANDARD) and "budget" not in arms:
        lines.append(f"{evidence.experiment.baseline} is its own control of the training budget.")
    return lines


def _shared(level: float, family: int) -> str:
    """The level of a family's intervals, and why it is that.

    >>> _shared(0.95, 1), _shared(0.975, 2)
    ('an interval of 95 %', 'intervals of 97.5 %, which share an error of 5 % among 2')
    """
    if family == 1:
        return f"an interval of {words.percent(level)}"
    return f"intervals of {words.percent(level)}, which share an error of 5 % among {family}"


def _price(evidence: Evidence, rows: Sequence[Row]) -> list[str]:
    """What an arm's rows cost as multiples of the baseline's, a sentence each."""
    arm, baseline, lines = rows[0].arm.name, evidence.experiment.baseline, []
    for phase, name in PHASES.items():
        if found := times(rows, phase):
            floor = evidence.floor(rows[0].label, phase)
            noise = len(found) == 1 and not found[0].differs(floor)
            takes = f"{name.format(arm)} takes {words.ratios(found)} as long as {baseline}'s"
            lines.append(f"{takes}, which is within noise." if noise else f"{takes}.")
    counted = {name: multiples(evidence, rows, name) for name in ("peak_memory_mib", "gmacs")}
    needed = [
        f"{words.span(found)} {TIMES} {METRICS[name].label.replace(', ', ' in ')}"
        for name, found in counted.items()
        if found
    ]
    return [*lines, f"{arm} needs {words.join(needed)}."] if needed else lines


def _prices(evidence: Evidence, arms: Sequence[str]) -> list[str]:
    """What each of these arms costs, as far as there is something to compare with."""
    named = [[row for row in evidence.compared if row.arm.name == arm] for arm in arms]
    return [line for rows in named[:MOST_LISTED] if rows for line in _price(evidence, rows)]


def _bought(row: Row, one: Paid) -> list[str]:
    """What the plain pipeline reaches at the same price, and whether an arm surely beats it."""
    lines = []
    if one.equal:
        sizes = dict.fromkeys(of.side for of in (one.equal.small, one.equal.large))
        plain = f"a plain image of {words.span(sizes, str)} px"
        gap = words.difference(one.equal.interval())
        lines.append(f"At equal {one.price}, {row.arm.name} {MINUS} {plain} = {gap}.")
    if one.front == "dominated":
        lines.append(f"{one.dominating} is no dearer in {one.price}, and more accurate.")
    if one.front == "on the front":
        lines.append(f"No other arm is both as cheap in {one.price} and as accurate.")
    return lines


def _of_prices(found: Sequence[Paid]) -> list[str]:
    """How differences at equal price are to be read."""
    told = [
        "Equal price: between two measured sizes, seed by seed; each interval has 95 % by itself "
        "and holds the uncertainty of the price."
    ]
    return told if any(one.equal for one in found) else []


def _noise(evidence: Evidence) -> list[str]:
    """The noise floor of the timing, and whether it was disturbed."""
    rounds = [one for sitting in evidence.sittings for one in sitting.get("disturbances", [])]
    if not rounds:
        return []
    floor = max(evidence.floor(label, "train") for label in evidence.timings)
    lost = sum(one["disturbed"] for one in rounds)
    used = sum(len(one["rounds_used"]) for one in evidence.sittings if "rounds_used" in one)
    fate = "used all the same" if used == len(rounds) else "left out"
    apart = words.number(100 * (floor - 1), 2)
    sittings = words.count(len(evidence.sittings), "sitting")
    lines = [
        f"Times are of {words.count(used, 'interleaved round')}, {sittings}, with 95 % intervals.",
        f"Two measurements of one arm's training step may be {apart} % apart (noise floor).",
    ]
    return [*lines, f"Other load disturbed {words.count(lost, 'round')}, {fate}."][: 2 + bool(lost)]


def _over_all(evidence: Evidence) -> Answer:
    """More verdicts than are told one by one: their average, their counts, the settled ones."""
    rows, given = map(list, zip(*evidence.judged, strict=True))
    counts = Counter(verdict.answer for verdict in given)
    settled = [(row, one) for row, one in evidence.judged if one.answer in SETTLED]
    pair = f" {MINUS} ".join(evidence.experiment.spec.primary or ())
    over = f"on average over {len(rows)} comparisons, {len(settled) or 'none'} of them settled."
    mean = average(pd.DataFrame([evidence.gain(row) for row in rows]))
    whole = f"{pair} = {words.difference(mean.interval())} {over}" if mean else ""
    details = [f"{answer.capitalize()} in {n} of {len(rows)}." for answer, n in counts.items()]
    details += [*_because(given), *_of_many(pair, given)]
    for row, one in settled[:MOST_LISTED]:
        at = f"{one.answer.capitalize()} at {words.place(row.context, evidence.axes)}"
        details.append(f"{at}: {words.difference(one.difference)}.")
    return Answer(
        given[0].answer if len(counts) == 1 else "mixed",
        whole or "No two seeds are in all of them.",
        _holds_for(evidence, rows),
        price=_price(evidence, rows),
        details=[*details, *_of_the_whole(evidence), *_noise(evidence)],
    )


def _because(given: Sequence[Verdict]) -> list[str]:
    """Why there is no verdict where there is none, each reason once."""
    reasons = dict.fromkeys(why_not(one) for one in given if one.reason)
    return [f"No verdict: {reason}." for reason in reasons]


def _of_many(pair: str, given: Sequence[Verdict]) -> list[str]:
    """Where many verdicts lie, and what each would have found."""
    means = [one.difference.mean for one in given if one.difference.n]
    found = [one.detectable for one in given if one.detectable is not None]
    lines = []
    if means:
        span = words.span(means, lambda mean: words.points(mean, signed=True))
        lines.append(f"By itself, {pair} is {span} points.")
    if found:
        level = words.percent(given[0].looks.level)
        lines.append(f"Each by itself would have found {words.span(found, words.points)} points.")
        lines.append(f"Each verdict has a level of {level}: {_family(given[0])}.")
        lines.append("The average has 95 % by itself.")
    return lines


def _of_the_whole(evidence: Evidence) -> list[str]:
    """What the axes do."""
    pair = f" {MINUS} ".join(evidence.experiment.spec.primary or ())
    found = effects(evidence)
    lines = [
        f"{words.axis_value(one.axis, one.value)} rather than {words.plain(one.first)} changes "
        f"{pair} by {words.difference(one.change)}."
        for one in found
    ]
    if found:
        shared = _shared(found[0].change.level, len(found))
        lines.append(f"Changes are paired by seed and the other axes: {shared}.")
    return lines


def _without_verdict(evidence: Evidence) -> Answer:
    """Intervals alone: no comparison is named, or there is nothing to compare with yet."""
    baseline = evidence.experiment.baseline
    arms = {arm: [row for row in evidence.rows if row.arm.name == arm] for arm in evidence.arms}
    told = [line for arm, rows in arms.items() if (line := _range(arm, baseline, rows))]
    sentence = "No comparison is named as the primary one: intervals, and no verdict."
    if evidence.experiment.spec.primary:
        sentence = f"The size of {baseline} is not matched yet."
    elif len(arms) == 1:
        sentence = told.pop() if told else "Nothing is finished yet."
    price = _prices(evidence, [arm for arm in arms if arm != baseline])
    details = [*told[: MOST_LISTED + 1], *_noise(evidence)]
    place = _holds_for(evidence, evidence.rows)
    return Answer("no verdict", sentence, place, price=price, details=details)


def _range(arm: str, baseline: str, rows: Sequence[Row]) -> str:
    """What the baseline arm reaches, or another one's difference: the least and the most."""
    own = arm == baseline
    name, show = (arm, words.accuracy) if own else (f"{arm} {MINUS} {baseline}", words.difference)
    values = [row.accuracy if own else row.difference for row in rows]
    found = sorted((one for one in values if one and one.n), key=lambda one: one.mean)
    if len(found) > 1:
        return f"{name}: from {show(found[0])} to {show(found[-1])}, of {len(found)} rows."
    return "".join(f"{name}: {show(one)}, {words.count(one.n, 'seed')}." for one in found)


def _cost(evidence: Evidence) -> Answer:
    """What the treatment costs, or else every arm, where nothing is trained."""
    spec, baseline = evidence.experiment.spec, evidence.experiment.baseline
    arms = spec.primary[:1] if spec.primary else [a for a in evidence.arms if a != baseline]
    lines = _prices(evidence, arms)
    sides: dict[tuple[str, int], list[EqualSide]] = {}
    for one in sorted(equal_sides(evidence), key=lambda one: one.side):
        sides.setdefault((one.price, one.treatment.trial.backbone_size), []).append(one)
    details = []
    for (price, px), of in sorted(sides.items(), key=lambda item: item[0]):
        span = words.span([one.side for one in of], "{:.0f}".format)
        lines.append(f"For the same {price}, a plain image has {span} px instead of {px}.")
        for one in of:
            at = words.place(one.treatment.context, evidence.axes)
            details.append(f"{at}: the {price} of a plain image of {one.side:.0f} px.")
    first, *price_lines = lines or ["Nothing is timed yet."]
    place = _holds_for(evidence, [row for row in evidence.rows if row.arm.name in arms])
    return Answer("cost", first, place, price=price_lines, details=[*details, *_noise(evidence)])
