"""Pages: what stands in the data stays text, and the HTML says what the Markdown says."""

from __future__ import annotations

import html
import re

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib.figure import Figure

from bench.report import render
from bench.report.figures import style
from bench.report.figures.style import Drawing
from bench.report.words import NONE

NASTY = ["a|b", "<i>x</i>", "*bold*", "$x$", "`code`", "[link](http://x)", "&lt;", "a_b_c", "1. a"]
NASTY += ["- a", "# a", "a\\|b", "---", "> a", "![x](y)", "\\", "<!-- x", "+1.5 ± 0.2", "~~a~~"]
DRAWING = Drawing("f", "A *caption*.", "alt [x]", "<svg viewBox='0 0 1 1'></svg>", Figure())


def body(text: str, **shown: Drawing) -> str:
    page = render.html(text, "title", shown)
    return page.split("<main>\n")[1].split("</main>")[0]


@pytest.mark.parametrize("text", NASTY)
def test_text_from_data_is_shown_as_it_is(text: str) -> None:
    frame = pd.DataFrame({"name": [text], "n": ["1"]})
    made = body(f"{render.escaped(text)}\n\n{render.table(frame)}")
    plain = html.unescape(made).replace("\N{NO-BREAK SPACE}", " ")
    assert f"<p>{text}</p>" in plain
    assert f'scope="row">{text}</th>' in plain
    assert not re.search("<(i|em|a|img|code|li|h1|hr|blockquote)[ >]", made)


def test_columns_of_numbers_are_set_to_the_right() -> None:
    frame = pd.DataFrame({"arm": ["plain", "learned"], "top-1": [NONE, "+1.5 ± 0.2"]})
    text = render.table(frame)
    assert text.splitlines()[1] == "| --- | ---: |"
    assert f'<td class="number short">{NONE}</td>' in body(text)


def test_an_arm_has_its_colour_beside_its_name() -> None:
    frame = pd.DataFrame({"dataset": ["fine"], "arm": ["learned"]})
    page = render.html(render.table(frame), "title", colours={"learned": "#123456"})
    swatch = '<span class="swatch" style="--arm: #123456"></span>learned</th>'
    assert f'<td class="short">fine</td>\n<th class="short" scope="row">{swatch}' in page


def test_a_figure_is_inlined_with_its_caption_and_a_file_in_markdown() -> None:
    text = render.figure(DRAWING)
    assert text == "![alt \\[x\\]](figures/f.svg)\\\nA \\*caption\\*.\n"
    made = body(text, f=DRAWING)
    assert "<img" not in made
    assert made.index("<figure>") < made.index("<svg") < made.index("<figcaption>A *caption*.")
    assert made.rstrip().endswith("</figcaption>\n</figure>")


def test_headings_of_one_name_have_ids_of_their_own() -> None:
    made = body("# Page\n\n## The price\n\n## The price\n")
    assert '<h2 id="the-price">' in made
    assert '<h2 id="the-price-1">' in made


def test_a_command_in_backticks_cannot_end_them() -> None:
    assert body(render.code("run `<b>`")) == "<p><code>run &lt;b&gt;</code></p>\n"


@mpl.rc_context(style.STYLE)
def test_a_long_name_above_a_panel_takes_lines_no_wider_than_the_panel() -> None:
    for n in (1, 2):
        figure, (first, *_) = style.panels(n, {})
        style.name_panel(first, "imagenette-160 · resnet10t · input 64 px · num_resblocks 0 · area")
        drawn = first.set_title(first.get_title(loc="left")).get_window_extent()
        assert 0 < drawn.width <= figure.bbox.width / n
