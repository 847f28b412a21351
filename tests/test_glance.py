"""The first screen of many experiments, of made-up records."""

from __future__ import annotations

from pathlib import Path

from bench.analysis.evidence import Evidence, gather
from bench.analysis.verdicts import Glance, at
from bench.opening import load_from
from bench.publish import first_screen
from bench.records import write_record
from bench.report.answer import scope, sentences
from bench.report.front import rows, short
from bench.report.words import MINUS, NONE, TIMES
from bench.spec.files import load
from bench.spec.trial import Trial
from bench.store import Store
from tests.fakes import NARROW, WIDE, experiment, fill, time_all, top1

SEARCH = """
question = "How good is plain?"
[search]
arms = ["plain"]
trials = 2
holdout = 0.1
[trial]
dataset = "fine"
backbone = "resnet10t"
input_size = 32
epochs = 2
lr = { log = [1e-4, 1e-1] }
[axes]
seed = [0, 1, 2]
[[arm]]
name = "plain"
role = "baseline"
"""
TIME = '[[arm]]\nname = "longer"\nresizer = "none"\ninput_size = "equal_time"\nmatch = "learned"\n'


def evidence(folder: Path, axes: str, *, controls: bool = False, more: str = "") -> Evidence:
    folder.mkdir()
    asked = experiment(folder, axes)
    store = Store(folder)
    text = asked.file.read_text() + ('controls = "standard"\n' if controls else "") + more
    if controls:
        text = text.replace('resizer = "fixed"', 'resizer = "muller"')
    asked.file.write_text(text)
    asked = load(str(asked.file))
    sizes = dict.fromkeys(asked.sizes, 48)
    asked = load(str(asked.file), sizes=sizes)
    fill(asked, store, top1)
    time_all(asked, store)
    return gather(asked, store)


def told(glances: list[Glance]) -> dict[str, str]:
    names = [f"experiment-{n}" for n in range(len(glances))]
    return {one.question: " ".join(it.text for it in one.told) for one in short(glances, names)}


def test_short_answers_come_from_the_records(tmp_path: Path) -> None:
    found = [
        at(evidence(tmp_path / "one", NARROW, controls=True)),
        at(evidence(tmp_path / "two", WIDE)),
    ]
    answers = told(found)
    assert answers["Does it help?"] == (
        "On real images, in 4 comparisons of learned with plain: better in 2 and no difference in "
        "2. The differences lie between +0.01 and +51.0 points. They share 2 sets of baseline "
        "runs. Averaged over 2 values of dataset and 2 values of num_resblocks, learned less "
        "plain: +25.5 ± 1.3 points"
    )
    when = answers["When?"]
    assert when.startswith(
        "Better on fine, 64 → 32 px, resnet10t, 2 epochs, 3 seeds: learned less plain +51.0 points "
        "Better on fine, 64 → 32 px, resnet10t, num_resblocks 0, 2 epochs"
    )
    assert "No difference on coarse" in when
    why = answers["Why?"]
    assert why.startswith(
        "On fine, 64 → 32 px, resnet10t, learned (+51.0 ± 2.5 points over plain) is better than "
        "the same image plainly resized (+51.0 ± 7.3), "
    )
    assert " and MULLER's four parameters (+51.0 ± 7.3); not told apart from the module " in why
    assert why.endswith(" intervals, 3 seeds)")
    assert "the plain pipeline" not in why
    assert answers["At what price?"].startswith(
        f"A training step takes 2.0 {TIMES} as long as the plain pipeline's."
    )


def test_a_comparison_that_two_experiments_share_is_counted_once(tmp_path: Path) -> None:
    narrow = at(evidence(tmp_path / "one", NARROW))
    wide = at(evidence(tmp_path / "two", WIDE))
    assert "in 4 comparisons" in told([wide, narrow, narrow])["Does it help?"]
    assert [one.difference.level for one in narrow.findings] == [0.95]
    (line,) = rows([narrow, narrow])
    assert "+51.0 (+48.5 to +53.5)" in line


def test_comparisons_too_many_to_tell_one_by_one_are_one_line(tmp_path: Path) -> None:
    (line,) = rows([at(evidence(tmp_path / "two", WIDE))])
    assert line == [
        "learned against plain, 4 times",
        "fine and coarse, 64 → 32 px, resnet10t, num_resblocks 0 and 1, 2 epochs, 3 seeds",
        "10.0 to 90.1",
        "on average +25.5 (+24.3 to +26.8); each +0.01 to +51.0",
        "better in 2 and no difference in 2",
        f"2.0 {TIMES}",
        NONE,
        "toy",
    ]


def test_without_a_better_one_no_gain_was_found(tmp_path: Path) -> None:
    asked = experiment(tmp_path, NARROW)
    fill(asked, Store(tmp_path), lambda trial: 50.0 + trial.seed)
    glance = at(gather(asked, Store(tmp_path)))
    assert told([glance])["Does it help?"].startswith(
        "No gain was found on real images, in 1 comparison of learned with plain: no difference "
        "in 1."
    )


def test_the_recipe_of_one_arm_alone_is_told_and_the_length_where_it_is_an_axis_once(
    tmp_path: Path,
) -> None:
    asked = experiment(tmp_path, 'dataset = ["fine"]\nepochs = [2, 4, 8]')
    text = asked.file.read_text().replace("margin_pct = 1.0", 'recipe_for = "plain"')
    asked.file.write_text(text)
    asked = load(str(asked.file))
    fill(asked, Store(tmp_path), top1)
    found = gather(asked, Store(tmp_path))
    assert "recipe tuned for plain;" in scope(found)
    helps = told([at(found)])["Does it help?"]
    assert "sets of baseline runs" not in helps
    assert "In 3 of them all arms train by a recipe that was tuned for plain alone." in helps
    (line,) = rows([at(found)])
    assert line[1] == "fine, 64 → 32 px, resnet10t, epochs 2, 4 and 8, 3 seeds"
    assert "(64 → 32 px, resnet10t, 2 epochs, 3 seeds)" in sentences(found)[3]


def test_what_the_same_training_time_buys_is_beside_the_verdict(tmp_path: Path) -> None:
    glance = at(evidence(tmp_path / "one", NARROW, more=TIME))
    (line,) = rows([glance])
    assert f"48 px: 0.0 ± 0.0, 0.50 {TIMES} learned's step" in line
    assert (
        "A larger plain image that costs about as much to train reaches more than learned in 0 of "
        f"1 comparison, by the means: {MINUS}51.0 points."
    ) in told([glance])["At what price?"]


def test_the_readme_links_each_report(tmp_path: Path) -> None:
    answers, table = first_screen([evidence(tmp_path / "one", NARROW, controls=True)])
    link = "[toy](results/published/toy/report.md)"
    assert f"({link})." in answers
    assert table.splitlines()[4].endswith(f"| {link} |")


def test_what_is_not_measured_is_not_answered(tmp_path: Path) -> None:
    nothing = at(gather(experiment(tmp_path, NARROW), Store(tmp_path)))
    assert told([nothing]) == {}
    assert rows([nothing]) == []
    assert first_screen([]) == ["", ""]
    assert list(told([at(evidence(tmp_path / "two", NARROW))])) == [
        "Does it help?",
        "When?",
        "At what price?",
    ]


def test_generated_images_tell_when_but_not_whether_it_helps(tmp_path: Path) -> None:
    asked = experiment(tmp_path, 'dataset = ["synthetic-fine"]')

    def better(trial: Trial) -> float:
        return 99.0 + trial.seed / 10 if trial.resizer == "learned" else 10.0

    fill(asked, Store(tmp_path), better)
    glance = at(gather(asked, Store(tmp_path)))
    assert told([glance]) == {
        "When?": "Better on synthetic-fine, 64 → 32 px, resnet10t, 2 epochs, 3 seeds (the class is "
        "only in detail that a 2x reduction erases): learned less plain +89.1 points"
    }
    assert rows([glance]) == []


def test_what_a_tuned_baseline_reaches_alone_is_told(tmp_path: Path) -> None:
    (file := tmp_path / "tuned.toml").write_text(SEARCH)
    store = Store(tmp_path)
    tried = [{"number": n, "state": "ok", "chosen": {"lr": 0.01 * n}} for n in (1, 2)]
    record = {"status": "ok", "arms": {"plain": {"configurations": tried, "best": [2]}}}
    record |= {"spaces": {"plain": {"lr": {"log": [1e-4, 1e-1]}}}}
    write_record(store.search_folder("tuned"), record)
    asked = load_from(store, str(file), small=False)
    fill(asked, store, lambda trial: 70.0 + trial.seed)
    assert told([at(gather(asked, store))]) == {
        "How good is the plain pipeline?": "Tuned over 2 configurations on held-out training "
        "images, plain reaches 71.0 ± 2.5 % on fine, 32 px, resnet10t, 2 epochs, 3 seeds"
    }
