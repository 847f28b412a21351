"""What a search asks for: its file, its ranges, its data, and what makes it another one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from rich.console import Console
from typer.testing import CliRunner

from bench.cli import app
from bench.cli.planning import search_lines
from bench.cli.progress import Display
from bench.data.library import open_dataset
from bench.errors import InputError
from bench.events import SearchBegun, ignore
from bench.opening import load_from
from bench.records import Json, write_record
from bench.run import search
from bench.run.processes import waited_for
from bench.run.search import Search, open_search
from bench.run.studies import tune
from bench.spec import tuning
from bench.spec.files import read
from bench.spec.ranges import Range, Space
from bench.spec.trial import Trial
from bench.store import Store
from tests import fakes
from tests.conftest import toy_toml
from tests.search.toys import RANGES, low_rate_wins, scoring, tuned, written


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
        ({"more": 'objectives = ["top1"]'}, "search.objectives.#1 = 'top1'"),
        ({"more": 'objectives = ["gmacs"]'}, "top1_pct is the first of them"),
        (
            {"more": 'objectives = ["top1_pct", "gmacs"]\npruner = "median"'},
            "pruner = 'median' with two objectives: pruning goes by one alone",
        ),
        ({"arms": '["plain", "plain"]'}, "[search] arms names 'plain' twice"),
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


@pytest.mark.parametrize(
    ("there", "here", "options", "said"),
    [
        ("momentum = 0.9", "momentum = {{ choice = [0.9, 2.0] }}", (), "momentum = 2.0: input"),
        ('"toy"', '"imagewoof"', (), "imagewoof is not here: resizer-bench data fetch imagewoof"),
        ("", "", ("--hourly", "2"), "--all, --devices and --hourly are of known trials"),
    ],
)
def test_a_plan_of_a_search_tells_what_would_keep_it_from_running(
    there: str, here: str, options: tuple[str, ...], said: str, tmp_path: Path, store: Store
) -> None:
    path = written(tmp_path, trial=RANGES + 'optimizer = "sgd"\nmomentum = 0.9\n')
    path.write_text(path.read_text().replace(there, here.format()))
    done = CliRunner().invoke(app, ["plan", str(path), *options])
    assert said in done.output + str(done.exception)
    assert not store.root.exists()


def test_a_single_configuration_is_told_in_the_singular(
    tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text().replace("\ntrials = 3", "\ntrials = 1"))
    told = next(search_lines(read(str(path)), store))
    assert told.startswith("plain: 0 of 1 configuration of lr:")
    Display(Console())(SearchBegun(1, {"plain": 0}))
    assert capsys.readouterr().out == "1 configuration of each arm; on record: 0 of plain\n"


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
            others(trial, waited_for(score(trial, None, ignore)))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"was run on other files called 'toy' \(pixels others, "):
        tune(found, store, ignore)
    record = tuned(found, store, low_rate_wins)
    trial = found.trial("plain", record["arms"]["plain"]["configurations"][0]["chosen"])
    others(trial, fakes.result(trial))
    assert found.spec.search
    settings = found.spec.search.model_copy(update={"trials": 4})
    more = replace(found, spec=found.spec.model_copy(update={"search": settings}))
    with pytest.raises(InputError, match=r"was run on other files called 'toy' \("):
        tune(more, store, ignore)


@pytest.mark.parametrize(
    ("line", "choice", "said"),
    [
        ("batch_size = 8", "[8, 16]", "14 without those held out, fewer than one batch of 16"),
        (
            'backbone = "test_resnet"',
            '["test_resnet", "test_resnett"]',
            "did you mean 'test_resnet",
        ),
        (
            'resizer = "learned"',
            '["learned", "lerned"]',
            "tuned.toml: unknown resizer 'lerned'; did you mean 'learned'?",
        ),
    ],
)
def test_a_choice_that_cannot_be_trained_is_refused_before_the_first_configuration(
    tmp_path: Path, store: Store, line: str, choice: str, said: str
) -> None:
    path, name = written(tmp_path), line.partition(" ")[0]
    path.write_text(path.read_text().replace(line, f"{name} = {{ choice = {choice} }}"))
    with pytest.raises(InputError) as caught:
        tune(open_search(str(path)), store, ignore)
    assert said in str(caught.value)
    assert store.search("tuned") is None


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
