"""Trials on a Ray cluster: this process plans, claims and writes, and a node trains.

No disk need be shared. What a trial starts from goes to its node, and its files come back; a node
without the data gets them from here. Every node has resizer-bench installed. A trial that is
stopped, or whose node is lost, begins again.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import socket
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import NodeDiedError, ObjectLostError, WorkerCrashedError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bench.data import library
from bench.data.building import staging
from bench.errors import InputError
from bench.events import Event, Listener, Placed, Step, epochs_of
from bench.machine import Share, cores, written_whole
from bench.records import write_record
from bench.run import jobs
from bench.run.executors import Choose
from bench.run.keeping import WEIGHTS
from bench.run.processes import DiedError, TimedOutError, call
from bench.spec.trial import Fields, Trial

MOST_RETRIES = 3
"""So often a trial is begun again whose node was lost."""
LOST = (NodeDiedError, ObjectLostError, WorkerCrashedError)

TELL_S = 2.0
"""Seconds between two reports of a trial that is under way."""

PIECE = 2**25
"""Bytes of a dataset's file that go to a node at once."""

Files = dict[str, bytes]
"""By path below a folder."""


class UnwantedError(Exception):
    """Raised on a node when its trial is wanted no more."""


@dataclass(frozen=True)
class Order:
    """All that a node must know to run a trial."""

    name: str  # of this attempt at it
    key: str
    trial: Fields
    inherited: Files  # of the trials that it goes back to, below the folder of all trials
    data: Mapping[str, tuple[str | None, str | None]]  # fingerprint and pixels, by dataset
    threads: int
    timeout_s: float


@dataclass(frozen=True)
class Answer:
    """What comes back of a trial: its files, or why there are none."""

    files: Files
    told: Sequence[Event]  # of its epochs
    error: InputError | DiedError | TimedOutError | None = None


class Desk:
    """The actor beside the driver: what trials tell, which are wanted no more, and the data."""

    def __init__(self) -> None:
        self.told: dict[str, list[Event]] = defaultdict(list)
        self.news = asyncio.Event()
        self.unwanted: set[str] = set()

    async def tell(self, name: str, events: list[Event]) -> bool:
        """Take in what a trial tells. Returns: whether it is still wanted."""
        self.told[name] += events
        self.news.set()
        return name not in self.unwanted

    async def heard(self) -> dict[str, list[Event]]:
        """What trials have told since the last time, by name, as soon as there is something."""
        await self.news.wait()
        told, self.told = self.told, defaultdict(list)
        self.news.clear()
        return dict(told)

    async def stop(self, name: str) -> None:
        self.unwanted.add(name)

    async def sizes(self, dataset: str) -> dict[str, int]:
        """The files of a dataset, and their bytes."""
        return {p.name: p.stat().st_size for p in (library.data_dir() / dataset).iterdir()}

    async def piece(self, dataset: str, file: str, start: int) -> bytes:
        with (library.data_dir() / dataset / file).open("rb") as opened:
            opened.seek(start)
            return opened.read(PIECE)


class Cluster:
    """The nodes of the cluster that this process has joined: one GPU a trial, if there are any.

    Args:
        workers: trials at once; by default as many as the nodes have room for now.
        cpus: cores and threads of each.
    """

    def __init__(self, workers: int | None, cpus: int) -> None:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self.gpus = int(any(node.get("GPU") for node in nodes))
        rooms = (
            min(node.get("CPU", 0) // cpus, node.get("GPU", 0) if self.gpus else cpus * 1e9)
            for node in nodes
        )
        self.cpus, self.workers = cpus, workers or max(1, int(sum(rooms)))
        what = f"{cpus} core{'' if cpus == 1 else 's'}{' and a GPU' if self.gpus else ''}"
        self.places = f"{self.workers} at a time on {len(nodes)} nodes, {what} each"
        self.task = ray.remote(max_retries=0, max_calls=0)(_on_a_node).options(
            num_cpus=cpus, num_gpus=self.gpus
        )
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self.desk: Any = ray.remote(Desk).options(num_cpus=0, scheduling_strategy=here).remote()
        self.numbers = itertools.count()
        self.hear: dict[str, Listener] = {}
        self.listening: asyncio.Task[None] | None = None

    async def train(
        self, trial: Trial, folder: Path, results: Path, tell: Listener, timeout_s: float
    ) -> None:
        for retries in range(MOST_RETRIES + 1):
            try:
                answer = await self._asked(trial, results / "trials", tell, timeout_s)
            except LOST:
                continue
            if answer.error:
                raise answer.error
            await asyncio.to_thread(_keep, folder, answer.files, retries)
            return
        raise DiedError(f"its node was lost {MOST_RETRIES + 1} times")

    async def _asked(self, trial: Trial, trials: Path, tell: Listener, timeout_s: float) -> Answer:
        """The answer of one attempt; all that it told has been passed on before."""
        order = Order(
            name=f"{trial.key} {next(self.numbers)}",
            key=trial.key,
            trial=trial.model_dump(),
            inherited=_inherited(trial, trials),
            data={trial.dataset: _content(trial.dataset)},
            threads=self.cpus,
            timeout_s=timeout_s,
        )
        answer = asyncio.ensure_future(self.task.remote(order, self.desk))
        epochs, problems = 0, list[Exception]()

        def hear(event: Event) -> None:
            nonlocal epochs
            if problems:
                return
            epochs += bool(epochs_of(event))
            try:
                tell(event)
            except Exception as error:  # it wants no more
                problems.append(error)
                answer.cancel()

        self.hear[order.name] = hear
        if self.listening is None or self.listening.done():
            self.listening = asyncio.create_task(self._listen())
        try:
            returned: Answer = await answer
        except asyncio.CancelledError:
            self.desk.stop.remote(order.name)
            if problems:
                raise problems[0] from None
            raise
        finally:
            del self.hear[order.name]
        for event in returned.told[epochs:]:
            tell(event)
        return returned

    async def _listen(self) -> None:
        """Pass on what the trials tell, while any is under way."""
        while True:
            for name, events in (await self.desk.heard.remote()).items():
                for event in events:
                    if name in self.hear:
                        self.hear[name](event)
            await asyncio.sleep(TELL_S / 2)


@contextmanager
def joined(address: str, cpus: int | None) -> Iterator[Choose]:
    """Join a cluster, or start one on this machine, for as long as the block runs.

    Args:
        address: "local", or of the head of a cluster: HOST:PORT, or "auto" on one of its nodes.
        cpus: cores of a trial; one by default.
    Raises:
        InputError: if it cannot be joined.
    """
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    own = {"num_cpus": cores()} if address == "local" else {"address": address}
    handler = signal.getsignal(signal.SIGTERM)
    try:
        if address not in ("local", "auto"):
            _reach(address)
        ray.init(**own, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        said = str(error).splitlines()[0]
        raise InputError(f"--cluster {address}: no cluster can be joined: {said}") from error
    signal.signal(signal.SIGTERM, handler)  # Ray sets its own

    def choose(
        trials: Iterable[Trial], cards: Sequence[str | None], *, workers: int | None = None
    ) -> Cluster:
        del trials, cards  # it has its own, and Ray fits the trials in
        return Cluster(workers, cpus or 1)

    try:
        yield choose
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Raise OSError or ValueError unless something answers there: Ray itself waits for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    socket.create_connection((host, int(port)), timeout=10).close()


def _content(dataset: str) -> tuple[str | None, str | None]:
    return library.fingerprint(dataset), library.pixels(dataset)


def _inherited(trial: Trial, trials: Path) -> Files:
    """The weights of those that it starts from, and the records of all that it goes back to."""
    weights = [f"{key}/{WEIGHTS}" for key in trial.parents if (trials / key / WEIGHTS).exists()]
    files = {name: (trials / name).read_bytes() for name in weights}
    keys = list(trial.parents)
    while keys:
        name = f"{keys.pop()}/record.json"
        files[name] = (trials / name).read_bytes()
        fields = json.loads(files[name])["trial"]
        keys += filter(None, (fields["resizer_from"], fields["backbone_from"]))
    return files


def _keep(folder: Path, files: Files, retries: int) -> None:
    """Put the files of a trial in its folder, the record last."""
    folder.mkdir(parents=True, exist_ok=True)
    record = json.loads(files["record.json"]) | ({"retries": retries} if retries else {})
    for name in files.keys() - {"record.json"}:
        with written_whole(folder / name) as file:
            file.write(files[name])
    write_record(folder, record)


def _on_a_node(order: Order, desk: Any) -> Answer:
    """Run a trial in a fresh process, in a folder that is then removed."""
    told: list[Event] = []
    waiting: list[Event] = []
    last = time.monotonic()

    def tell(event: Event) -> None:
        nonlocal last
        waiting[:] = [one for one in waiting if not isinstance(one, Step)] + [event]
        if epochs_of(event):
            told.append(event)
        if isinstance(event, Step) and time.monotonic() < last + TELL_S:
            return
        wanted = ray.get(desk.tell.remote(order.name, waiting))
        waiting.clear()
        last = time.monotonic()
        if not wanted:
            raise UnwantedError

    try:
        with tempfile.TemporaryDirectory() as place:
            return Answer(_trained(order, Path(place), desk, tell), told)
    except (InputError, DiedError, TimedOutError) as error:
        return Answer({}, told, error)
    except UnwantedError:
        return Answer({}, told)


def _trained(order: Order, place: Path, desk: Any, tell: Listener) -> Files:
    node = ray.util.get_node_ip_address()
    gpus = ",".join(map(str, ray.get_gpu_ids())) or None
    tell(Placed(f"{node}, GPU {gpus}" if gpus else node))
    trial = Trial(**order.trial)
    if trial.key != order.key:
        raise InputError(
            f"node {node} has another resizer-bench, or other code of {trial.resizer!r}"
        )
    for dataset, content in order.data.items():
        _stage(dataset, content, node, desk)
    for name, data in order.inherited.items():
        (path := place / "trials" / name).parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    share = Share(order.threads, gpus)
    folder, timeout_s = place / "done", order.timeout_s
    call(jobs.train, trial, folder, place, share, listener=tell, timeout_s=timeout_s)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _stage(dataset: str, wanted: tuple[str | None, str | None], node: str, desk: Any) -> None:
    """Have the data on this node: those of the driver's machine, and no others.

    Raises:
        InputError: if it has other data of this name.
    """
    if library.fingerprint(dataset) is None:
        place = library.data_dir() / dataset
        with staging(place) as folder:
            if library.fingerprint(dataset) is None:  # another process had the lock before
                (made := folder / "made").mkdir()
                for file, size in ray.get(desk.sizes.remote(dataset)).items():
                    _fetch(made / file, size, dataset, desk)
                made.rename(place)
        library.verify(dataset)
    if (here := _content(dataset)) != wanted:
        raise InputError(
            f"node {node} has other files called {dataset!r} in {library.data_dir()} (pixels "
            f"{str(here[1])[:12]}, not {str(wanted[1])[:12]}): move them away there, or set "
            "RESIZER_BENCH_DATA to another folder"
        )


def _fetch(path: Path, size: int, dataset: str, desk: Any) -> None:
    with path.open("wb") as file:
        for start in range(0, size, PIECE):
            file.write(ray.get(desk.piece.remote(dataset, path.name, start)))
