from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from typer.testing import CliRunner

from bench.analysis.evidence import gather
from bench.cli import app
from bench.data.library import fingerprint, open_dataset
from bench.errors import InputError, MachineError
from bench.events import Begin, Epoch, Event, Listener, OnRecord, PrunedError, Waiting
from bench.opening import load_from
from bench.records import CurveRow, Json, write_record
from bench.report.answer import in_words
from bench.report.pages import make
from bench.run import search, studies
from bench.run.attempt import ended
from bench.run.executors import Local
from bench.run.processes import waited_for
from bench.run.search import Evaluator, Search, open_search
from bench.run.studies import Tuner, tune
from bench.spec import tuning
from bench.spec.experiment import Timing
from bench.spec.ranges import Range, Space
from bench.spec.trial import Trial
from bench.store import Store
from tests import fakes
from tests.conftest import toy_toml

SETTINGS = """
[search]
arms = {arms}
trials = 3
holdout = 0.3
{more}
"""
ARMS = '["plain", "learned"]'
RANGES = "lr = {{ log = [1e-4, 1e-1] }}\nweight_decay = {{ uniform = [0.0, 0.3] }}\n"
PROJECT = Path(__file__).resolve().parent.parent


def written(
    folder: Path, *, top: str = "", trial: str = RANGES, more: str = "", arms: str = ARMS
) -> Path:
    path = folder / "tuned.toml"
    rest = SETTINGS.format(more=more, arms=arms)
    path.write_text(toy_toml(top=top, trial=trial.format(), rest=rest))
    return path


@pytest.fixture
def toy_search(tmp_path: Path, store: Store) -> Callable[..., Search]:
    assert not store.root.exists()

    def opened(**parts: str) -> Search:
        return open_search(str(written(tmp_path, **parts)))

    return opened


def heard(_: Event) -> None:
    """A listener that shows nothing."""


def scoring(store: Store, score: Callable[[Trial], float]) -> studies.Evaluate:
    """Records a score of the fields in place of a training run."""

    async def evaluate(trial: Trial, _: optuna.Trial, __: Listener) -> Json:
        record = fakes.result(trial, score(trial), wall_s=1.0, curve=[{"epoch": 1}])
        data = {"train_images": 14, "val_images": 6, "fingerprint": fingerprint(trial.dataset)}
        record["data"] |= data
        write_record(store.trial_folder(trial.key), record)
        return record

    return evaluate


def tuned(found: Search, store: Store, score: Callable[[Trial], float]) -> Json:
    Tuner(found, store, heard, scoring(store, score)).run()
    record = store.search(found.name)
    assert record
    return record


def low_rate_wins(trial: Trial) -> float:
    return 50 - 10 * float(np.log10(trial.lr))


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"trial": "lr = {{ lgo = [1, 2] }}"}, "lr: unknown range 'lgo'; did you mean 'log'?"),
        ({"trial": "lr = {{ choice = [] }}"}, "lr: choice = []: there is nothing to choose from"),
        ({"trial": "momentun = {{ uniform = [0, 1] }}"}, "did you mean 'momentum'?"),
        ({"trial": "lr = {{ uniform = [-1.0, 0.1] }}"}, "lr = -1.0: input should be greater"),
        (
            {"trial": "num_resblocks = {{ uniform = [1, 3] }}", "arms": '["learned"]'},
            "num_resblocks = 1.0: input should be a valid integer",
        ),
        ({"trial": ""}, "has no range to choose from"),
        ({"more": 'objectives = ["top1"]'}, "search.objectives.0 = 'top1'"),
        ({"more": 'objectives = ["gmacs"]'}, "top1_pct is the first of them"),
        (
            {"more": 'objectives = ["top1_pct", "gmacs"]\npruner = "median"'},
            "pruner = 'median' with two objectives: pruning goes by one alone",
        ),
        ({"more": "seed = 1"}, "[axes] seed has 1, the search's own"),
        ({"more": "trial = { epoch = 1 }"}, "[search.trial] unknown field 'epoch'"),
        ({"more": '[[arm]]\nname = "x"\n'}, "[arm 'x'] lr is a range, but [search] arms does not"),
        ({"more": '[[arm]]\nname = "x"\ninit_from = "plain"\n'}, "stand by themselves"),
        ({"top": "train = false"}, "train = false: a search trains"),
    ],
)
def test_a_mistake_in_a_search_is_one_sentence(
    parts: dict[str, str], said: str, toy_search: Callable[..., Search]
) -> None:
    with pytest.raises(InputError) as error:
        toy_search(**parts)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_tuned_arm_is_told_with_the_nearest(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text().replace('"plain", "learned"]\ntrials', '"plian"]\ntrials'))
    with pytest.raises(InputError, match="'plian', which is not there; did you mean 'plain'"):
        open_search(str(path))


def test_a_range_outside_a_search_is_refused(tmp_path: Path, store: Store) -> None:
    path = tmp_path / "toy.toml"
    trial = RANGES.format()
    path.write_text(toy_toml(trial=trial))
    with pytest.raises(InputError, match=r"lr is a range: only a file with a \[search\] table"):
        load_from(store, str(path), small=False)


def test_run_and_report_of_an_unfinished_search_say_what_to_do(
    tmp_path: Path, toy_search: Callable[..., Search]
) -> None:
    toy_search()
    planned = CliRunner().invoke(app, ["plan", str(tmp_path / "tuned.toml")])
    assert "plain: 0 of 3 configurations of lr: 0.0001 to 0.1 (log)" in planned.output
    for verb in ("run", "report"):
        with pytest.raises(InputError, match="found nothing yet: resizer-bench search"):
            CliRunner().invoke(app, [verb, str(tmp_path / "tuned.toml")], catch_exceptions=False)


@pytest.mark.usefixtures("store")
def test_the_held_out_images_are_fixed_and_not_trained_on() -> None:
    toy = open_dataset("toy")
    part, again = toy.held_out(0.3), toy.held_out(0.3)
    assert part.val.names == again.val.names
    assert len(part.val) == 6
    assert sorted(part.train.names + part.val.names) == sorted(toy.train.names)
    assert not set(part.val.names) & set(toy.val.names)
    row = toy.train.names.index(part.val.names[2])
    assert (part.val.image(2) == toy.train.image(row)).all()
    assert part.val.labels[2] == toy.train.labels[row]


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


def test_several_configurations_at_once_are_scored_once_each_and_a_stopped_one_is_drawn_again(
    store: Store, toy_search: Callable[..., Search]
) -> None:
    at_once, most, events = set[str](), 0, list[Event]()
    stop_at = 3

    async def evaluate(trial: Trial, asked: optuna.Trial, listener: Listener) -> Json:
        nonlocal most
        at_once.add(trial.key)
        most = max(most, len(at_once))
        await asyncio.sleep(0.02)
        at_once.discard(trial.key)
        if len(list(store.root.glob("trials/*"))) == stop_at:
            raise KeyboardInterrupt
        return await scoring(store, low_rate_wins)(trial, asked, listener)

    with pytest.raises(KeyboardInterrupt):
        Tuner(toy_search(), store, events.append, evaluate, workers=4).run()
    stop_at = -1
    Tuner(toy_search(), store, events.append, evaluate, workers=4).run()
    assert most == 4
    assert not [event for event in events if isinstance(event, Waiting)]
    record = store.search("tuned")
    assert record
    for told in record["arms"].values():
        assert [row["state"] for row in told["configurations"]] == ["ok"] * 3
    assert len(store.kept()) == 6  # the stopped ones had the same fields again


def test_other_code_or_other_files_are_another_study(
    store: Store, toy_search: Callable[..., Search], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = toy_search()
    tuned(found, store, low_rate_wins)
    assert search.finished(found, store)
    with monkeypatch.context() as patch:
        patch.setitem(search.SEMANTICS, "training", 99)
        assert not search.finished(found, store)
    monkeypatch.setattr(search, "fingerprint", lambda _: "other files")
    assert not search.finished(found, store)


def test_what_only_the_retraining_uses_may_change_without_another_study(
    tmp_path: Path, store: Store
) -> None:
    path = written(tmp_path, more="trial = { epochs = 1 }")
    tuned(open_search(str(path)), store, low_rate_wins)
    text = path.read_text()
    assert "epochs = 2\n" in text
    path.write_text(text.replace("epochs = 2\n", "epochs = 3\n"))
    assert search.finished(open_search(str(path)), store)
    path.write_text(text.replace("batch_size = 8\n", "batch_size = 4\n"))
    assert not search.finished(open_search(str(path)), store)


def test_another_number_to_retrain_is_heeded_when_the_search_goes_on(
    tmp_path: Path, store: Store
) -> None:
    tuned(open_search(str(written(tmp_path))), store, low_rate_wins)
    more = open_search(str(written(tmp_path, more="retrain = 2")))
    assert not search.finished(more, store)
    record = tune(more, store, heard)
    assert [len(told["best"]) for told in record["arms"].values()] == [2, 2]


def test_choices_of_other_ranges_than_the_files_are_refused(tmp_path: Path, store: Store) -> None:
    path = written(tmp_path)
    tuned(open_search(str(path)), store, low_rate_wins)
    path.write_text(path.read_text().replace("log = [1e-4, 1e-1]", "log = [1e-3, 1e-1]"))
    with pytest.raises(InputError, match=r"tuned over other ranges .*: resizer-bench search"):
        load_from(store, str(path), small=False)
    path.write_text(path.read_text().replace("log = [1e-3, 1e-1]", "log = [1e-4, 1e-1]"))
    load_from(store, str(path), small=False)
    older = {
        name: value for name, value in (store.search("tuned") or {}).items() if name != "spaces"
    }
    write_record(store.search_folder("tuned"), older)
    with pytest.raises(InputError, match="tuned over other ranges"):
        load_from(store, str(path), small=False)


def test_a_search_takes_up_failed_retraining_when_asked(
    tmp_path: Path, store: Store, toy_search: Callable[..., Search]
) -> None:
    tuned(toy_search(), store, low_rate_wins)
    file = str(tmp_path / "tuned.toml")
    key, trial = next(iter(load_from(store, file, small=False).trials.items()))
    write_record(store.trial_folder(key), ended(trial, "failed", "lost power"))
    first = CliRunner().invoke(app, ["search", file], catch_exceptions=False)
    assert first.exit_code == 1
    assert "1 trial failed; `--retry` takes them up again:" in first.output
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
            waited_for(scoring(store, low_rate_wins)(trial, None, heard))  # type: ignore[arg-type]
    events: list[Event] = []
    tune(found, store, events.append)
    kinds = Counter(type(event) for event in events)
    assert kinds[OnRecord] == 6
    assert kinds[Begin] == 0


def test_a_configuration_that_was_scored_on_other_files_answers_no_search(
    store: Store, toy_search: Callable[..., Search]
) -> None:
    def others(trial: Trial, record: Json) -> None:
        record["data"]["pixels"] = "others"
        write_record(store.trial_folder(trial.key), record)

    choice = "lr = {{ choice = [0.01, 0.02] }}\n"
    found = toy_search(trial=choice)
    score = scoring(store, low_rate_wins)
    for arm in ("plain", "learned"):  # by a search of another name
        for lr in (0.01, 0.02):
            trial = found.trial(arm, {"lr": lr})
            others(trial, waited_for(score(trial, None, heard)))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"was run on other files called 'toy' \(pixels others, "):
        tune(found, store, heard)
    record = tuned(found, store, low_rate_wins)
    trial = found.trial("plain", record["arms"]["plain"]["configurations"][0]["chosen"])
    others(trial, fakes.result(trial))
    assert found.spec.search
    settings = found.spec.search.model_copy(update={"trials": 4})
    more = replace(found, spec=found.spec.model_copy(update={"search": settings}))
    with pytest.raises(InputError, match=r"was run on other files called 'toy' \("):
        tune(more, store, heard)


@pytest.mark.parametrize(
    ("line", "choice", "said"),
    [
        ("batch_size = 8", "[8, 16]", "14 without those held out, fewer than one batch of 16"),
        (
            'backbone = "test_resnet"',
            '["test_resnet", "test_resnett"]',
            "did you mean 'test_resnet",
        ),
    ],
)
def test_a_choice_that_cannot_be_trained_is_refused_before_the_first_configuration(
    tmp_path: Path, store: Store, line: str, choice: str, said: str
) -> None:
    path, name = written(tmp_path), line.partition(" ")[0]
    path.write_text(path.read_text().replace(line, f"{name} = {{ choice = {choice} }}"))
    with pytest.raises(InputError) as caught:
        tune(open_search(str(path)), store, heard)
    assert said in str(caught.value)
    assert store.search("tuned") is None


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
        tune(found, store, heard)
    record = store.search(found.name)
    assert record
    rows = record["arms"]["learned"]["configurations"]
    assert [row["state"] for row in rows] == ["failed"] * 3
    assert rows[0]["reason"] == "oom: out of memory"
    assert record["arms"]["learned"]["best"] == []


def test_an_error_of_ours_ends_the_search_instead_of_drawing_on(
    store: Store, toy_search: Callable[..., Search]
) -> None:
    async def broken(trial: Trial, _: optuna.Trial, __: Listener) -> Json:
        raise ValueError(f"a defect met by {trial.backbone}")

    with pytest.raises(ValueError, match="a defect met by test_resnet"):
        Tuner(toy_search(), store, heard, broken).run()


def test_a_configuration_that_the_machine_failed_is_drawn_again(
    store: Store, toy_search: Callable[..., Search]
) -> None:
    lost: list[float] = []

    async def full(trial: Trial, _: optuna.Trial, __: Listener) -> Json:
        lost.append(trial.lr)
        raise MachineError("no space left")

    with pytest.raises(MachineError):
        Tuner(toy_search(), store, heard, full).run()
    record = tuned(toy_search(), store, low_rate_wins)
    rates = [row["chosen"]["lr"] for row in record["arms"]["plain"]["configurations"]]
    assert len(rates) == 3
    assert set(lost) <= set(rates)


def test_a_configuration_that_another_process_has_timed_meanwhile_is_not_timed_again(
    store: Store, toy_search: Callable[..., Search], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = toy_search(more='objectives = ["top1_pct", "gmacs"]')
    trial = found.trial("plain", {"lr": 0.01, "weight_decay": 0.1})
    study = optuna.create_study(directions=["maximize", "minimize"])
    waited_for(scoring(store, low_rate_wins)(trial, study.ask(), heard))
    subjects = {trial.speed_key: fakes.timed_arm(trial, {"gmacs": 1.5})}
    evaluator = Evaluator(found.spec, store, Local([trial], []))

    @asynccontextmanager
    async def waiting(of: Store, name: str, _: Listener) -> AsyncIterator[None]:
        if name == "timing":
            folder = of.sitting_folder(evaluator.sitting(trial))
            write_record(folder, {"status": "ok", "reason": "", "subjects": subjects})
        yield

    monkeypatch.setattr(search, "waiting_claim", waiting)
    monkeypatch.setattr(search.timing, "sit", lambda *_: pytest.fail("it is timed again"))
    record = waited_for(evaluator(trial, study.ask(), heard))
    assert record["metrics"]["gmacs"]["value"] == 1.5


@pytest.mark.parametrize(
    ("objective", "measured", "rounds"),
    [("gmacs", False, 1), ("params_m", False, 1), ("latency_p50_ms", True, 4)],
)
def test_an_objective_that_is_measured_takes_the_machine_for_itself_and_all_rounds(
    store: Store, toy_search: Callable[..., Search], objective: str, measured: bool, rounds: int
) -> None:
    found = toy_search(more=f'objectives = ["top1_pct", "{objective}"]')
    trial = found.trial("plain", {"lr": 0.01, "weight_decay": 0.1})
    spec = found.spec.model_copy(update={"timing": Timing(rounds=4)})
    sitting = Evaluator(spec, store, Local([trial], [])).sitting(trial)
    assert sitting.settings.rounds == rounds
    assert search.measures(found.settings) is measured


def test_a_worker_that_was_taken_for_dead_goes_on_with_another_configuration(
    store: Store, toy_search: Callable[..., Search]
) -> None:
    lost: list[int] = []

    async def evaluate(trial: Trial, asked: optuna.Trial, listener: Listener) -> Json:
        if not lost:
            lost.append(asked.number)
            storage = asked.study._storage
            storage.set_trial_state_values(asked._trial_id, optuna.trial.TrialState.FAIL)
            asked.study.enqueue_trial(asked.params)
        return await scoring(store, low_rate_wins)(trial, asked, listener)

    Tuner(toy_search(), store, heard, evaluate).run()
    record = store.search("tuned")
    assert record
    for arm in ("plain", "learned"):
        assert [row["state"] for row in record["arms"][arm]["configurations"]] == ["ok"] * 3


class KilledError(BaseException):
    """Ends a worker as SIGKILL does: nothing of Optuna's or ours catches it."""


@pytest.mark.parametrize("dies", ["before it has leased it", "after it"])
def test_what_a_dead_worker_had_drawn_is_taken_up(
    store: Store,
    toy_search: Callable[..., Search],
    monkeypatch: pytest.MonkeyPatch,
    dies: str,
) -> None:
    monkeypatch.setattr(studies, "POLL_S", 0.1)
    found = toy_search()

    def killed(*_: Any) -> None:
        raise KilledError

    async def killed_later(*_: Any) -> Json:
        raise KilledError

    with monkeypatch.context() as patched:
        if dies.startswith("before"):
            patched.setattr(studies, "claim", killed)
        with pytest.raises(KilledError):
            Tuner(found, store, heard, killed_later).run()

    waited: list[float] = []

    def impatient(event: Event) -> None:
        if isinstance(event, Waiting):
            waited.append(time.monotonic())
            assert waited[-1] - waited[0] < 60, "it waits for the dead"

    Tuner(found, store, impatient, scoring(store, low_rate_wins)).run()
    record = store.search("tuned")
    assert record
    for arm in ("plain", "learned"):
        assert [row["state"] for row in record["arms"][arm]["configurations"]] == ["ok"] * 3


def test_a_bad_configuration_is_pruned_and_answers_its_own_study_alone(
    store: Store, toy_search: Callable[..., Search], monkeypatch: pytest.MonkeyPatch
) -> None:
    more = "pruner_startup_trials = 0\npruner_warmup_epochs = 0"
    found = toy_search(more=more)
    monkeypatch.setattr(optuna.Trial, "should_prune", lambda self: self.number == 1)
    tune(found, store, heard)
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
    assert waited_for(answer(trial, study.ask(), heard))["status"] == "pruned"
    assert waited_for(answer(trial, other.ask(), heard))["status"] == "ok"


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
    heed = evaluator._heeding(trial, optuna.create_study().ask(), heard)
    row: CurveRow = {"epoch": 3, "step": 90, "train_loss": 1.0, "lr": 0.1, "train_s": 1.0}
    heed(Epoch(row | {"top1_pct": 50.0}))
    with pytest.raises(PrunedError):
        heed(Epoch(row | {"epoch": 2, "step": 60, "top1_pct": 50.0}))


def test_two_objectives_give_a_pareto_set(store: Store, toy_search: Callable[..., Search]) -> None:
    found = toy_search(
        trial="num_kernels = {{ int = [1, 8] }}\nlr = {{ log = [1e-4, 1e-1] }}\n",
        more='objectives = ["top1_pct", "gmacs"]\nretrain = 2',
    )
    record = tune(found, store, heard)
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
        waited_for(scoring(store, low_rate_wins)(trial, None, heard))  # type: ignore[arg-type]
    told = in_words(gather(experiment, store))
    assert "the arms were tuned over different numbers of configurations" in told
    assert "better" not in told


def test_every_argument_of_sampler_and_pruner_is_stored(
    store: Store, toy_search: Callable[..., Search]
) -> None:
    record = tuned(toy_search(), store, low_rate_wins)
    assert record["sampler"] == {
        "name": "tpe",
        "n_startup_trials": 5,
        "n_ei_candidates": 24,
        "multivariate": True,
        "group": False,
        "constant_liar": True,
    }
    assert record["pruner"] == {
        "n_startup_trials": 4,
        "n_warmup_steps": 2,
        "interval_steps": 1,
        "n_min_trials": 1,
    }
    assert record["optuna"] == optuna.__version__


def test_the_search_beats_random_sampling_of_the_same_budget(
    tmp_path: Path, toy_search: Callable[..., Search]
) -> None:
    """A known best region in four fields; paired by the sampler's seed."""
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

    gains = [best("tpe", seed) - best("random", seed) for seed in range(100, 106)]
    print("TPE minus random, points:", np.round(gains, 2), "mean", np.mean(gains))  # noqa: T201
    assert np.mean(gains) > 0
    assert sum(gain > 0 for gain in gains) >= 5


WORKER = """
import os, sys, time
from pathlib import Path
from bench.data.library import fingerprint
from bench.run import search, studies
from bench.run.search import open_search
from bench.records import write_record
from bench.store import Store
from tests.fakes import result

studies.POLL_S = search.POLL_S = 0.1
store, log = Store(Path(sys.argv[2])), Path(sys.argv[3])

def note(word, key):
    with log.open("a") as file:
        file.write(f"{word} {key} {os.getpid()}\\n")

class Slow(search.Evaluator):
    async def _record(self, trial, asked, listener):
        if store.trial(trial.key) is None:
            note("begin", trial.key)
            time.sleep(0.4)
            record = result(trial, 100 * trial.lr)
            record["data"] |= {"fingerprint": fingerprint(trial.dataset)}
            write_record(store.trial_folder(trial.key), record)
            note("end", trial.key)
        return await super()._record(trial, asked, listener)

if __name__ == "__main__":
    found = open_search(sys.argv[1])
    studies.Tuner(found, store, lambda event: None, Slow(found.spec, store, None)).run()
"""


def test_a_killed_workers_configuration_is_taken_up_and_none_is_evaluated_twice(
    tmp_path: Path, store: Store
) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text().replace("trials = 3", "trials = 10"))
    script, log = tmp_path / "worker.py", tmp_path / "log"
    script.write_text(WORKER)
    log.touch()
    command = [sys.executable, str(script), str(path), str(store.root), str(log)]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, env=environment, cwd=PROJECT)

    def begun(pid: int) -> bool:
        lines = log.read_text().splitlines()
        mine = [line for line in lines if line.endswith(f" {pid}")]
        return bool(mine) and mine[-1].startswith("begin")

    with start() as steady:
        try:
            for _ in range(3):
                killed = start()
                deadline = time.monotonic() + 60
                while not begun(killed.pid) and time.monotonic() < deadline:
                    time.sleep(0.02)
                assert begun(killed.pid), "the worker evaluated nothing"
                os.kill(killed.pid, signal.SIGKILL)
                killed.wait()
            assert steady.wait(timeout=300) == 0
        finally:
            steady.kill()
    record = json.loads((store.search_folder("tuned") / "record.json").read_text())
    for arm in ("plain", "learned"):
        states = [row["state"] for row in record["arms"][arm]["configurations"]]
        assert states == ["ok"] * 10
    ended = Counter(line.split()[1] for line in log.read_text().splitlines() if "end" in line)
    assert set(ended.values()) == {1}
    assert len(ended) == 20


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


def test_a_study_is_bound_to_the_code_and_the_checkpoint_that_its_values_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    weights = tmp_path / "w.pt"
    either = Range("choice", ("none", "bound_front:A"))
    named = Space({"pretrained": str(weights)}, {"resizer": either})
    found = []
    for text in ("class A: ...", "class A: '''changed'''"):
        (tmp_path / "bound_front.py").write_text(text)
        weights.write_text(text)
        found.append(tuning.contents(named))
    assert [len(set(of)) for of in zip(*found, strict=True)] == [2, 2]
    assert tuning.contents(Space({"resizer": "learned", "pretrained": True}, {})) == []
