"""A page is written once, in Markdown, by a template; its HTML is rendered from that Markdown.

HTML in the Markdown is our templates' own (folded details, the badge): text from data is escaped
where it enters a template, so that no name can become markup.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import PurePosixPath
from urllib.parse import quote

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.token import Token

from bench.errors import counted
from bench.report import words
from bench.report.figures.style import Drawing
from bench.report.table import is_numeric

MOST_UNBROKEN = 34  # letters of a cell: so many stay on one line
UNBROKEN = re.compile(rf" (?=[±%→{words.TIMES}]|px\b)|(?<=[±→]) ")  # between number and unit


class Markdown(str):
    """Text that is Markdown already, and enters a template as it is."""


def escaped(value: object) -> object:
    """Text from data as Markdown shows it literally, on one line; anything else as it is.

    >>> escaped("a|b <i>"), escaped("1. first"), escaped(Markdown("*a*"))
    ('a\\\\|b \\\\<i\\\\>', '1\\\\. first', '*a*')
    """
    if not isinstance(value, str) or isinstance(value, Markdown):
        return value
    line = re.sub(r"([\\`*\[\]<>|_~#$&])", r"\\\1", " ".join(value.split()))
    return re.sub(r"^(\d*)([-+=.)])(?=[\s=-]|$)", r"\1\\\2", line)  # would begin a list or a rule


def figure(drawing: Drawing, folder: str = "figures/") -> Markdown:
    """The figure's file, in a folder beside the page, with its caption; in HTML it is inlined."""
    alt, caption = escaped(drawing.alt), escaped(drawing.caption)
    return Markdown(f"![{alt}]({folder}{drawing.name}.svg)\\\n{caption}\n")


def picture(drawing: Drawing, folder: str) -> Markdown:
    """The figure's files for light and dark pages, as code hosts show them."""
    source = quote(f"{folder}/{drawing.name}")
    return Markdown(
        f'<picture>\n<source media="(prefers-color-scheme: dark)" srcset="{source}-dark.svg">\n'
        f'<img src="{source}.svg" width="640" alt="{escapeHtml(drawing.alt)}">\n</picture>\n\n'
        f"<sub>{escaped(drawing.caption)}</sub>"
    )


def table(frame: pd.DataFrame, note: str = "") -> Markdown:
    """A table of texts, its columns of numbers set to the right, and a note; "" without a line."""
    if frame.empty:
        return Markdown()
    sides = ["---:" if is_numeric(frame.iloc[:, i]) else "---" for i in range(frame.shape[1])]
    lines = [[escaped(cell) for cell in line] for line in [frame.columns, *frame.to_numpy()]]
    lines.insert(1, list(sides))
    text = "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)
    return Markdown(f"{text}\n<small>{escaped(note)}</small>\n" if note else text)


def link(text: str, path: str, heading: str = "") -> Markdown:
    """A link to a file beside the page, or to a heading in it.

    >>> str(link("log", "a#b/LOG.md", "now"))
    '[log](a%23b/LOG.md#now)'
    """
    at = f"#{heading}" if heading else ""
    return Markdown(f"[{escaped(text)}]({quote(path)}{at})")


def badge(verdict: str) -> Markdown:
    """The verdict as a word, coloured in the page."""
    return Markdown(f'<strong class="badge {slug(verdict)}">{escaped(verdict)}</strong>')


def code(text: str) -> Markdown:
    """A command in a line of text."""
    return Markdown(f"`{text.replace('`', '')}`")


def slug(text: str) -> str:
    """What a heading is linked by, as code hosts make it.

    >>> slug("What the backbones see")
    'what-the-backbones-see'
    """
    return re.sub(r"[^\w-]", "", text.lower().replace(" ", "-"))


def markdown(template: str, **content: object) -> Markdown:
    """The text of a page, of one of our templates."""
    text = _templates().get_template(template).render(content)
    return Markdown(re.sub(r"\n{3,}", "\n\n", text).strip() + "\n")


@cache
def _templates() -> Environment:
    """Each template is compiled once."""
    env = Environment(
        loader=PackageLoader("bench.report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=escaped,
    )
    env.globals |= {"words": words, "counted": counted, "figure": figure, "table": table}
    env.globals |= {"link": link, "badge": badge}
    env.filters |= {"code": code, "raw": Markdown, "slug": slug}
    return env


def html(
    text: str, title: str, drawings: Mapping[str, Drawing] = {}, colours: Mapping[str, str] = {}
) -> str:
    """The page of a text in Markdown, complete in itself.

    Args:
        title: plain text, for the window's bar.
        drawings: figures by name that are inlined where the text shows their file.
        colours: of each arm, shown beside its name in tables.
    """
    parser = MarkdownIt("commonmark", {"xhtmlOut": False}).enable("table")
    tokens = parser.parse(text)
    _head_rows(tokens, colours)
    _set(tokens, drawings)
    body = parser.renderer.render(tokens, parser.options, {})
    return _shell().render(title=title, body=body)


@cache
def _shell() -> Template:
    env = Environment(loader=PackageLoader("bench.report"), autoescape=True)
    return env.get_template("shell.html.j2")


def _set(tokens: Sequence[Token], drawings: Mapping[str, Drawing]) -> None:
    """Inline the figures, put tables in boxes that scroll, and keep numbers on one line."""
    section, names = "", Counter[str]()
    for i, token in enumerate(tokens):
        if token.type == "html_block":
            section = "".join(re.findall(r"<h2>(.*)</h2>", token.content)) or section
        elif token.type == "heading_open":
            section = _plain(tokens[i + 1])
            name = slug(section)
            token.attrSet("id", f"{name}-{repeated}" if (repeated := names[name]) else name)
            names[name] += 1
        elif token.type == "table_open":
            _as_html(token, f'{_box(section)}<table class="sortable">\n')
        elif token.type == "table_close":
            _as_html(token, "</table>\n</div>\n")
        elif token.type == "inline" and (drawing := _drawing(token, drawings)):
            _as_html(tokens[i - 1], f"<figure>\n{_box(drawing.name)}{drawing.inline}</div>\n")
            _as_html(tokens[i + 1], "</figcaption>\n</figure>\n")
            tokens[i - 1].content += "<figcaption>"
            token.children = (token.children or [])[2:]  # the image, and the line's end
        for child in token.children or []:
            child.content = UNBROKEN.sub("\N{NO-BREAK SPACE}", child.content)


def _as_html(token: Token, content: str) -> None:
    token.type, token.content = "html_block", content


def _box(label: str) -> str:
    """The beginning of a part that scrolls by itself where it is too wide."""
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{escapeHtml(label)}">'


def _drawing(inline: Token, drawings: Mapping[str, Drawing]) -> Drawing | None:
    """The figure that a paragraph begins with."""
    first = inline.children[0] if inline.children else inline
    source = str(first.attrs.get("src", ""))
    return drawings.get(PurePosixPath(source).stem)


def _head_rows(tokens: Sequence[Token], colours: Mapping[str, str]) -> None:
    """Make the cell that names its row a heading, the arm with its colour; align by class."""
    headings, column = list[str](), 0
    for cell, inside, end in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if cell.type == "thead_open":
            headings = []
        elif cell.type == "tr_open":
            column = 0
        elif cell.type in ("th_open", "td_open"):
            if cell.attrs.pop("style", "") == "text-align:right":
                cell.attrSet("class", "number")
            if cell.type == "th_open":
                cell.attrSet("scope", "col")
                headings.append(_plain(inside))
                continue
            if len(_plain(inside)) <= MOST_UNBROKEN:
                cell.attrJoin("class", "short")
            if column == (headings.index("arm") if "arm" in headings else 0):
                cell.tag = end.tag = "th"
                cell.attrSet("scope", "row")
                _colour(inside, colours)
            column += 1


def _colour(inside: Token, colours: Mapping[str, str]) -> None:
    if colour := colours.get(_plain(inside)):
        swatch = f'<span class="swatch" style="--arm: {colour}"></span>'
        inside.children = [Token("html_inline", "", 0, content=swatch), *(inside.children or [])]


def _plain(inline: Token) -> str:
    """The text of a line without its markup."""
    return "".join(child.content for child in inline.children or [] if child.type != "html_inline")
