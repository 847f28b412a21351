"""The answer in words: what each sentence says follows from the records, and how it says it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench import report
from bench.analysis.controls import beside
from bench.analysis.evidence import gather
from bench.errors import InputError
from bench.paths import PUBLISHED
from bench.publish import published
from bench.report.answer import Answer, answers, in_words
from bench.report.words import MINUS
from bench.spec.controls import STANDARD, Control
from bench.spec.files import load
from bench.store import Store
from tests.fakes import NARROW, experiment, fill, time_all, top1

FORBIDDEN = ("less plain", "told apart", "no wider for new images")
NUMBER = rf"[+{MINUS}]?\d[\d,]*(\.\d+)?"
ESTIMATE = rf"{NUMBER}[^.;:]{{0,8}} \[[^\]]*\]|{NUMBER} to {NUMBER}|{NUMBER} → {NUMBER}"
CONTROLLED = """
question = "Why?"
primary = ["learned", "plain"]
[trial]
dataset = "fine"
backbone = "resnet10t"
input_size = 64
output_size = 32
epochs = 2
[axes]
seed = [0, 1, 2]
[[arm]]
name = "plain"
role = "baseline"
resizer = "none"
input_size = "output_size"
[[arm]]
name = "learned"
role = "treatment"
resizer = "learned"
controls = "standard"
"""


def test_a_verdict_is_a_word_and_one_sentence_and_for_what_it_holds(tmp_path: Path) -> None:
    asked, store = experiment(tmp_path, NARROW), Store(tmp_path)
    fill(asked, store, top1)
    time_all(asked, store)
    (told,) = answers(gather(asked, store))
    assert told.badge == "better"
    # 50, 51, 52 have a standard deviation of 1; t(0.975, 2) / sqrt(3) = 2.484
    assert told.sentence == f"learned {MINUS} plain = +51.0 points [+48.5, +53.5], 3 seeds."
    assert told.place == "fine, 64 → 32 px, resnet10t, 2 epochs"
    assert told.price[0] == (
        "A training step of learned takes 2.00 \N{MULTIPLICATION SIGN} [2.00, 2.00] as long as "
        "plain's."
    )


def test_in_words_is_a_line_for_each_answer_and_the_scope(tmp_path: Path) -> None:
    asked, store = experiment(tmp_path, 'dataset = ["fine", "coarse"]'), Store(tmp_path)
    fill(asked, store, lambda trial: top1(trial) if trial.seed else None)
    begin, fine, coarse, scope = in_words(gather(asked, store)).splitlines()
    assert begin == "Not finished: 12 of 18 trials finished."
    assert fine.startswith(f"No verdict: learned {MINUS} plain = +51.5 points [")
    assert "so far; a verdict needs 3 seeds of both arms. On fine, 64 → 32 px" in fine
    assert "On coarse" in coarse
    assert scope.startswith("Scope: fine (2,000 training, 500 validation images) and coarse")
    assert scope.endswith("; 2 epochs; 2 seeds; cpu (Toy, 2 threads, fp32).")


@pytest.mark.parametrize("name", STANDARD)
def test_every_standard_control_has_its_words(name: str) -> None:
    control = STANDARD[name]
    assert control.title
    assert ("{px}" in control.title) == (name in ("arithmetic", "time", "ceiling"))
    assert len(f"not settled whether {control.shows}".split()) <= 10


def test_a_control_added_to_the_standard_is_in_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {"resizer": "fixed", "interpolation": "nearest"}
    added = Control("one pixel of each block", "smoothing helps", "no filter", fields)
    monkeypatch.setitem(STANDARD, "nearest", added)
    (file := tmp_path / "why.toml").write_text(CONTROLLED)
    asked = load(str(file), sizes=dict.fromkeys(load(str(file)).sizes, 40))
    fill(asked, Store(tmp_path), lambda trial: 60.0 if trial.resizer == "learned" else 50.0)
    (told,) = answers(gather(asked, Store(tmp_path)))
    assert told.controls[-1].control == "one pixel of each block"
    assert told.controls[-1].says == "smoothing helps"


def test_a_control_that_nobody_knows_is_one_sentence(tmp_path: Path) -> None:
    asked = experiment(tmp_path, NARROW)
    text = asked.file.read_text()
    asked.file.write_text(text.replace('name = "fixed"', 'name = "fixed"\ncontrol = "pixel"'))
    wanted = "control = 'pixel' is not a standard control; did you mean 'pixels'?"
    with pytest.raises(InputError, match=re.escape(wanted)):
        load(str(asked.file))


def test_an_arm_that_does_not_use_an_axis_stands_beside_every_verdict(tmp_path: Path) -> None:
    axes = 'dataset = ["fine"]\nnum_resblocks = [0, 1]'
    asked, store = experiment(tmp_path, axes), Store(tmp_path)
    fill(asked, store, top1)
    evidence = gather(asked, store)
    both = answers(evidence)
    assert [[line.control for line in told.controls] for told in both] == [["fixed"], ["fixed"]]
    assert [line.says for told in both for line in told.controls] == ["better", "better"]
    first, second = (beside(evidence, row)[0].row for row, _ in evidence.judged)
    assert first is second


def test_a_report_before_the_baselines_size_is_matched_says_so(tmp_path: Path) -> None:
    asked, store = experiment(tmp_path, NARROW), Store(tmp_path / "store")
    matched = 'name = "plain"\nmatch = "learned"'
    text = asked.file.read_text().replace('name = "plain"', matched)
    asked.file.write_text(text.replace('input_size = "output_size"', 'input_size = "equal_time"'))
    asked = load(str(asked.file))
    assert asked.sizes
    assert (
        "The size of plain is not matched yet." in report.make(asked, store, tmp_path / "o").answer
    )


def sentences(told: Answer) -> list[str]:
    lines = [told.sentence, *told.price, *told.details]
    lines += [text for line in told.controls for text in (line.difference, line.says)]
    return [one for line in lines for one in re.split(r"(?<=[a-z%\]'s])\. ", line)]


@pytest.mark.parametrize("asked", published(), ids=lambda one: one.name)
def test_what_is_said_of_the_published_experiments_keeps_to_our_words(asked: object) -> None:
    from bench.spec.experiment import Experiment

    assert isinstance(asked, Experiment)
    for told in answers(gather(asked, Store(PUBLISHED / asked.name))):
        assert len(f"{told.badge} {told.sentence}".split()) <= 40
        for one in sentences(told):
            assert not [phrase for phrase in FORBIDDEN if phrase in one], one
            assert len(re.findall(rf"(?<![\w-]){NUMBER}", re.sub(ESTIMATE, "#", one))) <= 3, one


def test_an_upgraded_program_does_not_print_the_old_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, store, out = experiment(tmp_path, NARROW), Store(tmp_path / "store"), tmp_path / "out"
    fill(asked, store, top1)
    report.make(asked, store, out)
    assert report.saved(asked, store, out)
    monkeypatch.setattr(report, "code_digest", lambda _: "another version")
    assert report.saved(asked, store, out) is None


def test_the_codes_digest_is_that_of_the_sources_a_report_is_made_by(tmp_path: Path) -> None:
    for name in ("analysis/effects.py", "report/templates/page.css", "metrics.py", "cli.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("before")
    before = report.code_digest(tmp_path)
    (tmp_path / "cli.py").write_text("after")
    (tmp_path / "report" / "words.pyc").write_text("compiled")
    assert report.code_digest(tmp_path) == before
    (tmp_path / "report" / "templates" / "page.css").write_text("after")
    assert report.code_digest(tmp_path) != before
