"""Before a run: `list`, `new`, `plan`."""

from __future__ import annotations

import re
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.padding import Padding
from rich.table import Table

from bench.cli.console import duration, name_damaged, out, plain, say, wrapped_table
from bench.cli.options import Changes, Name, Small, opened, own_store, values
from bench.errors import InputError, counted
from bench.opening import crossed_from
from bench.paths import EXPERIMENTS, PUBLISHED
from bench.spec.experiment import Asked, Experiment
from bench.spec.files import check_name, read, shipped
from bench.spec.tuning import spaces

if TYPE_CHECKING:
    import pandas as pd

    from bench.analysis.planning import Design
    from bench.run.plan import Plan
    from bench.store import Store

OWN = EXPERIMENTS / "own"
"""Where `question.toml` and `sharpen.py` are, from which a new question begins."""

MOST_DESIGNS = 4  # a plan tells so many at the most; contexts of one design share its line


def list_experiments() -> None:
    """Show the experiments: what each asks, how far it is, how long it takes, what is published."""
    from bench.run.plan import make_plan, published_pace

    store, pace = own_store(), published_pace(PUBLISHED)
    names, refused = shipped(), []
    for name in names:
        asked, state = read(name), "a search, to be begun"
        try:
            if not asked.spec.search or _is_tuned(asked, store):
                state = progress(make_plan(crossed_from(store, asked), store, pace))
        except InputError as error:  # of one, which keeps nobody from the others
            state = "?"
            refused.append(str(error))
        sizes = {"full": name, "small": f"{name}-small"}.items()
        published = " and ".join(size for size, of in sizes if (PUBLISHED / of).is_dir())
        told = f"{state}; published: {published}" if published else state
        out.print(f"[bold]{name:{max(map(len, names))}}[/bold]  {told}", highlight=False)
        out.print(Padding(plain(asked.spec.question), (0, 0, 0, 2)))
    for line in refused:
        say(line)
    say("`plan NAME` tells more of one; `run NAME --small` asks most of them at a smaller size")


def progress(plan: Plan) -> str:
    """How far an experiment is, and how long the rest takes, where that is known."""
    if not plan.states:
        return "timed only"
    left = time_left(plan, plan.states)
    done = f"{plan.counts['ok']} of {len(plan.states)} finished"
    return done if left in ("-", "?") else f"{done}, {left} left"


def _is_tuned(asked: Asked, store: Store) -> bool:
    """Whether a search has found something for each of its arms."""
    search = asked.spec.search
    return search is not None and set(store.best(asked.name)) == set(search.arms)


def new(name: Annotated[str, typer.Argument(help="What to call the question.")]) -> None:
    """Begin a question of your own: an experiment's file and a front end, here, to be changed."""
    question, front_end = start(name, Path.cwd())
    say(f"wrote {question.name} and {front_end.name}: change them, then")
    say(f"  resizer-bench plan {question.name}")
    say(f"  resizer-bench run {question.name}")


def start(name: str, folder: Path) -> tuple[Path, Path]:
    """Write `NAME.toml` and the module of its front end into the folder; both plan at once.

    Raises:
        InputError: if the name is none of a file and a module, or is that of a shipped experiment,
            or one of the files is there.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
        allowed = "lower-case letters, digits, - and _ can, with a letter first"
        raise InputError(f"{name!r} cannot name a question: {allowed}")
    module = f"{name.replace('-', '_')}_front_ends" if name != "mine" else "my_front_ends"
    question, front_end = folder / f"{name}.toml", folder / f"{module}.py"
    check_name(question)
    if name in shipped():
        raise InputError(f"experiments/{name}.toml is shipped: give the new question another name")
    for path in (question, front_end):
        if path.exists():
            raise InputError(f"{path} is there already: give the new question another name")
    text = (OWN / "question.toml").read_text("utf-8")
    try:
        question.write_text(text.replace("experiments.own.sharpen", module), "utf-8")
        shutil.copyfile(OWN / "sharpen.py", front_end)
    except OSError:
        for path in (question, front_end):  # what is half written would keep its name taken
            path.unlink(missing_ok=True)
        raise
    return question, front_end


def plan(
    name: Name,
    small: Small = False,
    changes: Changes = None,
    every: Annotated[bool, typer.Option("--all", help="List every trial.")] = False,
    devices: Annotated[
        int, typer.Option(min=1, help="Time on so many GPUs, or machines without one.")
    ] = 1,
    hourly: Annotated[
        float | None, typer.Option(min=0, max=1e9, help="Price of one for an hour.")
    ] = None,
) -> None:
    """Show arms, counts, states and estimated time; run nothing."""
    from bench.run.plan import lacking, make_plan, published_pace

    store = own_store()
    asked = read(name, small=small, changes=values(changes))
    say(asked.spec.question, prose=True)
    if asked.spec.search:
        from bench.run.search import open_search

        searched = open_search(name, small=small)
        for line in (*search_lines(asked, store), *lacking(searched.example)):
            say(line)
        if not _is_tuned(asked, store):
            if every or devices > 1 or hourly is not None:
                said = "--all, --devices and --hourly are of known trials: a search draws its own"
                raise InputError(said)
            return
        say("to be retrained and validated, the best of them so far:")
    experiment, store = opened(name, small, changes)
    planned = make_plan(experiment, store, published_pace(PUBLISHED))
    out.print(plan_table(planned))
    name_damaged(store)
    for line in plan_lines(planned, store.table(experiment), devices, hourly):
        say(line)
    for key, state in planned.states.items() if every else ():
        say(f"{key}  {state:8} {experiment.trial_names[key]}")


def search_lines(asked: Asked, store: Store) -> Iterator[str]:
    """What each tuned arm chooses from, and how far its search is; a line each."""
    assert asked.spec.search
    tried, asked_for = store.tried(asked.name), counted(asked.spec.search.trials, "configuration")
    for arm, space in spaces(asked.spec).items():
        ranges = "; ".join(f"{name}: {of}" for name, of in space.ranges.items())
        yield f"{arm}: {tried[arm]} of {asked_for} of {ranges}"


def plan_table(plan: Plan) -> Table:
    """The arms of an experiment, with what each consists of and how far it is."""
    lines = []
    for arm in plan.experiment.spec.arm:
        trials = {c.trial.key: c.trial for c in plan.experiment.cells if c.arm == arm.name}
        states = sorted(plan.states.get(key, "timed only") for key in trials)
        line = (
            arm.name,
            arm.role,
            ", ".join(dict.fromkeys(trial.resizer for trial in trials.values())),
            shortened(list(dict.fromkeys(trial.size for trial in trials.values()))),
            str(len(trials)),
            ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states)),
            time_left(plan, trials),
        )
        lines.append(line)
    headings = ("arm", "role", "resizer", "sizes, px", "trials", "states", "time left")
    return wrapped_table(headings, lines, right=("trials", "time left"))


def plan_lines(
    plan: Plan, table: pd.DataFrame, devices: int, hourly: float | None
) -> Iterator[str]:
    """What is to be known of a plan besides its arms."""
    from bench.run.plan import lacking

    experiment, spec = plan.experiment, plan.experiment.spec
    yield from arm_lines(experiment)
    yield from design_lines(experiment, table)
    left = time_left(plan, experiment.trials)
    if spec.train:
        counts = ", ".join(f"{count} {state}" for state, count in plan.counts.items())
        yield f"{counted(len(experiment.trials), 'trial')}: {counts}; time left {left}"
    else:
        yield "nothing is trained: the arms are timed side by side"
    yield from cost_lines(plan, devices, hourly)
    yield from lacking(experiment)
    for arm in dict.fromkeys(request.arm for request in experiment.sizes.values()):
        yield f"{arm}: its size is counted or timed when the run begins; its trials are not in this"
    if spec.cost:
        yield f"cost: {spec.cost}"
    if left == "?" and not spec.search:
        yield f"`{experiment.command} --smoke` takes steps of every arm and gives estimates"


def arm_lines(experiment: Experiment) -> Iterator[str]:
    """What each arm tells and what it starts from, a line for each that says either."""
    for arm in experiment.spec.arm:
        starts = {to: None for field, to in arm.arms.items() if field != "match"}
        parts = (arm.isolates, f"starts from {' and '.join(starts)}" if starts else "")
        if any(parts):
            yield f"{arm.name}: {'; '.join(filter(None, parts))}"


def design_lines(experiment: Experiment, table: pd.DataFrame) -> Iterator[str]:
    """What the primary comparison will find, and how many seeds its margin takes."""
    from bench.analysis.planning import designs
    from bench.data.library import images

    spec, alike = experiment.spec, defaultdict[str, list[str]](list)
    if not (spec.primary and spec.train):
        return
    found = designs(table, spec.primary, spec.looks, lambda name: images(name, "val"))
    for design, contexts in found:
        alike[finds(design, spec.margin_pct)] += contexts
    for sentence, contexts in list(alike.items())[:MOST_DESIGNS]:
        of = contexts[0] if len(contexts) == 1 else f"{len(contexts)} comparisons alike"
        yield f"{sentence} ({of})" if of else sentence
    if left := sum(map(len, list(alike.values())[MOST_DESIGNS:])):
        yield counted(left, "more comparison")


def finds(design: Design, margin_pct: float) -> str:
    from bench.analysis.judging import LEAST_SEEDS

    if (most := max(design.looks.seeds)) < LEAST_SEEDS:
        return f"{counted(most, 'seed')}: a verdict needs {LEAST_SEEDS}."
    if design.images and 100 / design.images > margin_pct:
        margin = counted(margin_pct, "point")
        return f"{design.images} validation images cannot resolve {margin}: there is no verdict."
    least = [f"{design.finds(n):.1f} points or more with {n} seeds" for n in design.looks.seeds]
    needed = design.seeds_for(margin_pct) or "more than 1,000"
    kind = "published experiments of this kind" if design.lenders else "all that is published"
    return (
        f"In four of five experiments it will find {', '.join(least)}; for "
        f"{counted(margin_pct, 'point')} it takes {needed} seeds. A seed's difference spreads by "
        f"{design.sd:.1f} points in {kind}."
    )


def time_left(plan: Plan, keys: Iterable[str]) -> str:
    """Estimated time of the missing trials among `keys`; "?" where some have no estimate."""
    missing = [key for key in keys if plan.states.get(key) == "missing"]
    known = [plan.seconds[key] for key in missing if key in plan.seconds]
    if len(known) < len(missing):
        return "?"
    return duration(sum(known)) if missing else "-"


def cost_lines(plan: Plan, devices: int, hourly: float | None) -> Iterator[str]:
    """What the missing trials take on several devices, and their price; by whose pace, if lent."""
    elapsed = plan.elapsed_s(devices)
    if not elapsed:
        return
    if devices > 1 or hourly is not None:
        hours = devices * elapsed / 3600
        price = f", {hours * hourly:,.2f} at {hourly:g} an hour" if hourly is not None else ""
        yield (
            f"on {counted(devices, 'device')}: {duration(elapsed)}, {hours:.1f} device "
            f"hours{price}; timing comes on top"
        )
    if plan.lent:
        yield f"by the published pace of {', '.join(plan.lent)}"


def shortened(words: list[str], most: int = 4) -> str:
    """The first words of a list, and how many more there are.

    >>> shortened(["a", "b", "c"], most=2)
    'a, b, 1 more'
    """
    left = len(words) - most
    return ", ".join([*words[:most], f"{left} more"] if left > 0 else words)
