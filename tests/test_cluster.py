"""Trials on a cluster: what they come to is what they come to here, whatever happens to nodes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.data import library
from bench.errors import InputError
from bench.events import Event, Step, TrialProgress, ignore
from bench.paths import PROJECT
from bench.records import SearchRecord
from bench.run import runner
from bench.run.executors import Local
from bench.run.search import open_search
from bench.run.studies import tune
from bench.spec.experiment import Experiment
from bench.spec.files import load
from bench.store import Store
from tests.conftest import WriteExperiment, toy_toml
from tests.held import WHILE

ray = pytest.importorskip("ray", reason="Ray is not installed (the extra `cluster`)")
from ray.cluster_utils import Cluster  # noqa: E402

from bench.run.cluster import joined  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::ResourceWarning")
"""Ray's own: it announces changes, and leaves sockets and files open."""

MISSED_SOON = {"health_check_period_ms": 500, "health_check_failure_threshold": 3}
"""How Ray notices that a node is gone: by default after half a minute."""

WARM = """
[[arm]]
name = "warm"
resizer = "learned"
num_kernels = 4
init_from = "plain"
"""


class Nodes:
    """A head without resources, and nodes of one core and one logical GPU each."""

    def __init__(self, data: Path, held_while: Path) -> None:
        os.environ["RESIZER_BENCH_DATA"] = str(data)  # of the head, where the driver is
        head = {"num_cpus": 0, "_system_config": MISSED_SOON}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.nodes: dict[Path, Any] = {}
        self.held_while = held_while
        self.environment = {"PYTHONPATH": str(PROJECT), WHILE: str(held_while)}

    def have(self, *data: Path) -> str:
        """Let there be a node for each folder of data, and no others; the cluster's address."""
        for folder in set(self.nodes) - set(data):
            self.cluster.remove_node(self.nodes.pop(folder))
        for folder in data:
            if folder not in self.nodes:
                own = {"RESIZER_BENCH_DATA": str(folder)} | self.environment
                node = self.cluster.add_node(num_cpus=1, num_gpus=1, env_vars=own)
                self.nodes[folder] = node
        return str(self.cluster.address)


@pytest.fixture(scope="module")
def nodes(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESIZER_BENCH_DATA", str(data_folder))
        made = Nodes(data_folder, tmp_path_factory.mktemp("held") / "while")
        yield made
        made.cluster.shutdown()


def ran(experiment: Experiment, store: Store, address: str | None, listen: Any) -> None:
    """Run the trials of seed 0, on a cluster or here with one thread each."""
    run = partial(runner.run, experiment, store, listen, where={"seed": "0"})
    if address is None:
        run(choose=partial(Local, workers=2))
        return
    with joined(address, cpus=1) as choose:
        run(choose=choose)


def test_a_run_that_loses_a_node_comes_to_what_it_comes_to_here(
    tmp_path: Path,
    store: Store,
    data_folder: Path,
    write_experiment: WriteExperiment,
    nodes: Nodes,
) -> None:
    file = write_experiment(rest=WARM).file
    file.write_text(file.read_text().replace(' "learned"\nnum', ' "tests.held:Held"\nnum'))
    experiment = load(str(file))
    under_way: set[str] = set()
    nodes.held_while.touch()

    def lose_one(event: Event) -> None:
        match event:
            case TrialProgress(trial=trial, told=Step()) if trial.resizer == "tests.held:Held":
                under_way.add(trial.key)
        if len(under_way) == 2 and len(nodes.nodes) == 2:
            nodes.have(data_folder)
            nodes.held_while.unlink()

    ran(experiment, store, nodes.have(data_folder, tmp_path / "empty"), lose_one)
    assert library.fingerprint("toy")
    here = Store(tmp_path / "here")
    ran(experiment, here, None, ignore)
    keys = [key for key, trial in experiment.trials.items() if trial.seed == 0]
    assert sorted(store.kept()) == sorted(keys)
    records = [store.trial(key) for key in keys]
    assert sorted(record.get("retries", 0) for record in records if record) == [0, 0, 1]
    for key in keys:
        np.testing.assert_array_equal(store.predictions(key), here.predictions(key))


def test_a_killed_run_goes_on_with_what_is_left(
    store: Store, data_folder: Path, write_experiment: WriteExperiment, nodes: Nodes
) -> None:
    experiment = write_experiment()
    address = nodes.have(data_folder)
    command = [sys.executable, "-m", "bench", "run", str(experiment.file), "--cluster", address]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL) as killed:
        while not store.kept():
            assert killed.poll() is None
            time.sleep(0.05)
        killed.kill()
    kept = {key: store.trial(key) for key in store.kept()}
    with joined(address, cpus=1) as choose:
        outcome = runner.run(experiment, store, ignore, choose=choose)
    assert outcome.plan.counts == {"ok": 4}
    assert {key: store.trial(key) for key in kept} == kept
    assert store.timings(experiment)


def test_a_search_with_one_configuration_at_a_time_has_the_numbers_of_one_here(
    tmp_path: Path, store: Store, data_folder: Path, nodes: Nodes
) -> None:
    rest = '[search]\narms = ["plain", "learned"]\ntrials = 3\nholdout = 0.3\n'
    rest += "pruner_startup_trials = 1\npruner_warmup_epochs = 0\n"
    file = tmp_path / "tuned.toml"
    file.write_text(toy_toml(trial="lr = { log = [1e-4, 1e-1] }", rest=rest))
    found = open_search(str(file))
    with joined(nodes.have(data_folder), cpus=1) as choose:
        there = tune(found, store, ignore, choose)
    here = tune(found, Store(tmp_path / "here"), ignore, partial(Local, workers=2))
    assert scores(there) == scores(here)


def scores(record: SearchRecord) -> list[Any]:
    """What was chosen, and what came of it."""
    rows = [row for arm in record["arms"].values() for row in arm["configurations"]]
    return [(row["chosen"], row["state"], row["epochs"], row["values"]) for row in rows]


def test_a_node_with_other_data_of_the_name_is_refused_in_a_sentence(
    tmp_path: Path,
    store: Store,
    data_folder: Path,
    write_experiment: WriteExperiment,
    nodes: Nodes,
) -> None:
    other = tmp_path / "other"
    shutil.copytree(data_folder / "toy", other / "toy")
    manifest = json.loads((other / "toy" / "manifest.json").read_text())
    (other / "toy" / "manifest.json").write_text(json.dumps(manifest | {"fingerprint": "f" * 64}))
    said = r"^node \S+ has other files called 'toy' in .*/other \(fingerprint f{12}, not \w{12}\): "
    with pytest.raises(InputError, match=said):
        ran(write_experiment(), store, nodes.have(other), ignore)
    assert not store.kept()
    assert library.fingerprint("toy") != "f" * 64


def test_a_trial_that_no_node_has_room_for_is_one_sentence(data_folder: Path, nodes: Nodes) -> None:
    said = "a trial takes 99 cores and a GPU, and no node has so much"
    with joined(nodes.have(data_folder), cpus=99) as choose:
        with pytest.raises(InputError, match=said):
            choose([], [])
        assert choose([], [], workers=3).workers == 3


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1:1", ""),
        ("myhost", "an address is HOST:PORT of its head, auto or local"),
        ("head:six", "an address is HOST:PORT"),
        ("ray://127.0.0.1:1", "an address is HOST:PORT"),
    ],
)
def test_a_cluster_that_is_not_there_is_one_sentence(address: str, why: str) -> None:
    with (
        pytest.raises(InputError, match=rf"--cluster {address}: no cluster can be joined: {why}"),
        joined(address, cpus=None),
    ):
        pass


def test_a_cluster_that_answers_and_lets_nobody_in_may_want_a_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def denied(*_: object, **__: object) -> None:
        raise ConnectionError("Failed to connect to Ray cluster at here:6379")

    monkeypatch.setattr(ray, "init", denied)
    with (
        pytest.raises(InputError, match="at here:6379; one that was started with tokens needs RAY"),
        joined("auto", cpus=None),
    ):
        pass


def test_a_local_cluster_is_a_new_one_whatever_runs_on_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(ray, "init", lambda address=None, **_: asked.append(address))
    with joined("local", cpus=None):
        pass
    assert asked == ["local"]
