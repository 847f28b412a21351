"""What a run looks like in a terminal, and as plain lines where there is none."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

import rich.progress as bars
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.data.master import SPLITS
from bench.errors import readable
from bench.events import (
    Begin,
    DataRead,
    End,
    Epoch,
    Event,
    MatchingBegun,
    OnRecord,
    PlanMade,
    Proposed,
    Resumed,
    Round,
    SearchBegun,
    SizeMatched,
    SmokePlanned,
    StartedAnew,
    Step,
    TimingBegun,
    TrialProgress,
    Turn,
    Waiting,
)
from bench.records import CurveRow, Finding, SearchRecord, TrialRecord
from bench.spec.experiment import Experiment, ExperimentFile, context_label, context_of
from bench.spec.trial import Trial
from bench.spec.tuning import spaces

if TYPE_CHECKING:
    import pandas as pd

    from bench.analysis.planning import Design
    from bench.data.library import Dataset
    from bench.run.plan import Plan

MOST_DESIGNS = 4
"""A plan tells so many contexts at the most."""

PACE_S = 3600.0
"""The time left is told by the pace of the last so many seconds."""

MOST_SHOWN = 8
"""So many trials at once have a bar of their own, or a line for each epoch."""

BYTE_PHASES = ("download", "look through", "unpack")


def duration(seconds: float) -> str:
    """A length of time for people.

    >>> duration(42), duration(754), duration(8100)
    ('42 s', '13 min', '2.2 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def plain(text: str) -> Text:
    """A user's text as rich shows it: brackets are no markup, and no byte is unreadable."""
    return Text(readable(text))


@dataclass
class Running:
    """A trial that is under way, as it is shown."""

    name: str
    batch_size: int
    began: float
    bar: bars.TaskID | None = None  # None: others fill the screen
    first_step: tuple[int, float] | None = None
    done: float = 0.0  # share of its steps
    speed: float = 0.0  # images/s
    accuracy: str = ""  # of the last validation


class Display:
    """Shows the events of a run: progress bars on a terminal, else a line for each thing done."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.experiment: Experiment | None = None  # whose trials are shown by their names
        self.progress = bars.Progress(
            bars.TextColumn("{task.description}", markup=False),
            bars.BarColumn(bar_width=24),
            bars.TextColumn("{task.fields[count]}", markup=False),
            bars.TimeRemainingColumn(elapsed_when_finished=True),
            bars.TextColumn("{task.fields[note]}", style="dim", markup=False),
            console=console,
            disable=not console.is_terminal,
            transient=True,
            speed_estimate_period=PACE_S,
        )
        self.whole: bars.TaskID | None = None
        self.part: bars.TaskID | None = None
        self.running: dict[str, Running] = {}  # by key
        self.total = self.ended = self.on_record = 0  # trials; the last, when it began
        self.began = self.updated = 0.0  # when it began, and was last shown
        self.proposed: dict[str, str] = {}  # what a search calls its configurations, by key
        self.told_waiting = False

    @contextmanager
    def shown(self) -> Iterator[Display]:
        """While it is open, the bars are on the screen."""
        with self.progress:
            yield self

    def __call__(self, event: Event) -> None:  # a `bench.events.Listener`
        match event:
            case DataRead(phase, done, total):
                self.data(phase, done, total)
            case PlanMade():
                places = f"; {event.places}" if event.places else ""
                self._say(f"{event.to_run} trials to run, {event.on_record} on record{places}")
                self._whole(event.to_run)
            case SmokePlanned(arms):
                self._say(f"{arms} distinct arms, three training steps each")
                self._whole(arms)
            case Begin(trial):
                self._begin(trial)
            case TrialProgress(trial, told):
                self._progress(self.running[trial.key], told)
            case Step() | Epoch() | Resumed() | StartedAnew():
                pass  # a trial's, which says whose it is
            case End(trial, record):
                self._end(trial, record)
            case MatchingBegun(sizes):
                self._say("counting and timing the sizes of matched arms; leave the machine idle")
                self._start("sizes", sizes)
            case SizeMatched():
                self._size(event)
            case TimingBegun(turns):
                self._say("timing all arms side by side; leave the machine idle")
                self._start("timing", turns)
            case Turn():
                self._turn()
            case Round():
                self._round(event)
            case SearchBegun():
                self._search(event)
            case Proposed():
                self._proposed(event)
            case OnRecord(trial, record):
                self._say(f"{self._name(trial)}: {outcome(record)}, on record")
                self._advance()
            case Waiting(running):
                self._wait(running)
            case _:
                assert_never(event)

    def data(self, phase: str, done: int, total: int) -> None:
        """A `bench.data.master.Progress`."""
        if self.part is None or self.progress.tasks[-1].description != phase:
            self._start(phase, total)
        count = f"{done / 1e6:.0f} MB" if phase in BYTE_PHASES else f"{done}/{total}"
        self._update(done, total or None, count)
        if total and done >= total:
            self._end_part()

    def _size(self, event: SizeMatched) -> None:
        request = event.request
        what = "multiply-adds" if request.kind == "equal_gmacs" else "training time"
        self._say(
            f"{request.arm} on {request.plain.backbone}: {event.size} px, "
            f"{event.ratio:.2f} times the {what}"
        )
        self._turn()

    def _search(self, event: SearchBegun) -> None:
        counts = ", ".join(f"{count} of {arm}" for arm, count in event.on_record.items())
        places = f"; {event.places}" if event.places else ""
        told = f"{event.configurations} configurations of each arm; on record: {counts}{places}"
        self._say(told)
        total = event.configurations * len(event.on_record)
        self._whole(total, done=sum(event.on_record.values()))

    def _proposed(self, event: Proposed) -> None:
        values = ", ".join(f"{name} {shown_value(v)}" for name, v in event.chosen.items())
        self.proposed[event.trial.key] = f"{event.arm} {event.number}: {values}"

    def _wait(self, running: int) -> None:
        if not self.told_waiting:
            self._say(f"waiting for {running} running in another process")
        self.told_waiting = True

    def _whole(self, total: int, done: int = 0) -> None:
        if self.whole is not None:
            self.progress.remove_task(self.whole)
        count = f"{done}/{total}"
        self.whole = self.progress.add_task(
            "all trials", total=total, completed=done, count=count, note=""
        )
        self.began, self.total, self.ended, self.on_record = time.monotonic(), total, done, done

    def _begin(self, trial: Trial) -> None:
        self._end_part()
        running = Running(self._name(trial), trial.batch_size, time.monotonic())
        if sum(one.bar is not None for one in self.running.values()) < MOST_SHOWN:
            running.bar = self.progress.add_task(running.name, total=None, count="", note="")
        self.running[trial.key] = running

    def _progress(self, running: Running, told: Event) -> None:
        name = f"{running.name}: " if len(self.running) > 1 else ""
        match told:
            case Step():
                self._step(running, told)
            case Epoch(row):
                self._epoch(running, row, name)
            case Resumed(step):
                self._say(f"  {name}goes on after step {step}")
            case StartedAnew(reason):
                self._say(f"  {name}starts anew: {reason}")

    def _step(self, running: Running, event: Step) -> None:
        now = time.monotonic()
        step, began = running.first_step = running.first_step or (event.step, now)
        if now > began:
            running.speed = (event.step - step) * running.batch_size / (now - began)
        running.done = event.step / event.total
        if running.bar is not None:
            count = f"step {event.step}/{event.total}"
            note = f"epoch {event.epoch}, {running.speed:.0f} images/s{running.accuracy}"
            self.progress.update(
                running.bar, completed=event.step, total=event.total, count=count, note=note
            )
        if now > self.updated + 1:
            self._show_whole()

    def _epoch(self, running: Running, row: CurveRow, name: str) -> None:
        if "top1_pct" in row:
            running.accuracy = f", top-1 {row['top1_pct']:.1f} %"
        if self.progress.disable and running.bar is not None:
            speed = row["step"] * running.batch_size / row["train_s"]
            self._say(f"  {name}epoch {row['epoch']}, {speed:.0f} images/s{running.accuracy}")

    def _end(self, trial: Trial, record: TrialRecord) -> None:
        running = self.running.pop(trial.key)
        if running.bar is not None:
            self.progress.remove_task(running.bar)
        self._advance()
        took = duration(time.monotonic() - running.began)
        left = self._left() if self.progress.disable else ""
        self._say(f"{running.name}: {outcome(record)}, {took}{left}")

    def _advance(self) -> None:
        self.ended += 1
        self._show_whole()

    def _show_whole(self) -> None:
        """What all trials together have done, of those that are under way a part."""
        self.updated = time.monotonic()
        if self.whole is None:
            return
        under_way = self.running.values()
        speed = sum(one.speed for one in under_way)
        self.progress.update(
            self.whole,
            completed=self.done,
            count=f"{self.ended}/{self.total}",
            note=f"{len(under_way)} running, {speed:.0f} images/s" if under_way else "",
        )

    @property
    def done(self) -> float:
        """Trials, with a part of each that is under way."""
        return self.ended + sum(one.done for one in self.running.values())

    def _left(self) -> str:
        """How many trials are done, and how long the others take by the pace so far."""
        done = self.done - self.on_record
        if self.ended >= self.total or done <= 0:
            return ""
        left = (time.monotonic() - self.began) * (self.total - self.done) / done
        return f" ({self.ended} of {self.total}, {duration(left)} left)"

    def _round(self, event: Round) -> None:
        if event.disturbed:
            share = event.share
            why = f": others took {share:.0%} of the processor" if share is not None else ""
            self._say(f"  a round was disturbed{why}; it is taken again")
        elif self.progress.disable:
            self._say(f"  round {event.quiet} of {event.asked}")

    def _turn(self) -> None:
        assert self.part is not None
        self.progress.advance(self.part)

    def _name(self, trial: Trial) -> str:
        return self.proposed.get(trial.key) or self.names.get(trial.key, trial.key)

    @cached_property
    def names(self) -> Mapping[str, str]:
        """What to call each trial, by key."""
        return trial_names(self.experiment) if self.experiment else {}

    def _start(self, what: str, total: int | None) -> None:
        self._end_part()
        self.part = self.progress.add_task(what, total=total, count="", note="")

    def _update(self, done: int, total: int | None, count: str, note: str = "") -> None:
        assert self.part is not None
        self.progress.update(self.part, completed=done, total=total, count=count, note=note)

    def _end_part(self) -> None:
        if self.part is not None:
            self.progress.remove_task(self.part)
        self.part = None

    def _say(self, line: str) -> None:
        self.progress.console.print(line, markup=False, highlight=False, soft_wrap=True)


def search_lines(spec: ExperimentFile, record: SearchRecord | None) -> list[str]:
    """What each tuned arm chooses from, and how far its search is; a line each."""
    assert spec.search
    arms = record["arms"] if record else {}
    lines = []
    for arm, space in spaces(spec).items():
        done = len(arms[arm]["configurations"]) if arm in arms else 0
        ranges = "; ".join(f"{name}: {of}" for name, of in space.ranges.items())
        lines.append(f"{arm}: {done} of {spec.search.trials} configurations of {ranges}")
    return lines


def shown_value(value: object) -> str:
    """A chosen value, to three digits.

    >>> shown_value(0.00312345), shown_value("sgd"), shown_value(64)
    ('0.00312', 'sgd', '64')
    """
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def outcome(record: TrialRecord) -> str:
    if record["status"] != "ok":
        return f"{record['status']} ({record['reason']})"
    if "seconds_per_step" in record:
        return f"{record['seconds_per_step']:.3f} s a step"
    if "top1_pct" not in record["metrics"]:
        return "ok"
    return f"top-1 {record['metrics']['top1_pct']['value']:.1f} %"


def trial_names(experiment: Experiment) -> dict[str, str]:
    """What to call each trial: its arm, context and seed, of the first cell that asks for it."""
    names: dict[str, str] = {}
    for cell in experiment.cells:
        sizes = {name for name in ("input_size", "output_size") if name in cell.axes}
        context = {n: v for n, v in context_of(cell.axes).items() if n not in sizes}
        size = f"{cell.trial.size} px" if sizes else ""
        words = [cell.arm, context_label(context), size, f"seed {cell.trial.seed}"]
        names.setdefault(cell.trial.key, ", ".join(word for word in words if word))
    return names


def plan_table(plan: Plan) -> Table:
    """The arms of an experiment, with what each consists of and how far it is."""
    table = Table(box=None)
    for heading in ("arm", "role", "resizer", "sizes, px", "trials", "states", "time left"):
        table.add_column(heading, justify="right" if heading in ("trials", "time left") else "left")
    for arm in plan.experiment.spec.arm:
        trials = {c.trial.key: c.trial for c in plan.experiment.cells if c.arm == arm.name}
        sizes = dict.fromkeys(trial.size for trial in trials.values())
        states = sorted(plan.states.get(key, "timed only") for key in trials)
        table.add_row(
            plain(arm.name),
            arm.role,
            plain(", ".join(dict.fromkeys(trial.resizer for trial in trials.values()))),
            shortened(list(sizes)),
            str(len(trials)),
            ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states)),
            time_left(plan, trials),
        )
    return table


def arm_lines(experiment: Experiment) -> list[str]:
    """What each arm tells and what it starts from, a line for each that says either."""
    lines = []
    for arm in experiment.spec.arm:
        starts = {to: None for field, to in arm.arms.items() if field != "match"}
        parts = [arm.isolates, f"starts from {' and '.join(starts)}" if starts else ""]
        if any(parts):
            lines.append(f"{arm.name}: {'; '.join(part for part in parts if part)}")
    return lines


def design_lines(experiment: Experiment, table: pd.DataFrame) -> list[str]:
    """What the primary comparison will find, and how many seeds its margin takes."""
    from bench.analysis.planning import designs

    spec = experiment.spec
    found = designs(table, spec.primary, spec.looks) if spec.primary and spec.train else {}
    told = [
        _finds(design, spec.margin_pct) + (f" ({context})" if context else "")
        for context, design in list(found.items())[:MOST_DESIGNS]
    ]
    left = len(found) - len(told)
    return [*told, f"{left} more comparisons"] if left > 0 else told


def _finds(design: Design, margin_pct: float) -> str:
    least = [f"{design.finds(n):.1f} points or more with {n} seeds" for n in design.looks.seeds]
    wanted = f"{margin_pct:g} point{'' if margin_pct == 1 else 's'}"
    needed = design.seeds_for(margin_pct) or "more than 1,000"
    kind = "published experiments of this kind" if design.lenders else "all that is published"
    return (
        f"In four of five experiments it will find {', '.join(least)}; {wanted} take"
        f"{'s' if margin_pct == 1 else ''} {needed} seeds. A seed's difference spreads by "
        f"{design.sd:.1f} points in {kind}."
    )


def time_left(plan: Plan, keys: Iterable[str]) -> str:
    """Estimated time of the missing trials among `keys`; "?" where some have no estimate."""
    missing = [key for key in keys if plan.states.get(key) == "missing"]
    known = [plan.seconds[key] for key in missing if key in plan.seconds]
    if len(known) < len(missing):
        return "?"
    return duration(sum(known)) if missing else "-"


def shortened(words: list[str], most: int = 4) -> str:
    """The first words of a list, and how many more there are.

    >>> shortened(["a", "b", "c"], most=2)
    'a, b, 1 more'
    """
    left = len(words) - most
    return ", ".join([*words[:most], f"{left} more"] if left > 0 else words)


def class_table(dataset: Dataset) -> Table:
    table = Table(box=None, header_style="bold")
    for heading in ("class", *SPLITS):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    counts = dataset.manifest["counts"]
    for name in dataset.classes:
        table.add_row(plain(name), *(f"{counts[split][name]:,}" for split in SPLITS))
    table.add_row("in all", *(f"{len(dataset.split(split)):,}" for split in SPLITS))
    return table


MOST_ROWS = 40
"""A terminal shows so many rows of the results."""
KEPT = ("arm", "top-1", "difference", "verdict")
"""Columns of the results that are shown at any width: those that begin so."""


def results_table(path: Path, width: int) -> Table:
    """The results, a CSV file of display strings: what fits, the least important left out first.

    Columns that hold one value go first, then costs and other numbers from the right.
    """
    with path.open(newline="") as file:
        headings, *lines = csv.reader(file)
    shown = list(range(len(headings)))
    for place in _least_important(headings, lines):
        if sum(_width(headings[i], [line[i] for line in lines]) + 2 for i in shown) <= width:
            break
        shown.remove(place)
    cut = [[line[i] for i in shown] for line in lines[:MOST_ROWS]]
    table = text_table([headings[i] for i in shown], cut, width)
    left = {"column": len(headings) - len(table.columns), "row": len(lines) - len(cut)}
    more = [f"{n} more {what}{'s' * (n > 1)}" for what, n in left.items() if n]
    table.caption = f"{' and '.join(more)} in the report" if more else None
    return table


def _least_important(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> list[int]:
    """The places of the columns that may be left out, in that order."""
    free = [i for i, heading in enumerate(headings) if not heading.startswith(KEPT)]
    alike = [i for i in free if len({line[i] for line in lines}) == 1]
    return [*alike, *(i for i in reversed(free) if i not in alike)]


def _width(heading: str, column: Iterable[str]) -> int:
    """Of a column that breaks its heading alone."""
    return max(map(len, [*readable(heading).split(), *map(readable, column)]), default=0)


def finding(line: Finding) -> str:
    """A line of a check: `fails  1.2   peak of …, MiB (wanted: …)`.

    >>> finding({"what": "levels at most", "found": 0.25, "wanted": "≤ 1", "holds": True})
    'holds      0.25  levels at most (wanted: ≤ 1)'
    """
    state = {True: "holds", False: "fails", None: ""}[line["holds"]]
    found = "" if line["found"] is None else f"{line['found']:,.4g}"
    wanted = f" (wanted: {line['wanted']})" if line["wanted"] else ""
    return f"{state:6}{found:>9}  {line['what']}{wanted}"


def text_table(
    headings: Sequence[str], lines: Sequence[Sequence[str]], width: int, title: str = ""
) -> Table:
    """A table of texts: as many of its columns, from the left, as fit in `width`."""
    table = Table(title=plain(title), title_justify="left", box=None, header_style="bold")
    used = 0
    for place, heading in enumerate(headings):
        column = [line[place] for line in lines]
        column_width = _width(heading, column)
        used += column_width + 2
        if used > width:
            break
        table.add_column(
            plain(heading),
            justify="right" if are_numbers(column) else "left",
            width=column_width,
            overflow="fold",
        )
    shown = len(table.columns)
    for line in lines:
        table.add_row(*map(plain, line[:shown]))
    if left := len(headings) - shown:
        table.caption = f"{left} more column{'s' * (left > 1)} in a wider terminal"
    return table


def experiments_table(plans: Mapping[str, tuple[ExperimentFile, Plan | None]]) -> Table:
    """The experiments with their questions, how far each is, and what is left.

    Args:
        plans: by name; None of a search that has found nothing yet.
    """
    table = Table(box=None, header_style="bold")
    for heading in ("experiment", "trials", "finished", "time left"):
        table.add_column(heading, justify="left" if heading == "experiment" else "right")
    table.add_column("question")
    for name, (spec, plan) in plans.items():
        progress = ("search", "-", "?")
        if plan:
            done = str(plan.counts["ok"]) if plan.counts["ok"] else "-"
            progress = (str(len(plan.states) or "-"), done, time_left(plan, plan.states))
        table.add_row(name, *progress, plain(spec.question))
    return table


def are_numbers(texts: Iterable[str]) -> bool:
    """Whether a column of texts reads as numbers, or as dashes in their place.

    >>> are_numbers(["+1.5 ± 0.2", "\N{EN DASH}", "64 → 32"]), are_numbers(["bilinear", "3"])
    (True, False)
    """
    return all(text[:1].isdigit() or text[:1] in "+\N{MINUS SIGN}\N{EN DASH}" for text in texts)
