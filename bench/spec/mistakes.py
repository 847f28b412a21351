"""What is wrong with an experiment file, in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import BaseModel, ValidationError

from resizer.specs import nearest, one_of


def shown(file: Path) -> str:
    """The file as sentences name it."""
    return f"{file.parent.name}/{file.name}"


def brief(value: object, most: int = 200) -> str:
    """A value as a sentence quotes it: one of thousands of characters is cut.

    >>> brief("a" * 1000, most=5)
    "'aaaa…"
    """
    written = repr(value)
    return written if len(written) <= most else written[:most] + "…"


def sentence(
    file: Path,
    error: ValidationError,
    layers: Mapping[str, Mapping[str, object]],
    model: type[BaseModel],
) -> str:
    """The first thing that is wrong: file, table, field, value, what is allowed, nearest guess.

    Args:
        layers: tables by name, each with the fields that it sets, the strongest first.
        model: what the fields were meant to be.
    """
    first = error.errors(include_url=False)[0]
    parts = [str(part) for part in first["loc"] if not str(part).startswith("function")]
    field = ".".join(parts)
    table = next((name for name, fields in layers.items() if field in fields), "")
    if first["type"] == "extra_forbidden":
        inner = unknown(table or ".".join(parts[:-1]), parts[-1], _inner(model, parts[:-1]))
        return f"{shown(file)}: {inner}"
    where = f"{shown(file)}: " + (f"[{table}] " if table else "")
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] in ("dict_type", "model_type"):
        message = "it is a table"
    if first["type"] == "missing":
        return f"{where}{field!r} is missing"
    if not field:
        return f"{where}{message}"
    hint = ""
    if first["type"] == "literal_error" and isinstance(first["input"], str):
        allowed = first["ctx"]["expected"].replace(" or ", ", ").replace("'", "").split(", ")
        hint = nearest(first["input"], allowed)
    said = f"{where}{field} = {brief(first['input'])}: {message[0].lower()}{message[1:]}{hint}"
    return said.rstrip(".")


def unknown(table: str, field: str, known: Iterable[str]) -> str:
    where = f"[{table}] " if table else ""
    return f"{where}unknown field {field!r}{one_of(field, known)}"


def _inner(model: type[BaseModel], path: Iterable[str]) -> list[str]:
    """The fields of the table at `path`."""
    for name in path:
        inner = model.model_fields[name].annotation if name in model.model_fields else None
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
    return list(model.model_fields)
