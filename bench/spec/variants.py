"""A variant of an experiment: what fields laid over its [trial] are called, and come from."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import tomllib
from collections.abc import Mapping

LONGEST = 80  # characters of what a variant's name ends in


def values(given: Mapping[str, str]) -> dict[str, object]:
    """What each text is in TOML, by field; one that is nothing in TOML stays a text.

    >>> values({"lr": "3e-4", "flip": "false", "backbone": "resnet18"})
    {'backbone': 'resnet18', 'flip': False, 'lr': 0.0003}
    """
    return {name: _value(text) for name, text in sorted(given.items())}


def _value(text: str) -> object:
    try:
        found = tomllib.loads(f"it = {text}")
    except (ValueError, RecursionError):
        return text
    return found["it"] if len(found) == 1 else text  # of several lines, others would be lost


def ending(changes: Mapping[str, object]) -> str:
    """What the name of the variant's results ends in; with a digest where a text is cut.

    >>> ending({"epochs": 5, "lr": 0.001}), ending({})
    ('+epochs=5,lr=0.001', '')
    """
    told = ",".join(_pairs(changes))
    plain = re.sub(r"[^A-Za-z0-9_.=,+-]+", "-", told)[:LONGEST]
    if plain != told:
        plain += f"-{hashlib.sha256(told.encode()).hexdigest()[:8]}"
    return f"+{plain}" if changes else ""


def options(changes: Mapping[str, object]) -> str:
    """The options that ask for the variant.

    >>> options({"epochs": 5, "pretrained": "my weights.pt"})
    " --set epochs=5 --set 'pretrained=my weights.pt'"
    >>> options({"lr": {"in_turn": [0.1, 0.2]}})
    " --set 'lr={in_turn = [0.1, 0.2]}'"
    """
    return "".join(f" --set {shlex.quote(pair)}" for pair in _pairs(changes))


def _pairs(changes: Mapping[str, object]) -> list[str]:
    return [f"{n}={v if isinstance(v, str) else _written(v)}" for n, v in changes.items()]


def _written(value: object) -> str:
    """A value as TOML has it, on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name} = {_written(of)}" for name, of in value.items()) + "}"
    return json.dumps(value, default=str)
