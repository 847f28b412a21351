from __future__ import annotations

import re
from typing import Any

import pytest

from bench.spec.ranges import Range, parsed, space


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"lgo": [1e-4, 1e-1]}, "unknown range 'lgo'; did you mean 'log'?"),
        ({}, "unknown range ''"),
        ({"choice": []}, "choice = []: there is nothing to choose from"),
        ({"choice": [[1], [2]]}, "texts, numbers, true and false are to choose from"),
        ({"choice": ["sgd", "sgd"]}, "names a value twice"),
        ({"log": 3}, "log = 3: it takes a list"),
        ({"log": [0.0, 1.0]}, "both ends are above zero"),
        ({"uniform": [1.0, 0.5]}, "the lower end comes first"),
        ({"uniform": [0.5, "a"]}, "it takes two numbers"),
        ({"int": [1, 2.5]}, "it takes two whole numbers"),
        ({"int": [True, 3]}, "it takes two whole numbers"),
        ({"log": [1.0, 2.0], "int": [1, 2]}, "a range is of one kind, not of log and int"),
    ],
)
def test_what_is_no_range_is_told_in_a_sentence(value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        parsed(value)


def first(_: str, of: Range) -> Any:
    return of.values[0]


def last(_: str, of: Range) -> Any:
    return of.values[-1]


FIELDS = {
    "momentum": {"uniform": [0.5, 0.99]},
    "num_resblocks": {"choice": [0, 2]},
    "zero_init": {"choice": [False, True]},
    "optimizer": {"choice": ["adamw", "sgd"]},
    "lr": {"log": [1e-4, 1e-1]},
}


def test_a_plain_arm_is_not_asked_for_the_resizers_options() -> None:
    chosen = space(FIELDS | {"resizer": "none"}).chosen(first)
    assert set(chosen) == {"optimizer", "lr"}


def test_a_learned_arm_is_asked_for_them_even_where_a_value_is_the_default() -> None:
    chosen = space(FIELDS | {"resizer": "learned"}).chosen(first)
    assert set(chosen) == {"optimizer", "lr", "num_resblocks", "zero_init"}


def test_momentum_is_asked_for_where_sgd_was_chosen_before_it() -> None:
    chosen = space(FIELDS | {"resizer": "none"}).chosen(last)
    assert chosen["optimizer"] == "sgd"
    assert chosen["momentum"] == 0.99


def test_a_choice_of_the_resizer_decides_whether_its_options_are_asked_for() -> None:
    fields = FIELDS | {"resizer": {"choice": ["none", "learned"]}}
    assert "num_resblocks" not in space(fields).chosen(first)
    assert "num_resblocks" in space(fields).chosen(last)


def test_ranges_that_no_choice_uses_are_left_out() -> None:
    assert set(space(FIELDS | {"resizer": "none"}).ranges) == {"momentum", "optimizer", "lr"}
    assert "momentum" not in space(FIELDS | {"optimizer": "adamw"}).ranges
