"""What a terminal shows: lines as they are, and tables that fit it."""

from __future__ import annotations

import csv
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.errors import counted, readable

if TYPE_CHECKING:
    from bench.store import Store

out = Console(soft_wrap=False)

MOST_ROWS = 40  # a terminal shows so many rows of the results
KEPT = ("top-1", "difference", "verdict")
"""Columns of the results that are left out last but for the names: those that begin so."""

NAMED = ("arm", "row")
"""The last of the columns that name a row; axes may stand before it."""

SIZE = "image, px"
"""Names a row, too, where others differ from it in nothing but their sizes."""

NARROW = 8  # so narrow may a heading be broken


def say(text: str, *, prose: bool = False) -> None:
    """Print lines as they are, data no markup; of prose a terminal breaks one between words."""
    for line in text.split("\n"):
        whole = not (prose and out.is_terminal)
        out.print(readable(line), markup=False, highlight=False, soft_wrap=whole)


def name_damaged(store: Store) -> None:
    """Tell of the records that were there and could not be read."""
    for why in store.damaged.values():
        say(f"taken for missing: {why}")


def near(path: Path) -> str:
    """The path as it is shortest to type from here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


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


def wrapped_table(
    headings: Sequence[str], lines: Iterable[Sequence[str]], *, right: Container[str]
) -> Table:
    """A table whose cells break where the terminal is narrow; columns of numbers are `right`.

    What the first column names stays whole, to be typed, unless it takes a third of the width.
    """
    table, lines = Table(box=None, header_style="bold"), list(lines)
    whole = max((len(line[0]) for line in lines), default=0) <= out.width // 3
    for i, heading in enumerate(headings):
        side: Literal["left", "right"] = "right" if heading in right else "left"
        table.add_column(plain(heading), justify=side, no_wrap=whole and i == 0, overflow="fold")
    for line in lines:
        table.add_row(*map(plain, line))
    return table


def results_table(path: Path, width: int) -> Table:
    """The results, a CSV file of display strings: what fits, the least important left out first.

    Columns that hold one value go first, then costs and other numbers from the right; before any
    more is left out, headings break. Last goes what tells one row from another: the axes that
    vary, before the arm, and the arm.
    """
    with path.open(newline="", encoding="utf-8") as file:
        headings, *lines = csv.reader(file)
    columns = {i: [line[i] for line in lines] for i in range(len(headings))}
    named = next((i for i, heading in enumerate(headings) if heading in NAMED), -1)
    kept = [i for i in columns if headings[i].startswith(KEPT)]
    alike = [i for i in columns if i not in (*kept, named) and len(set(columns[i])) == 1]
    names = [i for i in range(named + 1) if i not in alike]
    if SIZE in headings and len({tuple(line[i] for i in names) for line in lines}) < len(lines):
        names.append(headings.index(SIZE))
    varied = [i for i in columns if i not in (*kept, *alike, *names)]
    widths = {i: _width(headings[i], columns[i][:MOST_ROWS]) for i in columns}
    _leave_out((*alike, *reversed(varied)), widths, width)
    if _too_wide(widths, width):
        widths = {i: min(of, max(_width("", columns[i]), NARROW)) for i, of in widths.items()}
    _leave_out((*reversed(kept), *names), widths, width)
    table = Table(box=None, header_style="bold")
    for i, own in widths.items():
        side: Literal["left", "right"] = "right" if are_numbers(columns[i]) else "left"
        table.add_column(plain(headings[i]), justify=side, width=own, overflow="fold")
    for line in lines[:MOST_ROWS]:
        table.add_row(*(plain(line[i]) for i in widths))
    left = {"column": len(columns) - len(widths), "row": len(lines) - table.row_count}
    more = " and ".join(f"{counted(n, f'more {what}')}" for what, n in left.items() if n)
    table.caption = f"{more} in the report" if more else None
    return table


def _leave_out(columns: Iterable[int], widths: dict[int, int], width: int) -> None:
    """Drop the first of the columns from `widths`, until the rest fits."""
    for i in columns:
        if _too_wide(widths, width):
            del widths[i]


def _too_wide(widths: Mapping[int, int], width: int) -> bool:
    return sum(widths.values()) + 2 * len(widths) > width


def _width(heading: str, column: Iterable[str]) -> int:
    """Of a column that breaks its heading alone."""
    return max(map(len, [*readable(heading).split(), *map(readable, column)]), default=0)


def are_numbers(texts: Iterable[str]) -> bool:
    """Whether a column of texts reads as numbers, or as dashes in their place.

    >>> are_numbers(["+1.5 ± 0.2", "\N{EN DASH}", "64 → 32"]), are_numbers(["bilinear", "3"])
    (True, False)
    """
    return all(text[:1].isdigit() or text[:1] in "+\N{MINUS SIGN}\N{EN DASH}" for text in texts)
