"""What no experiment file may hold: each is one sentence, whatever stands in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.errors import InputError
from bench.opening import check_owner, load_from, note_owner
from bench.spec.files import RESERVED, load, read
from bench.store import Store
from tests.conftest import WriteExperiment, toy_toml


def refused(folder: Path, text: str | bytes, *, small: bool = False) -> str:
    """The sentence with which a file is refused."""
    path = folder / "asked.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(InputError) as caught:
        load(str(path), small=small)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert len(sentence) < 1500
    return sentence


@pytest.mark.parametrize(
    ("where", "line"),
    [
        ("trial", "lr = inf"),
        ("trial", "lr = nan"),
        ("trial", "weight_decay = +inf"),
        ("top", "timeout_s = inf"),
        ("top", "targets_pct = [nan]"),
        ("axes", "lr = [0.1, -inf]"),
        ("rest", "[search]\narms = ['learned']\ntrials = inf"),
    ],
)
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, where: str, line: str) -> None:
    assert re.search(
        r"= -?(inf|nan): it is no finite number$", refused(tmp_path, toy_toml(**{where: line}))
    )


@pytest.mark.parametrize("digits", ["9" * 5000, "9" * 19, "0x" + "f" * 5000, "-" + "9" * 400])
@pytest.mark.parametrize("line", ["steps = {}", "lr = {}", "seed = {}"])
def test_numbers_of_more_than_64_bits_are_refused(tmp_path: Path, digits: str, line: str) -> None:
    sentence = refused(tmp_path, toy_toml(trial=line.format(digits)))
    assert "more than 64 bits" in sentence or "is not TOML: Exceeds the limit" in sentence


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 5000 + "]" * 5000,
        "a = " + "{a = " * 3000 + "1" + "}" * 3000,
        ".".join(["a"] * 3000) + " = 1",
        "[" + ".".join(["a"] * 3000) + "]\nb = 1",
    ],
    ids=["lists", "tables", "dots", "a heading"],
)
def test_what_is_nested_thousands_deep_is_refused(tmp_path: Path, text: str) -> None:
    assert re.search(r"nested (too deeply|more than 16 deep)", refused(tmp_path, text))


@pytest.mark.parametrize(
    ("axis", "sentence"),
    [
        ("seed = [1, 1.0]", "names a value twice"),
        ("seed = [1, true]", "names a value twice"),
        ("seed = [0, false]", "names a value twice"),
        ("seed = [2, '2']", "seed = '2': input should be a valid integer"),
        ("seed = [1.0]", "seed = 1.0: input should be a valid integer"),
        ("seed = [true]", "seed = True: input should be a valid integer"),
        ("lr = [0.1, '0.1']", "lr = '0.1': input should be a valid number"),
        ("flip = [true, 1]", "names a value twice"),
    ],
)
def test_values_that_are_equal_are_one_value(tmp_path: Path, axis: str, sentence: str) -> None:
    text = toy_toml(axes=axis)
    text = text.replace("seed = [0, 1]\n", "") if axis.startswith("seed") else text
    assert sentence in refused(tmp_path, text)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("resizer_lr_factor = true", "resizer_lr_factor = True: input should be a valid number"),
        ("pretrained = 0", " = 0: input should be a valid boolean"),
        ("replicate = false", "replicate = False: input should be a valid integer"),
        ("load_antialias = 1", "load_antialias = 1: input should be a valid boolean"),
        ("zero_init = 0", "zero_init = 0: input should be a valid boolean"),
    ],
)
def test_a_value_of_another_kind_is_no_default(tmp_path: Path, line: str, sentence: str) -> None:
    assert sentence in refused(tmp_path, toy_toml(trial=line))


ODD = ("[[1]]", "[1, 'a']", "[{}]", "true", "1", "1.5", "1979-05-27", "{in_turn = [1, 2]}")


@pytest.mark.parametrize("value", ODD)
def test_frozen_parts_of_another_kind_are_one_sentence(tmp_path: Path, value: str) -> None:
    assert "frozen" in refused(tmp_path, toy_toml(trial=f"frozen = {value}"))


@pytest.mark.parametrize("seed", ["{in_turn = [[1], [2]]}", "{a = 1}", "'2'"])
def test_a_seed_of_another_kind_takes_nothing_in_turn(tmp_path: Path, seed: str) -> None:
    text = toy_toml(trial="lr = {in_turn = [0.1, 0.2]}").replace(
        "seed = [0, 1]", f"seed = [{seed}]"
    )
    assert "seed = " in refused(tmp_path, text)


def test_a_treatment_whose_resizer_is_no_text_is_one_sentence(tmp_path: Path) -> None:
    text = toy_toml().replace('resizer = "learned"', 'resizer = ["learned"]\ncontrols = "standard"')
    assert "resizer = ['learned']: input should be a valid string" in refused(tmp_path, text)


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf"])
def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path: Path, mark: bytes) -> None:
    path = tmp_path / "marked.toml"
    path.write_bytes(mark + toy_toml().encode())
    assert len(load(str(path)).trials) == 4


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
def test_other_encodings_are_one_sentence(tmp_path: Path, encoding: str) -> None:
    text = toy_toml(top='source = "café"')
    assert "is not TOML: " in refused(tmp_path, text.encode(encoding))


@pytest.mark.parametrize(
    "text",
    [
        "arm = 'x'",
        "arm = [1, 2]",
        "[[arm]]\nname = ['a']",
        "[arm]\nname = 'a'",
        "trial = []",
        "axes = 7",
        "[axes]\nseed = 3",
        "[axes]\nseed = [[1], {a = 1}]",
        "search = 'x'",
        "timing = [1]",
        "primary = 'learned'",
        "primary = ['a', 'b', 'c']",
        "question = 1979-05-27",
    ],
)
@pytest.mark.parametrize("small", [False, True])
def test_values_of_another_kind_are_one_sentence(tmp_path: Path, text: str, small: bool) -> None:
    lines = "question = 'q'\n" * ("question" not in text) + text + "\n"
    lines = lines + "[small]\nepochs = 1\n" if small else lines
    lines = lines if "trial" in text else lines + "[trial]\ndataset = 'toy'\n"
    assert refused(tmp_path, lines, small=small).startswith(f"{tmp_path.name}/asked.toml: ")


@pytest.mark.parametrize(
    "line", ["small = 1", "small = ['a']", "[small]\narm = 3", "[small]\naxes = []"]
)
def test_a_small_table_of_another_kind_is_one_sentence(tmp_path: Path, line: str) -> None:
    text = toy_toml() if line.startswith("[") else line + "\n" + toy_toml()
    assert "it is a table" in refused(
        tmp_path, text + "\n" + line * line.startswith("["), small=True
    )


@pytest.mark.parametrize("name", [*RESERVED, "Trials", ".hidden", "."])
def test_names_of_what_a_store_has_of_its_own_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.toml").write_text(toy_toml())
    with pytest.raises(InputError, match="is the name of something else; give the file"):
        load(str(tmp_path / f"{name}.toml"))


def test_a_file_whose_name_no_table_can_hold_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a\udcff.toml").write_text(toy_toml())
    with pytest.raises(InputError, match="names that are not UTF-8"):
        load(str(tmp_path / "a\udcff.toml"))


def test_two_files_of_one_name_do_not_replace_each_others_results(
    tmp_path: Path, store: Store
) -> None:
    files = [tmp_path / folder / "exp.toml" for folder in ("a", "b")]
    for file in files:
        file.parent.mkdir()
        file.write_text(toy_toml())
    first = load_from(store, str(files[0]), small=False)
    note_owner(store, first)
    assert load_from(store, str(files[0]), small=False).trials == first.trials
    with pytest.raises(InputError, match=r"/exp has the results of .*/a/exp.toml: give one of the"):
        load_from(store, str(files[1]), small=False)
    files[0].rename(tmp_path / "a" / "moved.toml")
    load_from(store, str(files[1]), small=False)  # the file is gone: its name is free
    note_owner(store, load(str(files[1])))
    check_owner(store, read(str(files[1])))


def test_a_small_run_of_one_file_and_another_file_keep_apart(
    tmp_path: Path, store: Store, write_experiment: WriteExperiment
) -> None:
    note_owner(store, write_experiment(name="exp"))
    (tmp_path / "b").mkdir()
    other = tmp_path / "b" / "exp.toml"
    other.write_text(toy_toml() + "\n[small]\nepochs = 1\n")
    check_owner(store, read(str(other), small=True))
    with pytest.raises(InputError, match=r"has the results of .*/exp.toml"):
        check_owner(store, read(str(other)))
