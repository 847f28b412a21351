"""What is done, as it is done: bars on a terminal, else a line for each thing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import assert_never

import rich.progress as bars
from rich.console import Console
from rich.table import Column

from bench import events
from bench.cli.console import duration
from bench.errors import counted
from bench.records import CurveRow, TrialRecord
from bench.spec.experiment import Experiment
from bench.spec.trial import Trial

PACE_S = 3600.0  # the time left is told by the pace of the last so many seconds
ROOM_FOR_BAR = 100  # columns: on a narrower terminal the numbers stand alone
MOST_SHOWN = 8  # so many trials at once have a bar of their own, or a line for each epoch
BYTE_PHASES = ("download", "unpack")
MEASURED = {
    "sizes": "counting and timing the sizes of matched arms; leave the machine idle",
    "timing": "timing all arms side by side; leave the machine idle",
}


@dataclass
class Running:
    """A trial that is under way, as it is shown."""

    name: str
    batch_size: int
    began: float
    bar: bars.TaskID | None = None  # None: others fill the screen
    first_step: tuple[int, float] | None = None
    resumed: int = 0  # steps that it had when this process took it up
    done: float = 0.0  # share of its steps
    speed: float = 0.0  # images/s
    accuracy: str = ""  # of the last validation
    where: str = ""  # GPU or node


class Display:
    """Shows the events of a run."""

    def __init__(self, console: Console, experiment: Experiment | None = None) -> None:
        self.experiment = experiment  # whose trials are shown by their names
        bar = [bars.BarColumn(bar_width=24)] if console.width >= ROOM_FOR_BAR else []
        self.progress = bars.Progress(
            bars.TextColumn("{task.description}", markup=False, table_column=Column()),  # it breaks
            *bar,
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
        self.total = self.ended = 0  # trials
        self.before = 0.0  # trials, with a part of each, that this process did not do
        self.began = self.updated = 0.0  # when it began, and was last shown
        self.proposed: dict[str, str] = {}  # what a search calls its configurations, by key
        self.told_waiting = False

    @contextmanager
    def shown(self) -> Iterator[Display]:
        """While it is open, the bars are on the screen."""
        with self.progress:
            yield self

    def __call__(self, event: events.Event) -> None:  # a `bench.events.Listener`
        match event:
            case events.DataRead():
                self._data(event)
            case events.Trying(resizers):
                self._say(f"trying {', '.join(resizers)}")
            case events.PlanMade(to_run, on_record, places):
                self._say(f"{counted(to_run, 'trial')} to run, {on_record} on record", places)
                self._whole(to_run)
            case events.SmokePlanned(arms):
                self._say(f"{counted(arms, 'distinct arm')}, three training steps each")
                self._whole(arms)
            case events.SearchBegun():
                self._search(event)
            case events.Proposed(arm, number, chosen, trial):
                values = ", ".join(f"{name} {shown_value(v)}" for name, v in chosen.items())
                self.proposed[trial.key] = f"{arm} {number}: {values}"
            case events.OnRecord(trial, record):
                self._say(f"{self._name(trial)}: {outcome(record)}, on record")
                self._advance()
            case events.Begin(trial):
                self._begin(trial)
            case events.TrialProgress(trial, told):
                self._progress(self.running[trial.key], told)
            case events.Placed() | events.Step() | events.Epoch():
                pass  # a trial's, which says whose it is
            case events.Resumed() | events.StartedAnew():
                pass  # likewise
            case events.End(trial, record):
                self._end(trial, record)
            case events.MeasuringBegun(what, turns):
                self._say(MEASURED[what])
                self.part = self._bar(what, turns, instead_of=self.part)
            case events.SizeMatched():
                self._size(event)
            case events.Turn():
                self._turn()
            case events.Round():
                self._round(event)
            case events.Waiting(running, what):
                if not self.told_waiting:
                    self._say(f"waiting for {counted(running, what)} that another process is at")
                self.told_waiting = True
            case _:
                assert_never(event)

    def _data(self, event: events.DataRead) -> None:
        phase, done, total = event.phase, event.done, event.total
        if self.part is None or self.progress.tasks[-1].description != phase:
            self.part = self._bar(phase, total, instead_of=self.part)
        count = f"{done / 1e6:.0f} MB" if phase in BYTE_PHASES else f"{done}/{total}"
        self.progress.update(self.part, completed=done, total=total or None, count=count)
        if total and done >= total:
            self._end_part()

    def _size(self, event: events.SizeMatched) -> None:
        request = event.request
        what = "multiply-adds" if request.kind == "equal_gmacs" else "training time"
        named = f"{request.arm} on {request.plain.backbone}"
        self._say(f"{named}: {event.size} px, {event.ratio:.2f} times the {what}")
        self._turn()

    def _search(self, event: events.SearchBegun) -> None:
        counts = ", ".join(f"{count} of {arm}" for arm, count in event.on_record.items())
        told = f"{counted(event.configurations, 'configuration')} of each arm; on record: {counts}"
        self._say(told, event.places)
        total = event.configurations * len(event.on_record)
        self._whole(total, done=sum(event.on_record.values()))

    def _whole(self, total: int, done: int = 0) -> None:
        self.began, self.total, self.ended, self.before = time.monotonic(), total, done, done
        self.whole = self._bar("all trials", total, instead_of=self.whole)
        self._show_whole()

    def _begin(self, trial: Trial) -> None:
        self._end_part()
        running = Running(self._name(trial), trial.batch_size, time.monotonic())
        if sum(one.bar is not None for one in self.running.values()) < MOST_SHOWN:
            running.bar = self._bar(running.name)
        self.running[trial.key] = running

    def _progress(self, running: Running, told: events.Event) -> None:
        match told:
            case events.Placed(where):
                running.where = f" on {where}"
            case events.Step():
                self._step(running, told)
            case events.Epoch(row):
                self._epoch(running, row)
            case events.Resumed(step):
                running.resumed = step
                self._say(f"  {running.name}: goes on after step {step}")
            case events.StartedAnew(reason):
                self._say(f"  {running.name}: starts anew: {reason}")

    def _step(self, running: Running, event: events.Step) -> None:
        now = time.monotonic()
        if running.first_step is None:
            running.first_step = event.step, now
            self.before += running.resumed / event.total
        step, began = running.first_step
        if now > began:
            running.speed = (event.step - step) * running.batch_size / (now - began)
        running.done = event.step / event.total
        if running.bar is not None:
            count = f"step {event.step}/{event.total}"
            speed = f"{running.speed:.0f} images/s{running.where}"
            note = f"epoch {event.epoch}, {speed}{running.accuracy}"
            self.progress.update(
                running.bar, completed=event.step, total=event.total, count=count, note=note
            )
        if now > self.updated + 1:
            self._show_whole()

    def _epoch(self, running: Running, row: CurveRow) -> None:
        if "top1_pct" in row:
            running.accuracy = f", top-1 {row['top1_pct']:.1f} %"
        if self.progress.disable and running.bar is not None:
            speed = row["step"] * running.batch_size / row["train_s"]
            told = f"epoch {row['epoch']}, {speed:.0f} images/s{running.accuracy}"
            self._say(f"  {running.name}: {told}")

    def _end(self, trial: Trial, record: TrialRecord) -> None:
        running = self.running.pop(trial.key)
        if running.bar is not None:
            self.progress.remove_task(running.bar)
        self._advance()
        took = duration(time.monotonic() - running.began)
        left = self._left() if self.progress.disable else ""
        self._say(f"{running.name}: {outcome(record)}, {took}{running.where}{left}")

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
        note = f"{len(under_way)} running, {speed:.0f} images/s" if under_way else ""
        count = f"{self.ended}/{self.total}"
        self.progress.update(self.whole, completed=self.done, count=count, note=note)

    @property
    def done(self) -> float:
        """Trials, with a part of each that is under way."""
        return self.ended + sum(one.done for one in self.running.values())

    def _left(self) -> str:
        """How many trials are done, and how long the others take by the pace so far."""
        done = self.done - self.before
        if self.ended >= self.total or done <= 0:
            return ""
        left = (time.monotonic() - self.began) * (self.total - self.done) / done
        return f" ({self.ended} of {self.total}, {duration(left)} left)"

    def _round(self, event: events.Round) -> None:
        if event.disturbed:
            share = event.share
            why = f": others took {share * 100:.0f} % of the processor" if share is not None else ""
            self._say(f"  a round was disturbed{why}")
        elif self.progress.disable:
            self._say(f"  round {event.quiet} of {event.asked}")

    def _turn(self) -> None:
        if self.part is not None:  # else a trial has begun beside what is measured
            self.progress.advance(self.part)

    def _name(self, trial: Trial) -> str:
        """What to call a trial: of one whose experiment is not known, the key."""
        names = self.experiment.trial_names if self.experiment else {}
        return self.proposed.get(trial.key) or names.get(trial.key, trial.key)

    def _bar(
        self, what: str, total: int | None = None, instead_of: bars.TaskID | None = None
    ) -> bars.TaskID:
        if instead_of is not None:
            self.progress.remove_task(instead_of)
        return self.progress.add_task(what, total=total, count="", note="")

    def _end_part(self) -> None:
        if self.part is not None:
            self.progress.remove_task(self.part)
        self.part = None

    def _say(self, *parts: str) -> None:
        """Print a line; of its parts those that say something."""
        line = "; ".join(filter(None, parts))
        self.progress.console.print(line, markup=False, highlight=False, soft_wrap=True)


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
