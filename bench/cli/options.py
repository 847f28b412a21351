"""What verbs have in common: arguments and options, how these are completed, what they open."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.errors import InputError
from bench.opening import load_from
from bench.paths import local_results
from bench.spec import variants
from bench.spec.experiment import Experiment
from bench.spec.files import shipped
from bench.spec.trial import Fields, Trial
from bench.store import Store


def experiments(begun: str) -> list[str]:
    files = [path.name for path in Path.cwd().glob("*.toml") if path.name != "pyproject.toml"]
    return [name for name in [*shipped(), *files] if name.startswith(begun)]


def datasets(begun: str) -> list[str]:
    from bench.data.library import known_names

    return [name for name in known_names() if name.startswith(begun)]


def fields(begun: str) -> list[str]:
    return [f"{name}=" for name in Trial.model_fields if name.startswith(begun)]


Name = Annotated[
    str,
    typer.Argument(
        help="An experiment of experiments/, or a TOML file.", autocompletion=experiments
    ),
]
DatasetName = Annotated[str, typer.Argument(help="As in `data list`.", autocompletion=datasets)]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", help="FIELD=VALUE: a variant, named so.", autocompletion=fields),
]
Small = Annotated[bool, typer.Option("--small", help="At the size that 2 CPU cores answer.")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Trials at once; by default one a GPU, or a core.")
]
ClusterAddress = Annotated[
    str | None,
    typer.Option("--cluster", metavar="ADDRESS", help="Run on a Ray cluster; `local` starts one."),
]
CpusPerTrial = Annotated[
    int | None, typer.Option(min=1, help="Cores of a trial on a cluster; 1 by default.")
]
ReusePublished = Annotated[
    bool, typer.Option("--reuse-published", help="Take finished trials from results/published.")
]
Retry = Annotated[bool, typer.Option("--retry", help="Run failed trials again.")]
Minutes = Annotated[
    float | None,
    typer.Option(
        "--for", metavar="MINUTES", min=0.01, max=1e6, help="Stop after so long; again = go on."
    ),
]


def own_store() -> Store:
    return Store(local_results())


def opened(name: str, small: bool, changes: list[str] | None = None) -> tuple[Experiment, Store]:
    """The experiment of this name, with the user's own results."""
    store = own_store()
    return load_from(store, name, small=small, changes=values(changes)), store


def values(changes: list[str] | None) -> Fields:
    return variants.values(pairs(changes or [], "--set"))


def pairs(asked: list[str], option: str) -> dict[str, str]:
    """What an option that is given as FIELD=VALUE, any number of times, says of each field."""
    found: dict[str, str] = {}
    for given in asked:
        field, equals, value = given.partition("=")
        if not equals:
            raise InputError(f"{option} {given!r} is not FIELD=VALUE")
        if field in found:
            raise InputError(f"{option} names {field!r} twice: it takes one value a field")
        found[field] = value
    return found
