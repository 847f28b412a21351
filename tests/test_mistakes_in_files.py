"""What a mistake in an experiment's file is told: one sentence, with its place and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import InputError
from bench.spec.files import load, read
from tests.conftest import WriteExperiment, toy_toml

CHAIN = "".join(f'[[arm]]\nname = "a{n}"\ninit_from = "a{n + 1}"\n' for n in range(101))
CHAIN += '[[arm]]\nname = "a101"'
MISTAKES = [
    ({"trial": "epoch = 3"}, r"\[trial\] unknown field 'epoch'; did you mean 'epochs'\? One of: "),
    ({"axes": "num_resblock = [1]"}, r"\[axes\] unknown field 'num_resblock'; did you mean"),
    ({"axes": "num_resblocks = []"}, r"axes.num_resblocks = \[\]: list should have at least 1"),
    (
        {"rest": '[[arm]]\nname = "x"\nrole = "treatmnt"'},
        r"\[arm 'x'\] role = 'treatmnt': input should be .* did you mean 'treatment'",
    ),
    ({"rest": '[[arm]]\nrole = "treatmnt"'}, r"'arm.#3.name' is missing"),
    ({"top": "secondary = ['learned']"}, r"'secondary.#2' is missing"),
    ({"rest": "[[arm]]\nname = 'x'\nmatched_px = [3]"}, r"\[arm 'x'\] matched_px is for an"),
    (
        {"rest": "[[reference]]\nname = 'r'\ntop1_pct = 101\nsource = 's'"},
        r"\[reference 'r'\] top1_pct = 101: input should be less than",
    ),
    ({"rest": "[[reference]]\nname = 'r'\nsorce = ''"}, r"\[reference 'r'\] unknown field 'sorce'"),
    ({"axes": "num_resblocks = [-1]"}, r"\[axes\] num_resblocks = -1: input should be greater"),
    (
        {"axes": "output_size = [0]"},
        r"\[arm 'plain'\] input_size = 0: input should be greater than",
    ),
    (
        {"axes": 'interpolation = ["bilinaer"]'},
        r"\[axes\] interpolation = 'bilinaer': input should be 'nearest', .*; did you mean 'bili",
    ),
    ({"axes": 'resizer = ["lerned"]\n[[arm]]\nname = "x"'}, "unknown resizer 'lerned'; did you"),
    ({"trial": "steps = 5"}, r"\[arm 'plain'\] a trial takes exactly one of 'epochs' and 'steps'"),
    ({"trial": 'lr = "fast"'}, r"\[trial\] lr = 'fast': input should be a valid number"),
    ({"axes": "num_kernels = [4, 4]"}, r"\[axes\] num_kernels = \[4, 4\] names a value twice"),
    ({"top": "margin = 3"}, "unknown field 'margin'; did you mean 'margin_pct'"),
    ({"trial": "margin_pct = 3"}, r"\[trial\] 'margin_pct' stands at the top of the file, before"),
    ({"rest": "[[arm]]\nname = 'a'\nlooks = [3]"}, r"\[arm 'a'\] 'looks' stands at the top"),
    ({"top": "epochs = 3"}, r"'epochs' stands in \[trial\], or in an arm of its own"),
    (
        {"rest": "[search]\nretrian = 2"},
        r"\[search\] unknown field 'retrian'; did you mean 'retrain'",
    ),
    ({"top": "questoin = 'x'"}, "unknown field 'questoin'; did you mean 'question'"),
    ({"rest": "[[reference]]\nsorce = ''"}, r"unknown field 'sorce'; did you mean 'source'"),
    ({"rest": '[[arm]]\nname = "a\\nb"'}, r"\[arm 'a\\nb'\]: a name is printable, on one"),
    ({"rest": '[[arm]]\nname = "plain "'}, r"\[arm 'plain '\]: .* without spaces at its ends"),
    ({"axes": "num_resblocks = [1001]"}, r"num_resblocks = 1001: input should be less than or"),
    ({"rest": '[[arm]]\nname = "plain"'}, "two arms are named 'plain'"),
    ({"rest": '[[arm]]\nname = "a"\nseed = 3'}, r"\[arm 'a'\] seed: arms are paired by \[axes\]"),
    ({"trial": 'pretrained = "gone.pt"'}, "pretrained = 'gone.pt': there is no such file"),
    ({"rest": '[[arm]]\nname = "a"\nresizer = "sys:path"'}, "'sys:path': Python has a module of"),
    ({"rest": "round = 3"}, r"\[timing\] unknown field 'round'; did you mean 'rounds'\? One of: "),
    (
        {"trial": 'frozen = ["backbone", "resizer"]'},
        r"\[arm 'plain'\] frozen names every part that could be",
    ),
    ({"rest": '[[arm]]\nname = "a"\nepochs = 0'}, "epochs = 0 trains nothing"),
    (
        {"rest": '[[arm]]\nname = "a"\ninit_from = "plane"'},
        r"\[arm 'a'\] init_from names the arm 'plane', which is not there; did you mean 'plain'",
    ),
    (
        {"rest": '[[arm]]\nname = "a"\ninit_from = "b"\n[[arm]]\nname = "b"\ninit_from = "a"'},
        "start from one another in a circle: a → b → a",
    ),
    ({"rest": CHAIN}, "arms start from one another 100 times at most"),
    (
        {"rest": '[[arm]]\nname = "a"\nbackbone = "resnet18"\nbackbone_from = "plain"'},
        "backbone_from = 'plain': that arm's backbone is test_resnet, not resnet18",
    ),
    (
        {"rest": '[[arm]]\nname = "a"\nresizer = "learned"\nresizer_from = "plain"'},
        "resizer_from = 'plain': that arm's resizer is none, not learned",
    ),
    ({"rest": '[[arm]]\nname = "a"\ninput_size = "equal_time"'}, "'equal_time' needs match"),
    (
        {"rest": '[[arm]]\nname = "a"\ninput_size = "3 * output_size"'},
        r"\[arm 'a'\] input_size = '3 \* output_size' is no number of pixels; did you mean '2 \*",
    ),
    ({"rest": "[[arm]]\nname = 'a'\nseeds = true"}, r"\[arm 'a'\] seeds = True: .* valid integer"),
    ({"top": "targets_pct = ['9']"}, r"targets_pct.#1 = '9': input should be a valid number"),
    ({"top": "looks = [3.0]"}, r"looks.#1 = 3.0: input should be a valid integer"),
    ({"top": "train = 'no'"}, r"train = 'no': input should be a valid boolean"),
    ({"top": "looks = 3"}, r"looks = 3: input should be a valid list"),
    ({"trial": "pretrained = 1"}, r"\[trial\] pretrained = 1: input should be a valid boolean"),
    ({"trial": "frozen = ['all']"}, r"\[trial\] frozen.#1 = 'all': input should be 'resizer' or"),
    ({"rest": "[[arm]]\nname = 'a'\nmatch = ''"}, r"\[arm 'a'\] match names the arm '', which is"),
    (
        {"axes": "output_size = [32.0]"},
        r"\[arm 'plain'\] input_size = 'output_size' needs an output_size in whole pixels",
    ),
    ({"axes": "resizer = ['none', 'learned']"}, r"\[axes\] resizer changes nothing: every arm has"),
    (
        {"axes": f"lr = [{', '.join(f'{i}.5' for i in range(60_000))}]"},
        r"\[axes\] and arms make [12][24]0,000 cells; 100,000 are the most",
    ),
    ({"top": "secondary = ['learned', 'plain']"}, "secondary compares the treatment of primary"),
]


@pytest.mark.parametrize(("added", "message"), MISTAKES)
def test_a_mistake_is_one_sentence_with_file_field_value_and_remedy(
    added: dict[str, str], message: str, write_experiment: WriteExperiment
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        write_experiment(**added)
    assert "toy.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_primary_comparison_of_arms_that_are_not_there_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(
        'question = "?"\nprimary = ["learnt", "plain"]\n'
        '[trial]\ndataset = "d"\nbackbone = "b"\ninput_size = 8\nepochs = 1\n'
        '[[arm]]\nname = "plain"\n[[arm]]\nname = "learned"\n'
    )
    with pytest.raises(InputError, match=r"primary names the arm 'learnt', .* mean 'learned'\?"):
        load(str(file))
    file.write_text(
        file.read_text().replace('primary = ["learnt", "plain"]', 'recipe_for = "plian"')
    )
    with pytest.raises(InputError, match=r"recipe_for names the arm 'plian', .* mean 'plain'\?"):
        load(str(file))
    file.write_text(
        file.read_text().replace('recipe_for = "plian"', 'primary = ["plain", "plain"]')
    )
    with pytest.raises(InputError, match="primary compares 'plain' with itself"):
        load(str(file))


def test_a_primary_comparison_of_trials_with_themselves_is_refused(tmp_path: Path) -> None:
    plain = 'resizer = "none"\ninput_size = "output_size"\n'
    (tmp_path / "a.toml").write_text(toy_toml().replace('resizer = "learned"', plain))
    with pytest.raises(InputError, match="primary: 'learned' and 'plain' are the same trials"):
        load(str(tmp_path / "a.toml"))


def test_the_file_of_ones_own_is_named_where_its_ending_was_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").touch()
    with pytest.raises(InputError, match=r"no experiment 'mine' .* mean the file 'mine.toml'\?"):
        read("mine")


def test_a_missing_or_broken_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no experiment 'quik' in .*; did you mean 'quick'\?"):
        load("quik")
    with pytest.raises(InputError, match=r"no experiment file 'nowhere\.toml'"):
        load("nowhere.toml")
    (tmp_path / "bad.toml").write_text("question = ")
    with pytest.raises(InputError, match=r"bad.toml is not TOML: Invalid value"):
        load(str(tmp_path / "bad.toml"))
    (tmp_path / "none.toml").write_text('[[arm]]\nname = "a"')
    with pytest.raises(InputError, match="'question' is missing"):
        load(str(tmp_path / "none.toml"))


def test_small_without_a_small_table_is_refused(write_experiment: WriteExperiment) -> None:
    with pytest.raises(InputError, match=r"has no \[small\] table"):
        write_experiment(small=True)


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ("epoch = 3", r"\[trial\] unknown field 'epoch'; did you mean 'epochs'"),
        ('lr = "fast"', r"\[trial\] lr = 'fast': input should be a valid number"),
        ("margin_pct = 0", r"margin_pct = 0: input should be greater than 0"),
        ("axes.num_resblocks = [-1]", r"\[axes\] num_resblocks = -1: input should be greater"),
        ("timing.round = 3", r"\[timing\] unknown field 'round'; did you mean 'rounds'"),
        ("arm.learned.num_kernel = 3", r"\[arm 'learned'\] unknown field 'num_kernel'; did you"),
    ],
)
def test_a_mistake_in_the_small_table_is_told_whichever_form_is_asked_for(
    added: str, message: str, write_experiment: WriteExperiment
) -> None:
    for small in (False, True):
        with pytest.raises(InputError, match=rf"toy\.toml with its \[small\]: {message}"):
            write_experiment(small=small, rest=f"[small]\n{added}")


def test_a_checkpoint_of_the_small_form_alone_need_not_be_there_for_the_full_one(
    write_experiment: WriteExperiment,
) -> None:
    assert write_experiment(rest="[small]\npretrained = 'gone.pt'").trials
    with pytest.raises(InputError, match=r"'gone.pt': there is no such file"):
        write_experiment(small=True, rest="[small]\npretrained = 'gone.pt'")
