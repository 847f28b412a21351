"""Trials on a Ray cluster: this process plans, claims and writes, and a node trains.

No disk need be shared. What a trial starts from goes to its node, and its files come back; a node
without the data gets them from here. Every node has resizer-bench installed. A trial that is
stopped, or whose node is lost, begins again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray import exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bench.data import library
from bench.data.building import staging
from bench.errors import InputError, counted
from bench.events import Event, Listener, Placed, Step
from bench.machine import Share, cores, written_whole
from bench.paths import WEIGHTS
from bench.records import other_content, write_record
from bench.run import jobs
from bench.run.executors import Choose
from bench.run.processes import DiedError, perform
from bench.spec.trial import Fields, Trial

MOST_RETRIES = 3  # so often a trial is begun again whose node was lost
LOST = (exceptions.NodeDiedError, exceptions.ObjectLostError, exceptions.WorkerCrashedError)

TELL_S = 2.0  # seconds between two reports of a trial that is under way
PIECE = 2**25  # bytes of a dataset's file that go to a node at once
AHEAD = 2  # so many pieces wait for a node that is slower than the disk
T = TypeVar("T")
Files = dict[str, bytes]
"""By path below a folder."""


@dataclass(frozen=True)
class Order:
    """All that a node must know to run a trial."""

    key: str
    trial: Fields
    inherited: Files  # of the trials that it goes back to, below the folder of all trials
    home: str  # the driver's node
    data: Path  # the dataset's folder there
    content: dict[str, str]  # digests that its dataset must have
    threads: int
    timeout_s: float


class Cluster:
    """The nodes of the cluster that this process has joined: one GPU a trial, if there are any.

    Args:
        cpus: cores and threads of a trial.
        workers: trials at once; by default as many as the nodes have room for now.
    """

    def __init__(
        self,
        _trials: Iterable[Trial],  # Ray fits them in
        _cards: Sequence[str | None],  # each node has its own
        *,
        cpus: int,
        workers: int | None = None,
    ) -> None:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpus = int(any(node.get("GPU") for node in nodes))
        need = {"CPU": cpus, "GPU": gpus} if gpus else {"CPU": cpus}
        rooms = [min(node.get(name, 0) // n for name, n in need.items()) for node in nodes]
        what = counted(cpus, "core") + (" and a GPU" if gpus else "")
        self.cpus, self.workers = cpus, workers or int(sum(rooms))
        if not self.workers:
            raise InputError(
                f"--cluster: a trial takes {what}, and no node has so much; --workers waits for "
                "nodes that are still to come"
            )
        self.places = f"{self.workers} at a time on {counted(len(nodes), 'node')}, {what} each"
        self.task = _streaming(_on_a_node, num_cpus=cpus, num_gpus=gpus, max_calls=0)

    async def train(
        self, trial: Trial, folder: Path, results: Path, tell: Listener, timeout_s: float
    ) -> None:
        order = Order(
            key=trial.key,
            trial=trial.model_dump(),
            inherited=_inherited(trial, results / "trials"),
            home=ray.get_runtime_context().get_node_id(),
            data=library.data_dir() / trial.dataset,
            content=library.content(trial.dataset),
            threads=self.cpus,
            timeout_s=timeout_s,
        )
        for retries in range(MOST_RETRIES + 1):
            try:
                files = await self._asked(order, tell)
            except LOST:
                continue
            await asyncio.to_thread(_keep, folder, files, retries)
            return
        raise DiedError(f"its node was lost {MOST_RETRIES + 1} times")

    async def _asked(self, order: Order, tell: Listener) -> Files:
        """The trial's files, of one attempt; what it tells is passed on before."""
        stream = self.task.remote(order)
        try:
            async for reference in stream:
                told: list[Event] | Files = await reference
                if isinstance(told, dict):
                    return told
                for event in told:
                    tell(event)
        except exceptions.RayTaskError as error:
            raise error.cause from None  # as the node raised it
        except exceptions.OutOfMemoryError:
            raise DiedError("its node ended it for lack of memory") from None
        except BaseException:
            ray.cancel(stream)
            raise
        raise DiedError("its node told no more")


def _streaming(job: Callable[[T], Iterator[object]], **options: object) -> Any:
    """A task of Ray's that gives one thing after the other, and that nobody else begins again."""
    remote: Any = ray.remote
    return remote(num_returns="streaming", max_retries=0, **options)(job)


@contextmanager
def joined(address: str, cpus: int | None) -> Iterator[Choose]:
    """Join a cluster, or start one on this machine, for as long as the block runs.

    Args:
        address: "local", or of the head of a cluster: HOST:PORT, or "auto" on one of its nodes.
        cpus: cores of a trial; one by default.
    Raises:
        InputError: if it cannot be joined.
    """
    own_cores = cores() if address == "local" else None
    handler = signal.getsignal(signal.SIGTERM)
    try:
        if address not in ("local", "auto"):
            _reach(address)
        ray.init(address, num_cpus=own_cores, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        said = f"no cluster can be joined: {str(error).splitlines()[0]}"
        if type(error) is ConnectionError:  # Ray's own, of something that answers
            said += "; one that was started with tokens needs RAY_AUTH_MODE=token here"
        raise InputError(f"--cluster {address}: {said}") from error
    signal.signal(signal.SIGTERM, handler)  # Ray sets its own
    try:
        yield partial(Cluster, cpus=cpus or 1)
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Raise OSError or ValueError unless something answers there: Ray itself waits for minutes."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()) or "/" in host:
        raise ValueError("an address is HOST:PORT of its head, auto or local")
    socket.create_connection((host, int(port)), timeout=10).close()


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


def _on_a_node(order: Order) -> Iterator[list[Event] | Files]:
    """Run a trial in a fresh process; gives what it tells, now and then, and last its files."""
    told: list[Event] = []
    with tempfile.TemporaryDirectory() as place, asyncio.Runner() as runner:
        work = runner.get_loop().create_task(_trained(order, Path(place), told.append))
        while not work.done():
            runner.run(asyncio.wait({work}, timeout=TELL_S))
            if told:
                yield [e for e in told if not isinstance(e, Step) or e is told[-1]]
                told.clear()
        yield work.result()


async def _trained(order: Order, place: Path, tell: Listener) -> Files:
    node = ray.util.get_node_ip_address()
    gpus = ",".join(map(str, ray.get_gpu_ids())) or None
    tell(Placed(f"{node}, GPU {gpus}" if gpus else node))
    trial, folder = Trial(**order.trial), place / "done"
    if trial.key != order.key:
        said = f"node {node} has another resizer-bench, or other code of {trial.resizer!r}"
        raise InputError(said)
    _stage(order, node)
    for name, data in order.inherited.items():
        (path := place / "trials" / name).parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    asked = trial, folder, place, Share(order.threads, gpus)
    await perform(jobs.train, *asked, listener=tell, timeout_s=order.timeout_s)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _stage(order: Order, node: str) -> None:
    """Have the data on this node: those of the driver's machine, and no others."""
    dataset = order.data.name
    if library.fingerprint(dataset) is None:
        place = library.data_dir() / dataset
        with staging(place) as folder:
            if library.fingerprint(dataset) is None:  # another process had the lock before
                (made := folder / "made").mkdir()
                for reference in _pieces_of(order):
                    name, piece = ray.get(reference)
                    with (made / name).open("ab") as file:
                        file.write(piece)
                made.rename(place)
        library.verify(dataset)
    if why := other_content(library.content(dataset), order.content):
        raise InputError(
            f"node {node} has other files called {dataset!r} in {library.data_dir()} ({why}): "
            "move them away there, or set RESIZER_BENCH_DATA to another folder"
        )


def _pieces_of(order: Order) -> Iterator[Any]:
    """References to the pieces of the dataset, which a task on the driver's node reads."""
    there = NodeAffinitySchedulingStrategy(order.home, soft=False)
    options = {"scheduling_strategy": there, "_generator_backpressure_num_objects": AHEAD}
    yield from _streaming(_pieces, num_cpus=0, **options).remote(order.data)


def _pieces(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The files in a folder of the driver's machine, by name, in pieces."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                yield path.name, piece
