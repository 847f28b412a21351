"""What stands beneath the answer, tables of texts: controls, price, verdicts, seeds, tuning."""

from __future__ import annotations

import pandas as pd

from bench.analysis.classes import Classes
from bench.analysis.crossed import Crossed
from bench.analysis.effects import Beside, beside, effects
from bench.analysis.evidence import Evidence, Row
from bench.analysis.judging import ONE_BY_ONE, Verdict
from bench.analysis.lengths import Reached, reached
from bench.analysis.prices import paid
from bench.errors import counted
from bench.records import SearchRecord
from bench.report import words
from bench.report.answer import compared, step_over, why_not
from bench.report.table import known
from bench.report.words import MINUS, NONE
from bench.spec.controls import STANDARD
from bench.spec.trial import Fields, Trial
from bench.spec.tuning import search_seed

MOST_CLASSES = 12  # of more, no table tells which is taken for which


def one_by_one(evidence: Evidence) -> list[Row]:
    """The treatment's rows where few verdicts are told, each with its controls and prices."""
    rows = [row for row, _ in evidence.judged]
    return rows if len(rows) <= ONE_BY_ONE else []


def controls(evidence: Evidence) -> list[tuple[Row, pd.DataFrame]]:
    """Each treatment's row with its controls: what each is, the difference, what it says.

    Of many rows only with standard controls; other arms stand in the table of results.
    """
    standard = any(arm.control for arm in evidence.experiment.spec.arm)
    rows = [row for row, _ in evidence.judged] if standard else one_by_one(evidence)
    found = []
    for row in rows:
        lines = [
            (_title(one.row, row), words.difference(one.difference), _says(one, row))
            for one in beside(evidence, row)
        ]
        if lines:
            headings = ["control", f"{row.arm.name} {MINUS} control", "what it says"]
            found.append((row, pd.DataFrame(lines, columns=headings)))
    return found


def _title(control: Row, treatment: Row) -> str:
    arm, trial, treated = control.arm, control.trial, treatment.trial
    whole = trial.resizer == "none" != treated.resizer and trial.input_size == treated.input_size
    name = arm.control or ("ceiling" if whole else None)
    title = STANDARD[name].title.format(px=trial.input_size) if name else arm.isolates
    if name == "time" and (price := step_over(control, treatment)):
        title += f" ({price} {treatment.arm.name}'s)"  # matched once, and as it is measured here
    return title if arm.control else f"{arm.name} ({title})".removesuffix(" ()")


def _says(one: Beside, treatment: Row) -> str:
    control, within = one.row.arm.control, ", within the margin" if one.is_small else ""
    shows = STANDARD[control].shows if control else f"{treatment.arm.name} is better"
    says = {"better": shows + within, "worse": f"the control is better{within}"}
    says |= {"no difference": "no difference", "not settled": f"not settled whether {shows}"}
    return says[one.standing]


def axes(evidence: Evidence) -> pd.DataFrame:
    """What each value of an axis does to the treatment's difference; empty without two values."""
    lines = []
    for one in effects(evidence):
        values = {"value": words.plain(one.value), "rather than": words.plain(one.first)}
        change = {f"changes {compared(evidence)} by, points": words.difference(one.change, "")}
        lines.append({"axis": one.axis} | values | change)
    return pd.DataFrame(lines)


def equal_price(evidence: Evidence) -> pd.DataFrame:
    """What the plain pipeline reaches at each price of a treatment; which arm surely beats it."""
    lines = []
    for row, _ in evidence.judged:
        for one in paid(evidence, row):
            if not one.equal and one.front != "dominated":
                continue
            beaten = {"dominated": one.dominating, "on the front": "none", "open": "not settled"}
            line = {"where": words.place(row.context, evidence.axes) or NONE}
            line["at equal"] = one.price
            if one.equal:
                found = one.equal.difference.interval()
                line["plain image, px"] = words.span(one.equal.sides, str)
                line["difference to it, points"] = words.difference(found, "")
            line["a measured arm, surely no dearer and more accurate"] = beaten[one.front]
            lines.append(line)
    return known(lines)


def targets(evidence: Evidence) -> pd.DataFrame:
    """How long each arm trains until it reaches each accuracy that the experiment asks for."""
    baseline, lines = evidence.experiment.baseline, []
    for one in reached(evidence):
        line = {"accuracy, %": f"{one.target_pct:g}"}
        shown = [name for name in evidence.axes if name in one.line.context]
        line |= {name: words.plain(one.line.context[name]) for name in shown}
        line |= {"arm": one.line.arm, "image, px": one.line.rows[0].size, "training, s": _when(one)}
        line[f"over {baseline}'s"] = words.ratio(one.ratio) if one.ratio else NONE
        lines.append(line)
    return known(lines)


def _when(one: Reached) -> str:
    """The seconds; or how many seeds are there within the shortest training, and after none."""
    if one.seconds:
        return words.ratio(one.seconds, "")
    first, last = (words.lengths([one.line.rows[end].trial.length]) for end in (0, -1))
    ends = {f"within {first}": one.sooner, f"not in {last}": one.never}
    seeds = [f"{n} {where}" for where, n in ends.items() if n]
    return f"of {counted(one.seeds, 'seed')}, {words.join(seeds)}"


def verdicts(evidence: Evidence) -> pd.DataFrame:
    """Every verdict with what it rests on, that of the secondary comparison after its primary."""
    lines, spec = [], evidence.experiment.spec
    for row, verdict in evidence.judged:
        where = {"where": words.place(row.context, evidence.axes) or NONE}
        recipes = evidence.gain_by_recipe(row)
        lines.append(where | _rests_on(spec.primary, verdict))
        if len(recipes) > 1:
            means = (words.points(gain.mean(), signed=True) for gain in recipes)
            lines[-1]["with each recipe that seeds take in turn"] = words.join(means)
        if second := evidence.secondary_of(row):
            lines.append(where | _rests_on(spec.secondary, second))
    return known(lines)


def _rests_on(pair: tuple[str, str] | None, verdict: Verdict) -> dict[str, str]:
    prior, why, finds = verdict.prior, why_not(verdict), verdict.detectable
    lent, spread = float(prior.df), words.points(float(prior.variance) ** 0.5)
    return {
        "comparison": f" {MINUS} ".join(pair or ()),
        "verdict": f"{verdict.answer}: {why}" if why else verdict.answer,
        "difference, points": words.difference(verdict.difference, ""),
        "seeds": str(verdict.difference.n),
        "detectable, points": words.points(finds) if finds is not None else NONE,
        "over new images, too": words.difference(verdict.new_images, ""),
        "over seeds alone": words.difference(verdict.own, ""),
        "lent": f"{words.number(lent, 2)} df, SD {spread}" if lent else NONE,
    }


def seeds(evidence: Evidence, row: Row, found: Crossed) -> pd.DataFrame:
    """The primary comparison in one context, seed by seed, with McNemar's test."""
    arms = [row.arm.name, evidence.experiment.baseline]
    top1 = {f"{of.arm.name}, %": of.top1 for of in (row, evidence.baseline_of(row))}
    shown = pd.DataFrame(top1).dropna().map(words.points)
    shown["difference, points"] = [words.points(one, signed=True) for one in evidence.gain(row)]
    shown[[f"only {arm} right" for arm in arms]] = found.discordant
    shown["p (McNemar)"] = [f"{p:.2g}" for p in found.p_values]
    return shown.reset_index().astype(str)


def by_class(found: Classes) -> pd.DataFrame:
    """Both arms' accuracy by class, the class that gains most first."""
    shown = found.accuracy.map(words.points).add_suffix(", %")
    shown["difference, points"] = [words.difference(one, "") for one in found.difference]
    order = sorted(range(len(shown)), key=lambda i: -found.difference[i].mean)
    return shown.rename_axis("class").reset_index().iloc[order]


def moved(found: Classes) -> pd.DataFrame:
    """What the treatment says more often of each class; empty of many classes."""
    few = found.moved if len(found.moved) <= MOST_CLASSES else pd.DataFrame()
    shown = few.map(lambda one: words.points(one, signed=True))
    return shown.rename_axis("class").reset_index()


def recipe(evidence: Evidence) -> pd.DataFrame:
    """The fields that trials use, with the values that they take; a dash: not used."""
    trials = evidence.experiment.trials.values()
    taken = {n: dict.fromkeys(one.used(n) for one in trials) for n in Trial.model_fields}
    told = [(n, words.join(map(words.plain, of))) for n, of in taken.items() if {*of} - {None}]
    return pd.DataFrame(told, columns=["field", "value"])


def settings(fields: Fields) -> str:
    """Each field with its value."""
    told = {n: words.number(v) if isinstance(v, float) else v for n, v in fields.items()}
    return ", ".join(f"{name} {value}" for name, value in told.items())


def search_seeds(evidence: Evidence, record: SearchRecord) -> str:
    """Of the trials that scored the configurations."""
    found = {search_seed(evidence.experiment.spec, arm) for arm in record["arms"]}
    return words.join(map(str, sorted(found)))


def tuned(evidence: Evidence, record: SearchRecord) -> pd.DataFrame:
    """Each retrained arm: what was chosen, its score in the search and after retraining."""
    retrained = {row.arm.name: row.accuracy for row in evidence.rows}
    lines = []
    for arm, of in record["arms"].items():
        by_number = {one["number"]: one for one in of["configurations"]}
        for rank, number in enumerate(of["best"], start=1):
            name = arm if rank == 1 else f"{arm} #{rank}"
            accuracy, found = retrained.get(name), by_number[number]
            lines.append(
                {
                    "arm": name,
                    "chosen": settings(found["chosen"]),
                    "held-out, %": words.points(found["values"][0]) if found["values"] else NONE,
                    "validation, %": words.mean(accuracy),
                    "seeds": str(accuracy.n) if accuracy else NONE,
                }
            )
    return pd.DataFrame(lines)


def importances(record: SearchRecord) -> pd.DataFrame:
    """The importance of each field, by arm; empty where there is none."""
    shares = pd.DataFrame({arm: of["importances"] for arm, of in record["arms"].items()})
    shown = shares.map(words.percent, na_action="ignore").fillna(NONE)
    return shown.rename_axis("field").reset_index()
