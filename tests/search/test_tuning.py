"""What a search finds: configurations are drawn, scored, pruned, and the best retrained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.storages import InMemoryStorage
from typer.testing import CliRunner

from bench import cli, reusing
from bench.analysis.evidence import gather
from bench.cli import app
from bench.data.library import fingerprint, open_dataset
from bench.errors import InputError
from bench.events import Begin, Epoch, Event, Listener, OnRecord, PrunedError, ignore
from bench.opening import load_from
from bench.records import CurveRow, Json, write_record
from bench.report.answer import in_words
from bench.report.pages import make
from bench.run import runner, search, studies
from bench.run.attempt import ended
from bench.run.executors import Local
from bench.run.processes import waited_for
from bench.run.search import Evaluator, Search, open_search
from bench.run.studies import tune
from bench.spec.trial import Trial
from bench.store import Store
from tests import fakes
from tests.search.toys import RANGES, low_rate_wins, scoring, tuned, written


def test_a_search_trains_scores_on_held_out_images_and_retrains_the_best(
    tmp_path: Path, store: Store, toy_search: Callable[..., Search]
) -> None:
    found = toy_search(more="[search.trial]\nepochs = 1")
    invoke = [str(tmp_path / "tuned.toml")]
    first = CliRunner().invoke(app, ["search", *invoke], catch_exceptions=False)
    assert first.exit_code == 0, first.output
    assert "3 configurations of each arm; on record: 0 of plain, 0 of learned;" in first.output
    record = store.search("tuned")
    assert record
    for arm in ("plain", "learned"):
        rows = record["arms"][arm]["configurations"]
        assert [row["state"] for row in rows] == ["ok"] * 3
        for row in rows:
            scored = store.trial(row["key"])
            assert scored
            assert scored["data"]["scored_on"] == "held-out train"
            assert scored["trial"]["epochs"] == 1
            names = set(store.predictions(row["key"])["image"])
            assert names == set(open_dataset("toy").held_out(0.3).val.names)
    experiment = load_from(store, *invoke, small=False)
    assert {trial.seed for trial in experiment.trials.values()} == {0, 1}
    assert {trial.holdout for trial in experiment.trials.values()} == {None}
    assert {trial.epochs for trial in experiment.trials.values()} == {2}
    page = (store.root / "tuned" / "report.html").read_text()
    assert "they rank configurations" in page
    assert "tuning of" in page

    again = CliRunner().invoke(app, ["search", *invoke], catch_exceptions=False)
    assert again.exit_code == 0
    assert store.search("tuned") == record
    assert "0 trials to run" in again.output
    assert found.name == "tuned"


def test_what_a_search_found_and_retrained_is_taken_from_what_is_published_of_it(
    tmp_path: Path,
    store: Store,
    toy_search: Callable[..., Search],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, shelf = toy_search(), Store(tmp_path / "published" / "tuned")
    record = tuned(found, shelf, low_rate_wins)
    experiment = load_from(shelf, str(found.file), small=False)
    for key, trial in experiment.trials.items():
        made = fakes.result(trial)
        made["data"] |= {"fingerprint": fingerprint("toy")}
        write_record(shelf.trial_folder(key), made)
    for of in (cli, reusing):
        monkeypatch.setattr(of, "PUBLISHED", tmp_path / "published")
    monkeypatch.setattr(runner.timing, "unfinished", lambda *_, **__: {})
    asked = ["search", str(found.file), "--reuse-published"]
    told = CliRunner().invoke(cli.app, asked, catch_exceptions=False).output
    assert "on record: 3 of plain, 3 of learned" in told
    assert "4 trials taken from results/published" in told
    assert "0 trials to run, 4 on record" in told
    assert store.search("tuned") == record
    assert sorted(store.kept()) == sorted(experiment.trials)


def test_arms_take_turns_and_a_larger_number_continues(
    store: Store, toy_search: Callable[..., Search]
) -> None:
    order: list[str] = []

    def score(trial: Trial) -> float:
        order.append(trial.resizer)
        return low_rate_wins(trial)

    before = tuned(toy_search(), store, score)
    assert order == ["none", "learned"] * 3
    more = toy_search()
    assert more.spec.search
    settings = more.spec.search.model_copy(update={"trials": 5})
    spec = more.spec.model_copy(update={"search": settings})
    longer = replace(more, spec=spec)
    assert not search.finished(longer, store)
    after = tuned(longer, store, score)
    assert len(order) == 10
    for arm, told in after["arms"].items():
        rows = told["configurations"]
        assert rows[:3] == before["arms"][arm]["configurations"]
        assert len({row["key"] for row in rows}) == 5
    assert search.finished(longer, store)


def test_another_number_to_retrain_is_heeded_when_the_search_goes_on(
    tmp_path: Path, store: Store
) -> None:
    tuned(open_search(str(written(tmp_path))), store, low_rate_wins)
    more = open_search(str(written(tmp_path, more="retrain = 2")))
    assert not search.finished(more, store)
    record = tune(more, store, ignore)
    assert [len(told["best"]) for told in record["arms"].values()] == [2, 2]


def test_a_search_takes_up_failed_retraining_when_asked(
    tmp_path: Path, store: Store, toy_search: Callable[..., Search]
) -> None:
    tuned(toy_search(), store, low_rate_wins)
    file = str(tmp_path / "tuned.toml")
    key, trial = next(iter(load_from(store, file, small=False).trials.items()))
    write_record(store.trial_folder(key), ended(trial, "failed", "lost power"))
    first = CliRunner().invoke(app, ["search", file], catch_exceptions=False)
    assert first.exit_code == 1
    assert "1 trial failed; `--retry` tries again:" in first.output
    again = CliRunner().invoke(app, ["search", file, "--retry"], catch_exceptions=False)
    assert again.exit_code == 0, again.output
    record = store.trial(key)
    assert record
    assert record["status"] == "ok"


def test_the_best_configuration_is_the_one_with_the_highest_score(
    store: Store, toy_search: Callable[..., Search]
) -> None:
    record = tuned(toy_search(), store, low_rate_wins)
    rows = record["arms"]["plain"]["configurations"]
    lowest = min(rows, key=lambda row: row["chosen"]["lr"])
    assert store.best("tuned")["plain"] == [lowest["chosen"]]


def test_a_configuration_in_the_store_is_answered_from_it(
    store: Store, toy_search: Callable[..., Search]
) -> None:
    choice = "lr = {{ choice = [0.01, 0.02] }}\n"
    found = toy_search(trial=choice)
    for lr in (0.01, 0.02):
        for arm in ("plain", "learned"):
            trial = found.trial(arm, {"lr": lr})
            waited_for(scoring(store, low_rate_wins)(trial, None, ignore))  # type: ignore[arg-type]
    events: list[Event] = []
    tune(found, store, events.append)
    kinds = Counter(type(event) for event in events)
    assert kinds[OnRecord] == 6
    assert kinds[Begin] == 0


def test_a_failing_configuration_counts_and_is_told(
    store: Store, toy_search: Callable[..., Search], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def evaluate(trial: Trial, asked: optuna.Trial, listener: Listener) -> Json:
        if trial.resizer == "learned":
            return {"status": "oom", "reason": "out of memory"}
        return await scoring(store, low_rate_wins)(trial, asked, listener)

    monkeypatch.setattr(studies, "Evaluator", lambda *_: evaluate)
    found = toy_search()
    with pytest.raises(InputError, match="of learned came to a score; the first: oom"):
        tune(found, store, ignore)
    record = store.search(found.name)
    assert record
    rows = record["arms"]["learned"]["configurations"]
    assert [row["state"] for row in rows] == ["failed"] * 3
    assert rows[0]["reason"] == "oom: out of memory"
    assert record["arms"]["learned"]["best"] == []


def test_a_bad_configuration_is_pruned_and_answers_its_own_study_alone(
    store: Store, toy_search: Callable[..., Search], monkeypatch: pytest.MonkeyPatch
) -> None:
    more = "pruner_startup_trials = 0\npruner_warmup_epochs = 0"
    found = toy_search(more=more)
    monkeypatch.setattr(optuna.Trial, "should_prune", lambda self: self.number == 1)
    tune(found, store, ignore)
    record = store.search("tuned")
    assert record
    pruned = record["arms"]["plain"]["configurations"][1]
    assert pruned["state"] == "pruned"
    assert pruned["epochs"] == 1
    row = store.trial(pruned["key"])
    assert row
    assert (row["status"], row["reason"]) == ("pruned", "below the median after epoch 1")

    study = optuna.create_study(study_name=row["pruned_by"], direction="maximize")
    other = optuna.create_study(study_name="another", direction="maximize")
    trial = Trial(**row["trial"])
    answer = Evaluator(found.spec, store, Local([trial], []))
    assert waited_for(answer(trial, study.ask(), ignore))["status"] == "pruned"
    assert waited_for(answer(trial, other.ask(), ignore))["status"] == "ok"


@pytest.mark.parametrize("length", [{"epochs": 3}, {"steps": 90}])
def test_a_configuration_is_not_pruned_after_its_last_step(
    store: Store,
    toy_search: Callable[..., Search],
    monkeypatch: pytest.MonkeyPatch,
    length: dict[str, Any],
) -> None:
    trial = Trial(dataset="toy", backbone="test_resnet", input_size=16, **length)
    monkeypatch.setattr(optuna.Trial, "should_prune", lambda _: True)
    evaluator = Evaluator(toy_search().spec, store, Local([trial], []))
    heed = evaluator._heeding(trial, optuna.create_study().ask(), ignore)
    row: CurveRow = {"epoch": 3, "step": 90, "train_loss": 1.0, "lr": 0.1, "train_s": 1.0}
    heed(Epoch(row | {"top1_pct": 50.0}))
    with pytest.raises(PrunedError):
        heed(Epoch(row | {"epoch": 2, "step": 60, "top1_pct": 50.0}))


def test_two_objectives_give_a_pareto_set(store: Store, toy_search: Callable[..., Search]) -> None:
    found = toy_search(
        trial="num_kernels = {{ int = [1, 8] }}\nlr = {{ log = [1e-4, 1e-1] }}\n",
        more='objectives = ["top1_pct", "gmacs"]\nretrain = 2',
    )
    record = tune(found, store, ignore)
    told = record["arms"]["learned"]
    values = {row["number"]: row["values"] for row in told["configurations"]}
    for number in told["front"]:
        ours = values[number]
        assert not any(v[0] >= ours[0] and v[1] <= ours[1] and v != ours for v in values.values())
    assert record["pruner"] == {"name": "none"}
    experiment = load_from(store, str(found.file), small=False)
    made = make(experiment, store, store.root / "tuned")
    assert (made.folder / "figures" / "tuning-front.svg").exists()


def test_no_verdict_where_arms_were_tuned_unequally(
    store: Store, toy_search: Callable[..., Search]
) -> None:
    found = toy_search()
    record = tuned(found, store, low_rate_wins)
    record["arms"]["plain"]["configurations"].pop()
    write_record(store.search_folder("tuned"), record)
    experiment = load_from(store, str(found.file), small=False)
    for trial in experiment.trials.values():
        waited_for(scoring(store, low_rate_wins)(trial, None, ignore))  # type: ignore[arg-type]
    told = in_words(gather(experiment, store))
    assert "the arms were tuned over different numbers of configurations" in told
    assert "better" not in told


def test_the_search_beats_random_sampling_of_the_same_budget(
    tmp_path: Path, toy_search: Callable[..., Search], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A known best region in four fields; paired by the sampler's seed; kept in memory alone."""
    monkeypatch.setattr(studies, "RDBStorage", lambda *_, **__: InMemoryStorage())
    ranges = (
        "label_smoothing = {{ uniform = [0.0, 1.0] }}\ncrop_min_area = {{ uniform = [0.0, 1.0] }}"
    )

    def score(trial: Trial) -> float:
        away = [
            (np.log10(trial.lr) - np.log10(3e-3)) / 3,
            (trial.weight_decay - 0.1) / 0.3,
            trial.label_smoothing - 0.2,
            (trial.crop_min_area or 0.0) - 0.7,
        ]
        return 100 * float(np.exp(-4 * np.sum(np.square(away))))

    def best(sampler: str, seed: int) -> float:
        more = f'sampler = "{sampler}"\nseed = {seed}'
        found = toy_search(more=more, trial=RANGES + ranges)
        assert found.spec.search
        settings = found.spec.search.model_copy(update={"trials": 20, "arms": ("plain",)})
        spec = found.spec.model_copy(update={"search": settings})
        plain = replace(found, spec=spec)
        record = tuned(plain, Store(tmp_path / sampler / str(seed)), score)
        rows = record["arms"]["plain"]["configurations"]
        assert len(rows) == 20
        return float(max(row["values"][0] for row in rows))

    gains = [best("tpe", seed) - best("random", seed) for seed in range(100, 104)]
    print("TPE minus random, points:", np.round(gains, 2), "mean", np.mean(gains))  # noqa: T201
    assert np.mean(gains) > 0
    assert min(gains) > 0


def test_an_arm_with_a_search_seed_of_its_own_is_searched_by_it(
    toy_search: Callable[..., Search], store: Store
) -> None:
    again = '[[arm]]\nname = "again"\nresizer = "none"\ninput_size = "output_size"\n'
    more = again + "search_seed = 2000"
    found = toy_search(more=more, arms='["plain", "learned", "again"]')
    tried = tuned(found, store, low_rate_wins)["arms"]
    rates = {arm: [c["chosen"]["lr"] for c in of["configurations"]] for arm, of in tried.items()}
    assert not set(rates["plain"]) & set(rates["again"])
    seeds = {arm: {found.trial(arm, {"lr": 0.01, "weight_decay": 0.1}).seed} for arm in rates}
    assert seeds == {"plain": {1000}, "learned": {1000}, "again": {2000}}
    with pytest.raises(InputError, match=r"\[axes\] seed has 1, the search's own"):
        toy_search(more=again + "search_seed = 1", arms='["plain", "learned", "again"]')
