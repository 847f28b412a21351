"""The answer in words: what each sentence says follows from the records, and how it says it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats

from bench.analysis.effects import beside, effects
from bench.analysis.evidence import Evidence, gather
from bench.analysis.prices import paid
from bench.errors import InputError
from bench.records import write_record
from bench.report import details, made
from bench.report.answer import answers, in_words
from bench.report.made import code_digest, saved
from bench.report.pages import make
from bench.report.summary import summary
from bench.report.table import price, results
from bench.report.words import MINUS, TIMES
from bench.spec.controls import STANDARD, Control
from bench.spec.experiment import Experiment
from bench.spec.files import load
from bench.spec.trial import Trial
from bench.store import Store
from tests.fakes import NARROW, WIDE, experiment, fill, page_text, time_all, timed_arm, top1

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


def controlled(folder: Path, accuracy: Callable[[Trial], float], axes: str = "") -> Evidence:
    """An experiment with controls: arithmetic at 40 px, time at 48, whole at 64.

    Args:
        axes: more of them, as lines of TOML.
    """
    (file := folder / "why.toml").write_text(CONTROLLED.replace("[axes]", f"[axes]\n{axes}"))
    asked = load(str(file))
    equal = {"equal_gmacs": 40, "equal_time": 48}
    sizes = {key: equal[request.kind] for key, request in asked.sizes.items()}
    asked, store = load(str(file), sizes=sizes), Store(folder / "store")
    fill(asked, store, lambda trial: accuracy(trial) + 0.1 * trial.seed * (not treats(trial)))
    speeds: dict[str, object] = {
        trial.speed_key: timed_arm(trial, speed(trial), seconds={"train": seconds(trial)})
        for trial in asked.trials.values()
    }
    timed(asked, store, speeds)
    return gather(asked, store)


def timed(asked: Experiment, store: Store, subjects: dict[str, object]) -> None:
    """Save the sitting of every context."""
    for folder in set(store.timing_folders(asked).values()):
        write_record(folder, {"status": "ok", "reason": "", "subjects": subjects})


def treats(trial: Trial) -> bool:
    """Whether it is the treatment's."""
    whole = trial.input_size == 64 and trial.interpolation == "bilinear"
    changed = trial.frozen or trial.zero_init
    return trial.resizer == "learned" and whole and not changed


def speed(trial: Trial) -> dict[str, float]:
    return {"gmacs": (trial.input_size if trial.resizer == "none" else 39) / 1000}


def seconds(trial: Trial) -> list[float]:
    """Rounds of a machine that gets slower."""
    step = trial.input_size if trial.resizer == "none" else 46
    return [0.001 * step * slower for slower in (1, 2, 3)]


def steps(trial: Trial) -> float:
    """A plain image reaches its size; learned 45 of 64 px; every other arm 30."""
    if trial.resizer == "none":
        return float(trial.input_size)
    return 45.0 if treats(trial) else 30.0


def test_a_verdict_is_a_word_and_one_sentence_and_for_what_it_holds(tmp_path: Path) -> None:
    asked, store = experiment(tmp_path, NARROW), Store(tmp_path)
    fill(asked, store, top1)
    time_all(asked, store)
    evidence = gather(asked, store)
    (told,) = answers(evidence)
    assert told.badge == "better"
    # 50, 51, 52 have a standard deviation of 1; fixed, by as much, lends 1.5 degrees of freedom:
    # t(0.975, 3.5) / sqrt(3) = 1.698
    assert told.sentence == f"learned {MINUS} plain = +51.0 points [+49.3, +52.7], 3 seeds."
    assert told.place == "fine, 64 → 32 px, resnet10t, 2 epochs"
    (line,) = details.verdicts(evidence).to_dict("records")
    assert line["difference, points"] == "+51.0 [+49.3, +52.7]"
    assert line["over seeds alone"] == "+51.0 [+48.5, +53.5]"
    assert (line["detectable, points"], line["lent"]) == ("2.3", "1.5 df, SD 1.0")
    costs = price(evidence).set_index("arm").loc["learned"]
    assert costs["training step"] == f"2.00 {TIMES} [2.00, 2.00]"


def test_in_words_is_a_line_for_each_answer_and_the_scope(tmp_path: Path) -> None:
    asked, store = experiment(tmp_path, 'dataset = ["fine", "coarse"]'), Store(tmp_path)
    fill(asked, store, lambda trial: top1(trial) if trial.seed else None)
    begin, fine, coarse, scope = in_words(gather(asked, store)).splitlines()
    assert begin == "Not finished: 12 of 18 trials finished."
    assert fine.startswith(f"No verdict: learned {MINUS} plain = +51.5 points [")
    assert "; 2 seeds so far, and a verdict is due at 3. On fine, 64 → 32 px" in fine
    assert "On coarse" in coarse
    assert scope.startswith("Scope: fine (2,000 training, 500 validation images) and coarse")
    assert scope.endswith("; 2 seeds; cpu (Toy, 2 threads, fp32).")


def test_the_controls_are_a_table_and_the_price_is_read_off_plain_images(tmp_path: Path) -> None:
    evidence = controlled(tmp_path, steps)
    lines = {control: (difference, says) for control, difference, says in controls(evidence)}
    assert lines["the same image, plainly resized"] == (
        "+14.9 points [+14.7, +15.1; 99.4 %]",
        "learning adds to a plain resize",
    )
    assert (
        lines[f"plain at 48 px: equal training time (1.0 {TIMES} learned's)"][1]
        == "the control is better"
    )
    assert lines["plain at 40 px: equal multiply-adds"][0].startswith("+4.9 points [")
    assert "the module, frozen at random weights" in lines
    # at 46 between 40 (accuracy 40.1) and 48 (48.1), 3/4 of the way, is 46.1
    equal = details.equal_price(evidence).set_index("at equal").loc["training time"]
    assert equal["plain image, px"] == "40 to 48"
    assert equal["difference to it, points"] == f"{MINUS}1.1 [{MINUS}1.2, {MINUS}1.0]"
    by_time, by_arithmetic = paid(evidence, evidence.judged[0][0])
    assert by_arithmetic.equal
    assert by_arithmetic.equal.difference.mean == pytest.approx(45 - 39.1)
    assert (by_time.front, by_arithmetic.front) == ("on the front", "on the front")


def test_what_no_plain_image_brackets_is_not_extrapolated(tmp_path: Path) -> None:
    evidence = controlled(tmp_path, lambda trial: 30.0 + trial.input_size)
    dear: dict[str, object] = {
        trial.speed_key: timed_arm(trial, {"gmacs": 9.0 if trial.output_size else 1.0})
        for trial in evidence.experiment.trials.values()
    }
    timed(evidence.experiment, evidence.store, dear)
    again = gather(evidence.experiment, evidence.store)
    assert [one.equal for one in paid(again, again.judged[0][0])] == [None]


def test_of_a_budget_control_that_did_not_finish_nothing_is_said(tmp_path: Path) -> None:
    (file := tmp_path / "why.toml").write_text(CONTROLLED + 'init_from = "plain"\n')
    asked = load(str(file))
    asked, store = load(str(file), sizes=dict.fromkeys(asked.sizes, 40)), Store(tmp_path)
    budget = {cell.trial.key for cell in asked.cells if cell.arm == "budget"}
    assert budget
    fill(asked, store, lambda trial: None if trial.key in budget else 50.0 + trial.seed)
    found = controls(gather(asked, store))
    assert found
    assert not [control for control, *_ in found if "trained as long" in control]


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
    added = Control("one pixel of each block", "smoothing helps", fields)
    monkeypatch.setitem(STANDARD, "nearest", added)
    (*_, (control, _, says)) = controls(controlled(tmp_path, steps))
    assert (control, says) == ("one pixel of each block", "smoothing helps")


def test_a_control_that_nobody_knows_is_one_sentence(tmp_path: Path) -> None:
    control = {'name = "fixed"': 'name = "fixed"\ncontrol = "pixel"'}
    wanted = "control = 'pixel' is not a standard control; did you mean 'pixels'?"
    with pytest.raises(InputError, match=re.escape(wanted)):
        experiment(tmp_path, NARROW, but=control)


def test_an_arm_that_does_not_use_an_axis_stands_beside_every_verdict(tmp_path: Path) -> None:
    axes = 'dataset = ["fine"]\nnum_resblocks = [0, 1]'
    asked, store = experiment(tmp_path, axes), Store(tmp_path)
    fill(asked, store, top1)
    evidence = gather(asked, store)
    assert len(details.controls(evidence)) == 2
    told = [(control, says) for control, _, says in controls(evidence)]
    assert told == [("fixed", "learned is better")] * 2
    first, second = (beside(evidence, row)[0].row for row, _ in evidence.judged)
    assert first is second


def test_a_report_before_the_baselines_size_is_matched_says_so(tmp_path: Path) -> None:
    size = {'input_size = "output_size"': 'input_size = "equal_time"\nmatch = "learned"'}
    asked, store = experiment(tmp_path, NARROW, but=size), Store(tmp_path / "store")
    assert asked.sizes
    assert "The size of plain is not matched yet." in make(asked, store, tmp_path / "o").answer


def test_many_verdicts_are_one_answer_with_what_each_axis_does_to_the_gain(tmp_path: Path) -> None:
    """Block 1 adds 3 points, spread 0.5, on `fine`; 1 on `coarse`; seeds are paired."""
    asked, store = experiment(tmp_path, WIDE), Store(tmp_path)

    def answer(trial: Trial) -> float | str | None:
        if trial.seed == 2 and trial.dataset == "coarse" and trial.num_resblocks == 1:
            return "failed"
        if trial.resizer != "learned":
            return 10.0 + 5 * trial.seed
        more = (3.0 + 0.5 * trial.seed if trial.dataset == "fine" else 1.0) * trial.num_resblocks
        return 9.0 + 5 * trial.seed + more

    fill(asked, store, answer)
    evidence = gather(asked, store)
    (told,) = answers(evidence)
    assert told.badge == "mixed"
    assert told.sentence == (
        f"learned {MINUS} plain = +0.1 points [{MINUS}0.7, +0.9] on average over 4 "
        "comparisons, 1 of them settled alone."
    )
    assert set(details.verdicts(evidence)["verdict"]) == {
        "better",
        "no verdict: every seed has the same difference",
        "no verdict: 2 seeds of both arms ended well, and a verdict needs 3",
    }
    blocks, coarse = (
        {one.axis: one.change for one in effects(evidence)}[a] for a in ("num_resblocks", "dataset")
    )
    changes = [(3.0 + 0.5 * seed + 1.0) / 2 for seed in (0, 1)]
    assert blocks.mean == pytest.approx(2.125)
    assert blocks.half_width == pytest.approx(stats.t.ppf(0.9875, 1) * stats.sem(changes))
    assert coarse.mean == pytest.approx(-1.125)
    text = page_text(evidence)
    assert r"| num\_resblocks | 1 | 0 | +2.1 \[" in text


def test_without_a_primary_comparison_there_are_intervals_and_no_verdict(tmp_path: Path) -> None:
    asked, store = experiment(tmp_path, WIDE, primary=False), Store(tmp_path)
    fill(asked, store, top1)
    evidence = gather(asked, store)
    (told,) = answers(evidence)
    assert told.badge == "no verdict"
    assert told.sentence.startswith(f"learned {MINUS} plain = ")
    assert told.sentence.endswith(" on average over 4 comparisons, none primary.")
    assert told.place.startswith("fine and coarse, 64 → 32 px, resnet10t, ")
    assert list(details.axes(evidence)["axis"]) == ["dataset", "num_resblocks"]
    assert details.axes(evidence).columns[-1] == f"changes learned {MINUS} plain by, points"
    assert "+51.0 ± 2.5" in set(results(evidence)["difference to plain, points"])
    assert summary(evidence).group == "ablations"
    arms = evidence.experiment.spec.arm
    both = [arm.model_copy(update={"role": "treatment"}) for arm in arms[1:]]
    several = asked.spec.model_copy(update={"arm": [arms[0], *both]})
    assert gather(replace(asked, spec=several), store).treated == []


def test_one_seed_without_a_primary_comparison_has_its_difference_and_its_place(
    tmp_path: Path,
) -> None:
    """Of the arms compared: what they start from is no second place."""
    changes = {'role = "baseline"': "epochs = 5"}
    again = 'role = "baseline"\ninit_from = "plain"\nresizer = "none"\ninput_size = "output_size"'
    rest = f'init_from = "plain"\n[[arm]]\nname = "continued"\n{again}\n'
    asked = experiment(tmp_path, NARROW, 1, primary=False, but=changes, rest=rest)
    store = Store(tmp_path)
    fill(asked, store, top1)
    (told,) = answers(gather(asked, store))
    assert told.sentence == (
        f"learned {MINUS} continued = +50.0 points, 1 seed; no primary comparison was named."
    )
    assert told.place == "fine, 64 → 32 and 32 px, resnet10t, 5 epochs, then 2 epochs"


def test_lent_degrees_of_freedom_are_explained_where_some_are_lent(tmp_path: Path) -> None:
    asked, store = experiment(tmp_path, NARROW), Store(tmp_path / "store")
    fill(asked, store, top1)
    assert "degrees of freedom" in page_text(gather(asked, store))
    without = {'[[arm]]\nname = "fixed"\nresizer = "fixed"\n': ""}
    asked = experiment(tmp_path, NARROW, but=without)
    assert "degrees of freedom" not in page_text(gather(asked, store))


def test_an_arm_alone_is_told_with_why_it_has_no_verdict(tmp_path: Path) -> None:
    asked = experiment(tmp_path, NARROW, primary=False)
    alone = asked.file.read_text().partition('[[arm]]\nname = "fixed"')[0]
    asked.file.write_text(alone)
    asked, store = load(str(asked.file)), Store(tmp_path)
    fill(asked, store, top1)
    (told,) = answers(gather(asked, store))
    assert told.sentence == "plain: 10.0 ± 0.0 %, 3 seeds; nothing to compare it with."


def test_the_recipe_has_every_field_that_trials_use_the_unwritten_defaults_too(
    tmp_path: Path,
) -> None:
    begun = '[[arm]]\nname = "begun"\nresizer = "learned"\nzero_init = true\nclip_norm = 2.0\n'
    asked = experiment(tmp_path, NARROW, rest=begun)
    found = dict(details.recipe(gather(asked, Store(tmp_path))).to_numpy())
    assert found["zero_init"] == "\N{EN DASH}, False and True"
    assert found["clip_norm"] == "\N{EN DASH} and 2.0"
    assert found["backbone"] == "resnet10t"
    assert not {"momentum", "replicate"} & set(found)


def controls(evidence: Evidence) -> list[tuple[str, ...]]:
    """Each line of the tables of controls: what it is, the difference, what it says."""
    tables = [table for _, table in details.controls(evidence)]
    return [tuple(line) for table in tables for line in table.to_numpy()]


def test_an_upgraded_program_does_not_print_the_old_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, store, out = experiment(tmp_path, NARROW), Store(tmp_path / "store"), tmp_path / "out"
    fill(asked, store, top1)
    make(asked, store, out)
    assert saved(asked, store, out)
    monkeypatch.setattr(made, "code_digest", lambda _: "another version")
    assert saved(asked, store, out) is None


def test_the_codes_digest_is_that_of_the_sources_a_report_is_made_by(tmp_path: Path) -> None:
    for name in ("analysis/effects.py", "report/templates/page.css", "metrics.py", "cli.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("before")
    before = code_digest(tmp_path)
    (tmp_path / "cli.py").write_text("after")
    (tmp_path / "report" / "words.pyc").write_text("compiled")
    assert code_digest(tmp_path) == before
    (tmp_path / "report" / "templates" / "page.css").write_text("after")
    assert code_digest(tmp_path) != before
