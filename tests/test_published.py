"""What is published: complete, recomputable from the CSV, and the README's numbers from it."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from statsmodels.stats import contingency_tables

from bench import checks, load, publish
from bench.analysis.effects import beside
from bench.analysis.evidence import Evidence, gather
from bench.analysis.overview import ANSWERS
from bench.analysis.statistics import estimate
from bench.analysis.verdicts import is_generated
from bench.data.library import open_dataset
from bench.data.specs import DATASETS
from bench.paths import PROJECT, PUBLISHED, results_with
from bench.report.answer import answers, in_words
from bench.report.summary import SUMMARIES, read_summary, summary, told_of
from bench.report.words import MINUS
from bench.spec.experiment import Experiment
from bench.spec.files import shipped
from bench.store import Store

EXPERIMENTS = publish.published()
IDS = [experiment.name for experiment in EXPERIMENTS]
FORBIDDEN = ("less plain", "told apart", "no wider for new images")
NUMBER = rf"[+{MINUS}]?\d[\d,]*(\.\d+)?"
ESTIMATE = rf"{NUMBER}[^.;:]{{0,8}} \[[^\]]*\]|{NUMBER} to {NUMBER}|{NUMBER} → {NUMBER}"


@pytest.fixture(scope="module", params=EXPERIMENTS, ids=IDS)
def evidence(request: pytest.FixtureRequest) -> Evidence:
    """Of each published experiment, gathered once for the tests that ask for it."""
    return gather(request.param, Store(PUBLISHED / request.param.name))


def test_the_readme_and_the_answers_are_what_the_published_results_say() -> None:
    pages, names = publish.pages(), ("overview", "overview-early", "hidden")
    drawn = {f"{name}{dark}.svg" for name in names for dark in ("", "-dark")}
    assert {path.name for path in pages} == {"README.md", "index.html", "leaderboard.csv", *drawn}
    for path, text in pages.items():
        assert path.read_text() == text, f"{path} is stale: run `resizer-bench publish` again"
    page = pages[PUBLISHED / "README.md"]
    assert all(experiment.spec.question in page for experiment in EXPERIMENTS)


def test_the_summary_and_the_answer_are_what_the_records_say(evidence: Evidence) -> None:
    folder = PUBLISHED / evidence.experiment.name
    stale = f"{folder} is stale: run `resizer-bench publish` again"
    assert (folder / "answer.md").read_text() == in_words(evidence) + "\n", stale
    kept = read_summary(folder)
    assert kept
    wanted = summary(evidence, kept.figure, kept.alt)
    assert alike(SUMMARIES.dump_python(kept), SUMMARIES.dump_python(wanted)), stale


def alike(one: Any, other: Any) -> bool:
    """But for the last digits, in which processors differ."""
    if isinstance(one, float) and isinstance(other, float):
        return bool(np.isclose(one, other, rtol=1e-9, atol=1e-9, equal_nan=True))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return bool(one == other)


def test_what_is_said_keeps_to_our_words(evidence: Evidence) -> None:
    for told in answers(evidence):
        assert len(f"{told.badge} {told.sentence}".split()) <= 40
        for one in re.split(r"(?<=[a-z%\]'s])\. ", told.sentence):
            assert not [phrase for phrase in FORBIDDEN if phrase in one], one
            assert len(re.findall(rf"(?<![\w-]){NUMBER}", re.sub(ESTIMATE, "#", one))) <= 3, one


def test_what_the_log_leaves_open_is_what_the_published_records_lack() -> None:
    *_, text = (PROJECT / "results" / "LOG.md").read_text().partition("\n## Open\n")
    points = [set(re.findall("`(.*?)`", point)) & set(IDS) for point in text.split("\n- ")]
    whole = [one for one in EXPERIMENTS if one.name in shipped()]
    real = {one.name for one in whole if not all(map(is_generated, one.trials.values()))}
    assert {name for name in real if not name.startswith(ANSWERS)} in points


def test_what_was_learnt_points_to_no_place_in_the_log_since_reports_quote_it() -> None:
    text = (PROJECT / "results" / "LOG.md").read_text()
    learnt = re.findall(r"\*\*Learnt:\*\* (.*?)\n(?:- |\n)", text, re.DOTALL)
    assert len(learnt) > 20
    assert not re.findall(r"\b(?:all|see|as|entries) (?:above|below)\b", "\n".join(learnt))


@pytest.mark.parametrize(
    ("name", "learnt"),
    [
        ("search-recipe", "Larger images and four epochs more"),
        ("controls-fine", "a frozen random module lets a quarter to a half of the shapes through"),
        ("controls-nette-small", "what the trained module does to its own noise is real work"),
        ("seed-table-small", "A harmless start does not help here"),
    ],
)
def test_a_page_has_what_was_learnt_of_its_own_run_from_whichever_entry_names_it(
    name: str, learnt: str
) -> None:
    assert learnt in (PUBLISHED / name / "report.md").read_text()


@pytest.mark.parametrize("name", IDS)
def test_at_most_forty_words_stand_between_the_question_and_the_first_figure(name: str) -> None:
    """Of a page that has no figure, before what it holds for."""
    _, text = (PUBLISHED / name / "report.md").read_text().split("\n", maxsplit=1)
    begin, *_ = re.split(r"!\[|<small>Scope", text)
    assert 5 < len(re.sub(r"<[^>]*>", "", begin).split()) <= 40


@pytest.mark.parametrize("name", IDS)
def test_no_published_page_has_a_phrase_that_we_do_not_use(name: str) -> None:
    text = (PUBLISHED / name / "report.md").read_text()
    assert not [phrase for phrase in (*FORBIDDEN, "timing lane") if phrase in text]


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=IDS)
def test_accuracies_are_those_of_the_published_predictions(experiment: Experiment) -> None:
    table = pd.read_csv(PUBLISHED / experiment.name / "table.csv")
    store = Store(PUBLISHED / experiment.name)
    finished = table[table["status"] == "ok"].drop_duplicates("key").set_index("key")
    assert len(finished) == len(experiment.runs)
    for key, row in finished.iterrows():
        predictions = store.predictions(str(key))
        right = (predictions["label"] == predictions["predicted"]).mean()
        assert row["top1_pct"] == pytest.approx(100 * right)


def test_verdicts_are_what_other_libraries_make_of_the_published_predictions(
    evidence: Evidence,
) -> None:
    store, experiment = evidence.store, evidence.experiment
    assert evidence.judged or not (experiment.spec.primary and experiment.spec.train)
    for row, verdict in evidence.judged:
        if verdict.difference.n < 2:
            assert verdict.reason == "too few seeds"
            continue
        assert verdict.crossed
        assert verdict.new_images
        ours, theirs = (evidence.trials_of(row.label, arm) for arm in experiment.spec.primary or ())
        pairs = [
            (store.predictions(ours[seed].key), store.predictions(theirs[seed].key))
            for seed in ours
            if seed in theirs
        ]
        scores = np.array(
            [[100 * (of["label"] == of["predicted"]).mean() for of in pair] for pair in pairs]
        )
        level, found = verdict.looks.level, verdict.difference
        wanted = stats.ttest_rel(*scores.T).confidence_interval(level)
        assert (verdict.own.low, verdict.own.high) == pytest.approx((wanted.low, wanted.high))
        own, df, prior = scores[:, 0] - scores[:, 1], len(pairs) - 1, verdict.prior
        weights = [df, float(prior.df)]
        variance = np.average([own.var(ddof=1), float(prior.variance)], weights=weights)
        half = stats.t.ppf((1 + level) / 2, sum(weights)) * np.sqrt(variance / len(pairs))
        half = max(half, verdict.new_images.half_width)
        assert (found.low, found.high) == pytest.approx((own.mean() - half, own.mean() + half))
        for pair, p_value in zip(pairs, verdict.crossed.p_values, strict=True):
            hits = [of["label"] == of["predicted"] for of in pair]
            crossed = pd.crosstab(*hits).reindex(index=[True, False], columns=[True, False])
            p = contingency_tables.mcnemar(crossed.fillna(0), exact=True).pvalue
            assert p_value == pytest.approx(min(1.0, p))


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=IDS)
def test_no_trial_is_published_as_taken_from_its_own_publication(experiment: Experiment) -> None:
    store = Store(PUBLISHED / experiment.name)
    sources = {(store.trial(key) or {}).get("reused_from") for key in experiment.runs}
    assert f"published/{experiment.name}" not in sources


def test_the_leaderboard_has_every_arm_that_was_trained() -> None:
    table = pd.read_csv(PUBLISHED / "leaderboard.csv")
    trained = {one.name for one in EXPERIMENTS if one.spec.train}
    assert set(table["experiment"]) == trained
    best = table[table["dataset"] == "imagewoof-160"].iloc[0]
    assert (best["experiment"], round(best["top1_pct_mean"], 1)) == ("answer-scale", 77.9)


def test_an_interval_beside_a_control_covers_new_images_where_that_makes_it_wider() -> None:
    asked = next(one for one in EXPERIMENTS if one.name == "answer-warm-start")
    evidence = gather(asked, Store(PUBLISHED / asked.name))
    ((row, _),) = evidence.judged
    found = beside(evidence, row)
    family = 1 - 0.05 / len(found)
    alone = []
    for one in found:
        pair = evidence.pair(row, one.row.arm.name)
        assert pair
        alone.append(estimate(pair.differences, evidence.peers.prior(pair)).interval(family))
    wider = [one.difference.high > of.high + 1e-9 for one, of in zip(found, alone, strict=True)]
    assert [one.difference.mean for one in found] == [of.mean for of in alone]
    assert any(wider)
    assert all(one.difference.high >= of.high for one, of in zip(found, alone, strict=True))


def test_headline_numbers_follow_from_a_published_table_alone() -> None:
    table = pd.read_csv(PUBLISHED / "quick" / "table.csv")
    fine = table[table["dataset"] == "synthetic-fine"].pivot(
        index="seed", columns="arm", values="top1_pct"
    )
    answer = (PUBLISHED / "quick" / "answer.md").read_text()
    difference = (fine["learned"] - fine["plain"]).mean()
    assert f"Better: learned {MINUS} plain = {difference:+.1f} points [" in answer
    results = pd.read_csv(PUBLISHED / "quick" / "results.csv").set_index(["dataset", "arm"])
    shown = results.loc[("synthetic-fine", "plain"), "top-1 accuracy, %"]
    assert str(shown).startswith(f"{fine['plain'].mean():.1f} ")


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=IDS)
def test_nothing_but_numbers_and_plots_is_published(experiment: Experiment) -> None:
    kinds = {p.suffix for p in (PUBLISHED / experiment.name).rglob("*") if p.is_file()}
    shown = {t.dataset for t in experiment.trials.values() if not DATASETS[t.dataset].generator}
    pictures = set() if shown else {".npz"}
    weights = {".safetensors"} if experiment.name in publish.WITH_WEIGHTS else set()
    known = {".json", ".parquet", ".csv", ".md", ".html", ".svg", ".tex"}
    assert kinds <= known | pictures | weights
    if shown:
        assert "data:image" not in (PUBLISHED / experiment.name / "report.html").read_text()


@pytest.mark.parametrize("name", publish.WITH_WEIGHTS)
def test_a_small_checkpoint_of_each_named_arm_is_there_to_be_loaded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESIZER_BENCH_RESULTS", str(tmp_path))
    files = list((PUBLISHED / name / "trials").glob("*/*.safetensors"))
    table = pd.read_csv(PUBLISHED / name / "table.csv").set_index("key")
    rows = table.loc[[file.parent.name for file in files]]
    assert sorted(rows["arm"]) == sorted(publish.WITH_WEIGHTS[name])
    assert len(set(rows["seed"])) == 1
    for file in files:
        assert file.stat().st_size < 20e6
        images = torch.zeros(2, 3, *2 * [int(rows["input_size"][file.parent.name])])
        assert load(file.parent.name)(images).shape == (2, 10)
        (told,) = told_of(results_with(file.parent.name), file.parent.name)
        assert name in told


def declared(text: str) -> dict[str, object]:
    """What an answer's file says that is not to change once its trials are run."""
    whole = tomllib.loads(text)
    names = ("question", "primary", "secondary", "margin_pct", "looks", "expect", "trial", "axes")
    return {name: whole.get(name) for name in (*names, "arm")}


@pytest.mark.parametrize("name", [name for name in IDS if name.startswith(ANSWERS)])
def test_an_answer_was_declared_as_it_stands_before_its_trials_were_run(name: str) -> None:
    store = Store(PUBLISHED / name)
    records = [record for record in store.trials(store.kept()).values() if record]
    revisions = {record["environment"]["git_revision"] for record in records}
    file = f"experiments/{name}.toml"
    for revision in revisions:
        shown = ["git", "show", f"{revision}:{file}"]
        then = subprocess.run(shown, cwd=PROJECT, capture_output=True, text=True, check=False)
        if then.returncode and "exists on disk" not in then.stderr:
            pytest.skip(f"there is no git log that has {revision}")
        assert then.returncode == 0, then.stderr
        assert declared(then.stdout) == declared((PROJECT / file).read_text())


def test_verdicts_are_counted_with_the_own_variance_and_with_that_of_others() -> None:
    differences = np.random.default_rng(5).normal(0, 1.5, 121).tolist()
    own, moderated = checks.answers(differences, 1.0), checks.answers(differences, 1.0, 8)
    for found in (own, moderated):
        assert found.total() == 40
        assert found["better"] + found["worse"] <= 6
    assert moderated != own
    assert checks.answers([0.0] * 6, 1.0) == {"no verdict": 2}
    assert checks.answers([5.0, 5.01, 5.0], 1.0) == {"better": 1}


@pytest.mark.parametrize("name", [name for name, spec in DATASETS.items() if spec.generator])
def test_generated_data_is_what_published_trials_were_run_on(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESIZER_BENCH_DATA", str(tmp_path))
    records = PUBLISHED.glob("*/trials/*/record.json")
    facts = [json.loads(path.read_text()).get("data", {}) for path in records]
    seen = {one["fingerprint"] for one in facts if one.get("name") == name}
    assert seen == {open_dataset(name).manifest.fingerprint}
