"""The answer in words: what the primary comparison says, and for what it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from bench.analysis.effects import average
from bench.analysis.evidence import Evidence, Row, holds_for
from bench.analysis.judging import LEAST_SEEDS, ONE_BY_ONE, SETTLED, Reason, Verdict
from bench.analysis.lengths import reached
from bench.errors import counted
from bench.report import words
from bench.report.environment import devices, timed_elsewhere
from bench.report.words import MINUS, TIMES


@dataclass(frozen=True)
class Answer:
    """One verdict of a page in words, or what is told where there is none."""

    badge: str  # the verdict as a word: "better", "not settled", "mixed", "no verdict", "cost", …
    sentence: str  # free of Markdown: the difference with its interval and seeds
    place: str  # data, sizes, backbone, length: for what it holds
    at: str = ""  # what tells its place from the other answer's, where there are two


def answers(evidence: Evidence) -> list[Answer]:
    """At most two verdicts one by one, or one and its settled second; of more, one answer."""
    if not evidence.experiment.spec.train:
        return [_cost(evidence)]
    if not evidence.judged:
        return [_without_verdict(evidence)]
    if len(evidence.judged) > ONE_BY_ONE:
        return [_over_all(evidence)]
    (row, _), *others = evidence.judged
    told = [
        Answer(
            badge=verdict.answer,
            sentence=_sentence(evidence, verdict),
            place=_holds_for(evidence, [row]),
            at=words.place(row.context, evidence.axes) if others else "",
        )
        for row, verdict in evidence.judged
    ]
    second = evidence.secondary_of(row)
    if not others and second and second.answer in SETTLED:
        shown = _difference(evidence.experiment.spec.secondary, second)
        told.append(Answer(second.answer, f"{shown}{_dearer(evidence, row)}.", place=""))
    return told


def _dearer(evidence: Evidence, row: Row) -> str:
    """What a step of the secondary comparison's baseline takes, as a clause; "" if not known."""
    ours, theirs = evidence.experiment.spec.secondary or ("", "")
    other = next((one for one in evidence.beside(row) if one.arm.name == theirs), None)
    price = step_over(other, row) if other else ""
    return f"; {theirs}'s step takes {price} {ours}'s" if price else ""


def step_over(row: Row, other: Row) -> str:
    """A training step, as a multiple of another arm's of the context; "" if not known."""
    its, others = (of.times.get("train") for of in (row, other))
    return f"{words.number(its.value / others.value, 2)} {TIMES}" if its and others else ""


def in_words(evidence: Evidence) -> str:
    """How far it is if unfinished, a line for each answer, the scope, and where times are from."""
    unfinished = evidence.finished < len(evidence.experiment.runs)
    begin = [f"Not finished: {progress(evidence)}"] if unfinished else []
    told = [
        f"{one.badge.capitalize()}: {one.sentence}" + (f" On {one.place}." if one.place else "")
        for one in answers(evidence)
    ]
    return "\n".join(filter(None, [*begin, *told, scope(evidence), timed_elsewhere(evidence)]))


def progress(evidence: Evidence) -> str:
    """How much of the experiment there is."""
    if not evidence.experiment.spec.train:
        return "Cost alone: nothing is trained."
    total = len(evidence.experiment.runs)
    lost = len(evidence.records) - evidence.finished
    failed = f", {lost:,} failed" if lost else ""
    return f"{evidence.finished:,} of {counted(total, 'trial')} finished{failed}."


def scope(evidence: Evidence) -> str:
    """Images, seeds, tuning and devices: what the answers rest on, beside their places."""
    trials, spec = evidence.experiment.trials, evidence.experiment.spec
    ended_well = [trials[key] for key, of in evidence.records.items() if of["status"] == "ok"]
    seeds = {trial.seed for trial in ended_well or trials.values()}
    parts = [
        words.join(_data(evidence)),
        counted(len(seeds), "seed") if spec.train else "",
        *(
            f"{arm} tuned over {counted(tried, 'configuration')}"
            for arm in evidence.arms
            if (tried := evidence.tried(arm))
        ),
        f"recipe tuned for {spec.recipe_for}" if spec.recipe_for else "",
        *devices(evidence),
    ]
    return f"Scope: {'; '.join(filter(None, parts))}."


def _data(evidence: Evidence) -> list[str]:
    trials = evidence.experiment.trials
    told = {trial.dataset: trial.dataset for trial in trials.values()}
    for key, record in evidence.records.items():
        if of := record.get("data"):
            images = f"{of['train_images']:,} training, {of['val_images']:,} validation images"
            told[trials[key].dataset] = f"{trials[key].dataset} ({images})"
    return list(told.values())


def _difference(pair: tuple[str, str] | None, verdict: Verdict) -> str:
    return f"{f' {MINUS} '.join(pair or ())} = {words.difference(verdict.difference)}"


def _sentence(evidence: Evidence, verdict: Verdict) -> str:
    pair = evidence.experiment.spec.primary
    if not verdict.difference.n:
        return f"No seed of {words.join(pair or ())} has ended well."
    shown = _difference(pair, verdict)
    if verdict.reason:
        return f"{shown}; {why_not(verdict)}."
    shown += f", {counted(verdict.difference.n, 'seed')}"
    if verdict.is_small:
        return f"{shown}; within the margin of {counted(verdict.margin_pct, 'point')}."
    if verdict.answer in SETTLED:
        return f"{shown}."
    assert verdict.detectable is not None
    finds = "detectable:" if len(evidence.judged) > 1 else "this design would have found"
    return f"{shown}; {finds} {words.points(verdict.detectable)}."


def why_not(verdict: Verdict) -> str:
    """Why there is no verdict, in one plain clause; "" where there is one."""
    looks, so_far = verdict.looks.seeds, counted(verdict.ended, "seed")
    well = counted(verdict.difference.n, "seed")
    margin = counted(verdict.margin_pct, "point")
    due = next((look for look in looks if look > verdict.ended), looks[-1])
    reasons: dict[Reason | None, str] = {
        "too few seeds": f"{well} of both arms ended well, and a verdict needs {LEAST_SEEDS}",
        "before a look": f"{so_far} so far, and a verdict is due at {max(due, LEAST_SEEDS)}",
        "exploratory": f"exploratory: {so_far}, where looks were declared at "
        f"{words.join(map(str, looks))}",
        "one class": "a model predicts one class for every image",
        "at chance": "both arms are at chance",
        "no spread": "every seed has the same difference",
        "too few images": f"{verdict.images} validation images cannot resolve {margin}",
        "tuned unequally": "the arms were tuned over different numbers of configurations",
        "primary not settled": "it is tested once the primary comparison is settled",
        None: "",
    }
    return reasons[verdict.reason]


def _holds_for(evidence: Evidence, rows: Sequence[Row]) -> str:
    return words.holds_for(pd.DataFrame([holds_for(evidence, row) for row in rows]))


def _over_all(evidence: Evidence) -> Answer:
    """More verdicts than are told one by one: their average, and how many are settled."""
    badges = {verdict.answer for _, verdict in evidence.judged}
    settled = sum(verdict.answer in SETTLED for _, verdict in evidence.judged)
    over = f" over {len(evidence.treated)} comparisons, {settled or 'none'} of them settled alone."
    sentence = _on_average(evidence, _in_time(evidence) or over)
    badge = badges.pop() if len(badges) == 1 else "mixed"
    return Answer(badge, sentence, _holds_for(evidence, evidence.treated))


def _in_time(evidence: Evidence) -> str:
    """How much longer the treatment trains to the accuracies that are asked for; "" of none."""
    arm, baseline = evidence.treated[0].arm.name, evidence.experiment.baseline
    found = [(one.target_pct, one.ratio) for one in reached(evidence) if one.line.arm == arm]
    ratios = [ratio for _, ratio in found if ratio]
    targets = dict.fromkeys(f"{target:g}" for target, ratio in found if ratio)
    if not ratios:
        return ""
    return f". To {words.join(targets)} % {arm} takes {words.ratios(ratios)} {baseline}'s time."


def _on_average(evidence: Evidence, ending: str) -> str:
    """The treatment's mean difference over all of its comparisons, and what ends the sentence."""
    first, *others = evidence.treated
    mean = average(pd.DataFrame(map(evidence.gain, evidence.treated)))
    found = mean.interval() if mean else None if others else first.difference
    if not found or not found.n:
        return "Fewer than two seeds have every comparison: there is no interval."
    over = " on average" if others else f", {counted(found.n, 'seed')}"
    return f"{compared(evidence)} = {words.difference(found)}{over}{ending}"


def compared(evidence: Evidence) -> str:
    """The treatment and the baseline, as their difference is called."""
    return f"{evidence.treated[0].arm.name} {MINUS} {evidence.experiment.baseline}"


def _without_verdict(evidence: Evidence) -> Answer:
    """Intervals alone: no comparison is named, or there is nothing to compare with yet."""
    treated = evidence.treated
    if evidence.experiment.spec.primary:
        sentence = f"The size of {evidence.experiment.baseline} is not matched yet."
    elif len(evidence.arms) == 1:
        sentence = _reached(evidence.rows)
    elif treated:
        over = f" over {len(treated)} comparisons, none primary."
        alone = "; no primary comparison was named."
        sentence = _on_average(evidence, over if len(treated) > 1 else alone)
    else:
        sentence = "No primary comparison was named: intervals, and no verdict."
    rows = [*treated, evidence.baseline_of(*treated)] if len(treated) == 1 else treated
    return Answer("no verdict", sentence, _holds_for(evidence, rows or evidence.rows))


def _reached(rows: Sequence[Row]) -> str:
    """What the rows of a single arm reach."""
    found = sorted((row.accuracy for row in rows if row.accuracy.n), key=lambda one: one.mean)
    if not found:
        return "Nothing is finished yet."
    shown = f"{words.mean(found[0])} %, {counted(found[0].n, 'seed')}"
    if len(found) > 1:
        shown = f"{words.mean(found[0])} to {words.mean(found[-1])} %, of {len(found)} rows"
    return f"{rows[0].arm.name}: {shown}; nothing to compare it with."


def _cost(evidence: Evidence) -> Answer:
    """What a training step of each front end takes, where nothing is trained."""
    rows = [row for row in evidence.compared if "train" in row.times and not row.arm.control]
    rows = [row for row in rows if row.trial.resizer != "none"] or rows
    steps = {row.arm.name: [of.times["train"] for of in rows if of.arm is row.arm] for row in rows}
    sentence, baseline = "Nothing is timed yet.", evidence.experiment.baseline
    if rows:
        takes = f"{words.join(map(words.ratios, steps.values()))} {baseline}'s time"
        sizes = words.join(dict.fromkeys(row.size for row in rows))
        sentence = f"Training steps of {words.join(steps)} take {takes}, at {sizes} px."
    return Answer("cost", sentence, _holds_for(evidence, rows or evidence.rows))
