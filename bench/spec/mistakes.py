"""What is wrong with an experiment file, in one sentence."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, ValidationError

from bench.errors import InputError
from bench.spec.experiment import ExperimentFile
from bench.spec.trial import Fields, Trial
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


@contextmanager
def of_file(file: Path, raw: Fields | None = None, *, small: bool = False) -> Iterator[None]:
    """Tell what is wrong with a file as one sentence that begins with its name.

    Args:
        raw: what is in the file, by which its arms are named.
        small: whether its [small] is laid over its other tables.
    Raises:
        InputError: in place of a ValueError.
    """
    where = shown(file) + (" with its [small]" if small else "")
    try:
        yield
    except InputError:
        raise
    except ValidationError as error:
        said = sentence(error, {}, ExperimentFile, raw or {})
        raise InputError(f"{where}: {said}") from None
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None


def sentence(
    error: ValidationError,
    layers: Mapping[str, Fields],
    model: type[BaseModel],
    raw: Fields | None = None,
) -> str:
    """The first thing that is wrong: table, field, value, what is allowed, nearest guess.

    A field that nobody knows goes first: misspelt, it is why another one is missing.

    Args:
        layers: tables by name, each with the fields that it sets, the strongest first.
        model: what the fields were meant to be.
        raw: their values; of several tables of a kind, one is called by the `name` that it has.
    """
    errors = error.errors(include_url=False)
    first = min(errors, key=lambda one: one["type"] != "extra_forbidden")
    found = [f"#{part + 1}" if isinstance(part, int) else part for part in first["loc"]]
    path = [of for of in found if of not in ("bool", "str") and not of.startswith("function")]
    named = _named(first["loc"], raw or {})
    parts = path[2:] if named else path
    field, kind, given = ".".join(parts), first["type"], first["input"]
    table = named or next((name for name, of in layers.items() if not field or parts[0] in of), "")
    if kind == "extra_forbidden":
        return unknown(table or ".".join(parts[:-1]), parts[-1], _inner(model, path[:-1]))
    where = f"[{table}] " if table else ""
    if kind == "missing":
        return f"{where}{field!r} is missing"
    message = first["msg"].removeprefix("Value error, ")
    message = message.replace("Tuple", "List").replace("tuple", "list")  # as TOML calls it
    if kind == "value_error":  # of several fields of a table
        return f"[{table or field}] {message}"
    if kind in ("dict_type", "model_type"):
        message = "it is a table"
    if kind == "literal_error" and isinstance(given, str):
        allowed = first["ctx"]["expected"].replace(" or ", ", ").replace("'", "").split(", ")
        message += nearest(given, allowed)
    return f"{where}{field} = {brief(given)}: {message[0].lower()}{message[1:]}".rstrip(".")


def _named(place: tuple[int | str, ...], raw: Fields) -> str:
    """The table of several that a place is in, by its name: `arm 'plain'`; "" of one without."""
    match place:
        case (str(kind), int(at), *_):
            tables = raw.get(kind)
            one = tables[at] if isinstance(tables, list) and at < len(tables) else None
            name = one.get("name") if isinstance(one, dict) else None
            return f"{kind} {brief(name)}" if isinstance(name, str) else ""
    return ""


def check_arm(where: str, name: str, arms: Collection[str]) -> None:
    """Raise ValueError unless there is an arm of the name that stands in `where`."""
    if name not in arms:
        raise ValueError(f"{where} names the arm {name!r}, which is not there{one_of(name, arms)}")


def unknown(table: str, field: str, known: Iterable[str]) -> str:
    """The sentence on a field that its table does not know, with the place that it belongs to."""
    where = f"[{table}] " if table else ""
    if table and field in ExperimentFile.model_fields:
        return f"{where}{field!r} stands at the top of the file, before its first table"
    if not table and field in Trial.model_fields:
        return f"{field!r} stands in [trial], or in an arm of its own"
    return f"{where}unknown field {field!r}{one_of(field, known)}"


def _inner(model: type[BaseModel], path: Iterable[str]) -> list[str]:
    """The fields of the table at `path`, which may be optional, or one of several."""
    for name in path:
        if name in model.model_fields:
            type_ = model.model_fields[name].annotation
            tables = (of for of in (type_, *get_args(type_)) if isinstance(of, type))
            model = next((of for of in tables if issubclass(of, BaseModel)), model)
    return list(model.model_fields)
