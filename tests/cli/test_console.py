"""What the terminal shows: names of trials, and columns of tables."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console
from rich.table import Table

from bench.cli import console as terminal
from bench.cli.console import results_table, say, wrapped_table
from bench.cli.progress import Display
from bench.events import Begin, Epoch, Round, Step, TrialProgress, Waiting
from bench.report.words import NONE
from bench.spec.trial import Trial
from tests.conftest import WriteExperiment


def test_a_trial_of_crossed_sizes_is_named_by_its_own_sizes(
    write_experiment: WriteExperiment,
) -> None:
    axes = 'input_size = ["2 * output_size"]\noutput_size = [16, 8]'
    names = write_experiment(axes=axes).trial_names.values()
    assert set(names) == {
        *(f"plain, {size} px, seed {seed}" for size in ("16", "8") for seed in (0, 1)),
        *(f"learned, {size} px, seed {seed}" for size in ("32 → 16", "16 → 8") for seed in (0, 1)),
    }


def test_a_trial_is_named_by_what_it_uses(write_experiment: WriteExperiment) -> None:
    """Of equal time are 8 px without blocks, 24 px with one or two: neither has all values."""
    axes = 'interpolation = ["bilinear", "nearest"]\nnum_resblocks = [0, 1, 2]'
    matched = (
        '[[arm]]\nname = "time"\nresizer = "none"\ninput_size = "equal_time"\nmatch = "learned"'
    )
    matched += "\nmatched_px = [8, 24, 24, 8, 24, 24]"
    names = list(write_experiment(axes=axes, rest=matched).trial_names.values())
    assert len(set(names)) == len(names)
    assert [name for name in names if name.endswith("seed 0")] == [
        "plain, seed 0",
        *(
            f"learned, interpolation {filter_}, num_resblocks {blocks}, seed 0"
            for filter_ in ("bilinear", "nearest")
            for blocks in (0, 1, 2)
        ),
        "time, num_resblocks 0, seed 0",
        "time, num_resblocks 1, seed 0",
    ]


def test_words_stand_left_in_their_column_and_numbers_right(tmp_path: Path) -> None:
    lines = [["resnet18", NONE, "64 → 32", "+1.5 ± 0.2"], ["vit", "bicubic", "32", NONE]]
    file = tmp_path / "results.csv"
    headings = ["backbone", "interpolation", "px", "points"]
    pd.DataFrame(lines, columns=headings).to_csv(file, index=False)
    table = results_table(file, width=120)
    assert [column.justify for column in table.columns] == ["left", "left", "right", "right"]


HEADINGS = ["dataset", "batch", "arm", "top-1 accuracy, %", "verdict", "speed", "memory"]


def results(folder: Path, width: int, rows: int = 2) -> Table:
    lines = [
        ["fine", str(n % 2), f"arm {n}", "41.8", "better", str(585 + n), str(127 + n)]
        for n in range(rows)
    ]
    file = folder / "results.csv"
    pd.DataFrame(lines, columns=HEADINGS).to_csv(file, index=False)
    return results_table(file, width)


@pytest.mark.parametrize(
    ("width", "shown", "caption"),
    [
        (80, HEADINGS, None),
        (55, HEADINGS[1:], "1 more column in the report"),
        (35, HEADINGS[1:5], "3 more columns in the report"),
        (25, ["batch", "arm", "top-1 accuracy, %"], "4 more columns in the report"),
        (14, ["batch", "arm"], "5 more columns in the report"),
        (10, ["arm"], "6 more columns in the report"),
    ],
)
def test_what_does_not_vary_makes_way_first_then_costs_and_what_names_a_row_last(
    tmp_path: Path, width: int, shown: list[str], caption: str | None
) -> None:
    table = results(tmp_path, width)
    assert [str(column.header) for column in table.columns] == shown
    assert table.caption == caption


def test_rows_that_differ_in_their_sizes_alone_keep_these_and_headings_break_before_more_goes(
    tmp_path: Path,
) -> None:
    headings = ["num_resblocks", "arm", "image, px", "top-1 accuracy, %", "training speed"]
    lines = [["0", "fixed", "64 → 32", "67.6", "428"], ["0", "fixed", "80 → 32", "67.8", "334"]]
    lines.append(["1", "learned", "64 → 32", "66.1", "236"])
    file = tmp_path / "results.csv"
    pd.DataFrame(lines, columns=headings).to_csv(file, index=False)
    assert [str(column.header) for column in results_table(file, 42).columns] == headings[:4]
    pd.DataFrame(lines[1:], columns=headings).to_csv(file, index=False)
    shown = [str(column.header) for column in results_table(file, 36).columns]
    assert shown == ["num_resblocks", "arm", "top-1 accuracy, %"]


@pytest.mark.parametrize(("width", "whole"), [(80, True), (24, False)])
def test_a_name_that_is_to_be_typed_is_whole_where_it_fits_and_never_cut(
    monkeypatch: pytest.MonkeyPatch, width: int, *, whole: bool
) -> None:
    console = Console(file=StringIO(), width=width)
    monkeypatch.setattr("bench.cli.console.out", console)
    words = ["the class is in coarse structure that any reduction keeps"] * 6
    headings = ("dataset", *"abcdef")
    console.print(wrapped_table(headings, [("synthetic-coarse", *words)], right=()))
    assert isinstance(console.file, StringIO)
    text = console.file.getvalue()
    assert ("synthetic-coarse" in text) == whole
    assert "…" not in text


def test_a_terminal_shows_forty_rows_and_says_how_many_more_there_are(tmp_path: Path) -> None:
    assert results(tmp_path, 80, rows=40).caption is None
    table = results(tmp_path, 80, rows=42)
    assert table.row_count == 40
    assert table.caption == "2 more rows in the report"


def test_where_nothing_redraws_each_round_of_the_timing_is_a_line() -> None:
    console = Console(file=StringIO(), width=120)
    display = Display(console)
    for disturbed, share, quiet in ((False, 0.01, 1), (True, 0.33, 1), (False, 0.02, 2)):
        display(Round(quiet, 2, disturbed, share))
    assert isinstance(console.file, StringIO)
    assert console.file.getvalue().splitlines() == [
        "  round 1 of 2",
        "  a round was disturbed: others took 33 % of the processor",
        "  round 2 of 2",
    ]


@pytest.mark.parametrize("width", [80, 100, 140])
def test_a_bar_tells_which_trial_and_how_far_it_is_however_narrow_the_terminal(width: int) -> None:
    console = Console(file=StringIO(), width=width, force_terminal=True)
    display = Display(console)
    trial = Trial(dataset="toy", backbone="test_resnet", input_size=16, epochs=3)
    display.proposed[trial.key] = "learned, dataset synthetic-coarse, seed 1"
    display(Begin(trial))
    for told in (
        Epoch({"epoch": 2, "step": 60, "train_s": 0.5, "top1_pct": 98.4}),
        Step(64, 90, 3),
    ):
        display(TrialProgress(trial, told))
    console.print(display.progress.get_renderable())
    assert isinstance(console.file, StringIO)
    shown = " ".join(console.file.getvalue().split())
    assert "…" not in shown
    for word in ("synthetic-coarse,", "seed 1", "step 64/90", "images/s,", "top-1 98.4 %"):
        assert word in shown


def test_what_is_waited_for_is_named() -> None:
    for event, told in (
        (Waiting(5), "5 trials"),
        (Waiting(1, "configuration"), "1 configuration"),
        (Waiting(1, "measurement"), "1 measurement"),
    ):
        console = Console(file=StringIO(), width=120)
        Display(console)(event)
        assert isinstance(console.file, StringIO)
        expected = f"waiting for {told} that another process is at\n"
        assert console.file.getvalue() == expected


@pytest.mark.parametrize("is_terminal", [True, False])
def test_prose_breaks_between_words_on_a_terminal_and_a_command_never_does(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    out = Console(file=StringIO(), width=20, force_terminal=is_terminal)
    monkeypatch.setattr(terminal, "out", out)
    prose, command = "On synthetic-fine, at 64 px.", "resizer-bench run a-long-name"
    say(prose, prose=True)
    say(command)
    assert isinstance(out.file, StringIO)
    broken = ["On synthetic-fine,", "at 64 px."]
    told = [line.rstrip() for line in out.file.getvalue().splitlines()]
    assert told == [*(broken if is_terminal else [prose]), command]
