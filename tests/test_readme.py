"""The first minute: the README as a newcomer reads it, and every link of it and of the reports."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt

from bench.cli.planning import start
from bench.errors import InputError
from bench.paths import PROJECT, PUBLISHED
from bench.publish import BEGIN, END, README
from bench.report.render import slug
from bench.report.summary import read_summary
from bench.report.words import MINUS, TIMES
from bench.run.runner import run
from bench.spec.files import load
from bench.store import Store

TEXT = README.read_text()
PAGES = [README, PROJECT / "DEVELOPERS.md", *PUBLISHED.glob("*.md"), *PUBLISHED.glob("*/report.md")]
PAGES += [*PUBLISHED.glob("*.html"), *PUBLISHED.glob("*/*.html")]


def blocks(language: str) -> list[str]:
    """The README's fenced blocks of a language."""
    tokens = MarkdownIt().parse(TEXT)
    return [one.content for one in tokens if one.type == "fence" and one.info == language]


def test_the_first_screen_is_an_answer_a_figure_some_bullets_and_a_command() -> None:
    first = TEXT.partition(BEGIN)[2].partition(END)[0]
    order = ["**So far, ", "overview-dark.svg", "overview.svg", "- **Does it help?**"]
    order += [
        "- **What does it cost?**",
        "- **Can it help?**",
        "- **How far does this reach?**",
    ]
    order += ["make bench    # about", "hidden.svg"]
    places = [first.index(mark) for mark in order]
    assert places == sorted(places)
    for bullet in re.findall(r"^- \*\*.*", first, re.MULTILINE):
        plain = re.sub(r"\[[^\]]*\]\([^)]*\)|[*\\]", "", bullet)
        assert len(plain.removeprefix("- ").split()) <= 35, plain


def test_the_advice_is_short_and_its_numbers_are_those_of_the_answers() -> None:
    advice = TEXT.partition("## If you must decide\n")[2].partition("\n## ")[0]
    assert len(advice.split()) <= 90
    (equal,) = read_summary(PUBLISHED / "answer-equal-price").verdicts
    (warm,) = read_summary(PUBLISHED / "answer-warm-start").verdicts
    assert [equal.answer, warm.answer] == ["better", "no difference"]
    report = (PUBLISHED / "answer-equal-price" / "report.md").read_text()
    (at_its_time,) = re.findall(rf"\| training time \| 32 to 56 \| {MINUS}([0-9.]+) ", report)
    (whole,) = re.findall(rf"\| whole \([^|]+\) \| {MINUS}([0-9.]+) points", report)
    ends = (equal.difference, equal.low, equal.high, 100 * equal.level)
    steps = re.findall(rf"^\| (?:learned|whole) \| [0-9 →]+ \| ([0-9.]+) {TIMES}", report, re.M)
    dearer = float(steps[1]) / float(steps[0])
    told = [*(f"{end:.1f}" for end in ends), at_its_time, f"{dearer:.1f}", whole]
    assert re.findall(r"\d+\.\d+", advice) == told


def test_the_speed_of_a_captured_step_is_that_of_the_log_it_links() -> None:
    (told, entry), *_ = re.findall(r"\[([0-9.]+) times as fast\]\(results/LOG\.md#(.*?)\)", TEXT)
    log = (PROJECT / "results" / "LOG.md").read_text()
    (text,) = [one for one in log.split("\n## ") if slug(one.partition("\n")[0]) == entry]
    captured, apart = (
        int(
            re.findall(rf"^\| {line}.* \| ([0-9,]+) \|  *\|$", text, re.MULTILINE)[0].replace(
                ",", ""
            )
        )
        for line in ("the step alone", "the same, kernel by kernel")
    )
    assert told == f"{captured / apart:.1f}"


def test_the_rest_of_the_readme_is_at_most_120_lines() -> None:
    before, _, rest = TEXT.partition(BEGIN)
    assert (before + rest.partition(END)[2]).count("\n") <= 120


def test_the_readmes_own_question_runs_as_it_is_printed(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the data, fewer seeds, and one epoch; and its controls are left to `plan`."""
    code = next(block for block in blocks("python") if "class " in block)
    assert len([line for line in code.splitlines() if line.strip()]) <= 6
    (toml,) = blocks("toml")
    file, front_end = start("mine", tmp_path)
    assert (file.read_text(), front_end.read_text()) == (toml, code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    assert len(load(str(file)).trials) > 20
    for printed, here in {
        "imagewoof-160": "toy",
        "resnet18": "test_resnet",
        "epochs = 20": "epochs = 1\nbatch_size = 8",
        "[0, 1, 2, 3, 4]": "[0]",
        'controls = "standard"': "",
        "input_size = 128": "input_size = 32",
        "output_size = 64": "output_size = 16",
    }.items():
        assert printed in toml
        toml = toml.replace(printed, here)
    file.write_text(toml + "[timing]\nrounds = 1\nseconds = 0.01\n")
    outcome = run(load(str(file)), store, lambda _event: None)
    assert not outcome.failures
    assert not outcome.untimed
    assert outcome.plan.counts == {"ok": 2}


def test_the_readmes_reading_and_the_example_notebook_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The notebook's cells as a program: a kernel would be one more package."""
    monkeypatch.chdir(PROJECT)
    exec(next(block for block in blocks("python") if "bench.table" in block), {})
    notebook = json.loads((PROJECT / "examples" / "reading.ipynb").read_text())
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    assert names["gain"]["synthetic-fine"].min() > 80
    told = "".join("".join(cell["source"]) for cell in notebook["cells"])
    (figure,) = re.findall(r"!\[.*\]\((.*)\)", told)
    assert (PROJECT / "examples" / figure).is_file()
    assert names["shape"] == (2, 3, 32, 32)


def test_a_question_of_ones_own_is_not_written_over(tmp_path: Path) -> None:
    start("sharper-images", tmp_path)
    assert "sharper_images_front_ends:Sharpen" in (tmp_path / "sharper-images.toml").read_text()
    with pytest.raises(InputError, match=r"sharper-images\.toml is there already"):
        start("sharper-images", tmp_path)
    for name, why in {
        "My question": "'My question' cannot name a question: lower-case letters",
        "trials": "'trials' is the name of something else",
        "mine-small": "a name that ends in -small",
        "quick": r"experiments/quick\.toml is shipped: give the new question another name",
    }.items():
        with pytest.raises(InputError, match=why):
            start(name, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def links(page: Path) -> set[str]:
    text = page.read_text()
    if page.suffix == ".html":
        return set(re.findall(r'(?:href|src)="([^"]*)"', text))
    markup = MarkdownIt("commonmark").enable("table").render(text)
    return set(re.findall(r'(?:href|src|srcset)="([^"]*)"', markup))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_no_link_is_broken(page: Path) -> None:
    for link in links(page):
        if link.startswith(("http", "data:")):
            continue
        name, _, part = unquote(link).partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        if part and target.suffix in (".md", ".html"):
            assert part in ids(target), link


def test_the_readme_links_the_table_of_every_arm() -> None:
    assert "results/published/leaderboard.csv" in links(PROJECT / "README.md")


@cache
def ids(page: Path) -> set[str]:
    text = page.read_text()
    found = set(re.findall(r'\bid="([^"]*)"', text))
    return found | {slug(heading) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}
