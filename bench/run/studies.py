"""Hyperparameter search: Optuna proposes configurations, their trials are run as any other.

Each tuned arm has a study of its own and the same number of configurations, taken in turns; what is
in the store is answered from it. The studies are in `searches/<name>/study.db`, and after every
configuration what is known is written to `searches/<name>/record.json`.
"""

from __future__ import annotations

import asyncio
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import optuna
from filelock import FileLock
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import DatabaseError

from bench.errors import InputError, MachineError, first_line, machine_trouble
from bench.events import Listener, Proposed, SearchBegun, Waiting
from bench.metrics import METRICS
from bench.records import Configuration, SearchRecord, TunedArm, write_record
from bench.run.claims import POLL_S, claim
from bench.run.executors import Choose, Local
from bench.run.processes import waited_for
from bench.run.readiness import prepare
from bench.run.search import Evaluate, Evaluator, Search, binding, finished, measures
from bench.seeds import seed_for
from bench.spec.ranges import Range
from bench.spec.trial import Fields, digest
from bench.spec.tuning import search_seed, written
from bench.store import Store

CANDIDATES = 24
"""TPE draws so many and takes the one of the largest expected improvement; Optuna's default."""
GOOD_SHARE = 0.25  # importances are of reaching the best so many of the configurations (PED-ANOVA)
OF_THE_FILE = (DatabaseError, optuna.exceptions.StorageInternalError)
"""Raised where the file of the studies cannot be read or written."""
NAMES = {TrialState.COMPLETE: "ok", TrialState.PRUNED: "pruned", TrialState.RUNNING: "running"}


def tune(
    search: Search, store: Store, listener: Listener, choose: Choose = Local, workers: int = 1
) -> SearchRecord:
    """Score configurations until every tuned arm has its number of them. Again = go on.

    Several processes may do so at once. Returns: the search's record.

    Args:
        choose: where they are scored.
        workers: how many at once. With more than one, what is proposed depends on which is done
            first. It is one where an objective is measured, which takes the machine for itself.
    Raises:
        InputError: before anything is run, if it cannot be; at the end, if an arm has no score.
    """
    tried = store.tried(search.name)
    on_record = {arm: tried[arm] for arm in search.spaces}
    begun = partial(SearchBegun, search.settings.trials, on_record)
    if finished(search, store):
        listener(begun())
    else:
        trials, known = search.tried, store.search(search.name)
        arms = known["arms"].values() if known else ()
        scored = [one["key"] for arm in arms for one in arm["configurations"] if one["key"]]
        cards = prepare(search.example, trials, store, listener, scored)
        at_once = 1 if measures(search.settings) else workers
        executor = choose(trials, cards, workers=at_once)
        listener(begun(executor.places))
        evaluate = Evaluator(search.spec, store, executor)
        Tuner(search, store, listener, evaluate, executor.workers).run()
    record = store.search(search.name)
    assert record
    for arm, tuned in record["arms"].items():
        if not tuned["best"]:
            reasons = [one["reason"] for one in tuned["configurations"] if one["reason"]]
            first = f"; the first: {reasons[0]}" if reasons else ""
            raise InputError(f"{search.name}: no configuration of {arm} came to a score{first}")
    return record


class Tuner:
    """One process at work on the studies of a search."""

    def __init__(
        self, search: Search, store: Store, listener: Listener, evaluate: Evaluate, workers: int = 1
    ) -> None:
        self.search, self.store, self.listener, self.evaluate = search, store, listener, evaluate
        self.workers = workers
        self.running = 0  # configurations that are being scored by this process
        self.settings = search.settings
        self.folder = store.search_folder(search.name)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file = self.folder / "study.db"
        self.gate = FileLock(self.folder / "lock")  # held while a configuration is drawn
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with self.gate, of_studies(self.file, *OF_THE_FILE, RuntimeError):  # that of another Optuna
            self.storage = RDBStorage("sqlite:///study.db", engine_kwargs=connected(self.file))
            bound = binding(search).items()
            self.studies = {arm: self._study(f"{arm} {to}") for arm, to in bound}

    def _study(self, name: str) -> optuna.Study:
        directions: list[Literal["maximize", "minimize"]] = [
            "maximize" if METRICS[objective].better == "higher" else "minimize"
            for objective in self.settings.objectives
        ]
        median = self._pruner_arguments
        return optuna.create_study(
            storage=self.storage,
            study_name=name,
            directions=directions,
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(**median) if median else optuna.pruners.NopPruner(),
        )

    @property
    def _sampler_arguments(self) -> Fields:
        if self.settings.sampler == "random":
            return {}
        return {
            "n_startup_trials": self.settings.startup_trials,
            "n_ei_candidates": CANDIDATES,
            "multivariate": True,
            "group": False,
            "constant_liar": True,
        }

    @property
    def _pruner_arguments(self) -> Fields:
        if not self.settings.prunes:
            return {}
        return {
            "n_startup_trials": self.settings.pruner_startup_trials,
            "n_warmup_steps": self.settings.pruner_warmup_epochs + 1,  # the first that may prune
            "interval_steps": 1,
            "n_min_trials": 1,
        }

    def _sampler(self, arm: str, number: int) -> optuna.samplers.BaseSampler:
        """Seeded by the configuration's number, so that a resumed search draws nothing twice."""
        seed = seed_for("sampler", search_seed(self.search.spec, arm), number) % 2**32
        if self.settings.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
            return optuna.samplers.TPESampler(**self._sampler_arguments, seed=seed)

    def run(self) -> None:
        """Score configurations, so many at once, until there is none left and none running."""
        with of_studies(self.file, *OF_THE_FILE):
            waited_for(self._run())

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self.workers):
                group.create_task(self._work())
        self.export(weighed=True)

    async def _work(self) -> None:
        """Draw and score while there is something to draw, and then wait for other processes."""
        while True:
            with ExitStack() as lease:
                with self.gate:
                    drawn = self._drawn(lease)
                if drawn:
                    await self._one(*drawn)
                    continue
            running = sum(len(_running(study)) for study in self.studies.values())
            if self.running or not running:
                return  # another of ours, still at work, will wait
            self.listener(Waiting(running, "configuration"))
            await asyncio.sleep(POLL_S)

    def _drawn(self, lease: ExitStack) -> tuple[str, optuna.Trial] | None:
        """The next configuration, of the arms in turns, leased; None without any."""
        for study in self.studies.values():
            self._take_up_the_lost(study)
        taken = {arm: len(counted(study)) for arm, study in self.studies.items()}
        arm = min(taken, key=lambda name: taken[name])
        if taken[arm] >= self.settings.trials:
            return None
        study = self.studies[arm]
        study.sampler = self._sampler(arm, len(study.get_trials(deepcopy=False)))
        proposal = study.ask()
        lease.enter_context(self._leased(study, proposal.number))
        return arm, proposal

    def _leased(self, study: optuna.Study, number: int) -> AbstractContextManager[bool]:
        """Hold a configuration; False if a worker is at it that is alive."""
        of = digest(f"{self.search.name} {study.study_name}".encode())[:16]
        return claim(self.store, f"{of} {number}")

    def _take_up_the_lost(self, study: optuna.Study) -> None:
        """Draw again what no worker is at any more. For who holds the gate: nobody is drawing."""
        for trial in _running(study):
            with self._leased(study, trial.number) as lost:
                if lost:
                    study.tell(trial.number, state=TrialState.FAIL)
                    given = trial.system_attrs.get("fixed_params", {})
                    study.enqueue_trial(given | trial.params)

    async def _one(self, arm: str, proposal: optuna.Trial) -> None:
        """Score a configuration and tell Optuna; one that is cut short is left to be taken up."""
        study = self.studies[arm]
        self.running += 1
        try:
            state, values = await self._scored(arm, proposal)
            study.tell(proposal, values, state, skip_if_finished=True)
        except UpdateFinishedTrialError:
            pass  # this worker was taken for dead, as while it is stopped, and it is drawn again
        finally:
            self.running -= 1
        self.export()

    async def _scored(
        self, arm: str, proposal: optuna.Trial
    ) -> tuple[TrialState, list[float] | None]:
        """How a configuration ended, and the values of the objectives if it came to them."""
        chosen = self.search.spaces[arm].chosen(partial(_suggested, proposal))
        trial = self.search.trial(arm, chosen)
        proposal.set_user_attr("chosen", chosen)
        proposal.set_user_attr("key", trial.key)
        self.listener(Proposed(arm, proposal.number, chosen, trial))
        record = await self.evaluate(trial, proposal, self.listener)
        if record["status"] == "pruned":
            return TrialState.PRUNED, None
        if record["status"] != "ok":
            proposal.set_user_attr("failed", f"{record['status']}: {record['reason']}")
            return TrialState.FAIL, None
        metrics = record["metrics"]
        return TrialState.COMPLETE, [metrics[name]["value"] for name in self.settings.objectives]

    def export(self, *, weighed: bool = False) -> None:
        """Write what the studies hold to the search's record, at the end with importances."""
        with self.gate:
            record: SearchRecord = {
                "status": "ok",
                "reason": "",
                "asked": binding(self.search),
                "optuna": optuna.__version__,
                "sampler": {"name": self.settings.sampler, **self._sampler_arguments},
                "pruner": self._pruner_arguments or {"name": "none"},
                "settings": self.settings.model_dump(),
                "spaces": written(self.search.spec),
                "arms": {arm: self._exported(of, weighed) for arm, of in self.studies.items()},
            }
            write_record(self.folder, record)

    def _exported(self, study: optuna.Study, weighed: bool) -> TunedArm:
        done, several = study.best_trials, len(self.settings.objectives) > 1
        if not several:
            done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        best: dict[str, FrozenTrial] = {}
        for trial in sorted(done, key=lambda one: (-one.values[0], one.number)):
            best.setdefault(trial.user_attrs["key"], trial)
        numbers = [trial.number for trial in best.values()]
        return {
            "configurations": [self._row(trial) for trial in counted(study)],
            "best": numbers[: self.settings.retrain],
            "front": numbers if several else [],
            "importances": importances(study) if weighed else {},
        }

    def _row(self, trial: FrozenTrial) -> Configuration:
        """A configuration with what it scored and what it cost."""
        key = trial.user_attrs.get("key")
        record = self.store.trial(key) if key else None
        return {
            "number": trial.number,
            "state": NAMES.get(trial.state, "failed"),
            "reason": trial.user_attrs.get("failed", ""),
            "key": key,
            "chosen": trial.user_attrs.get("chosen", {}),
            "values": trial.values,
            "epochs": len(record.get("curve", [])) if record else 0,
            "seconds": record.get("wall_s", 0.0) if record else 0.0,
        }


def _suggested(proposal: optuna.Trial, name: str, of: Range) -> object:
    if of.kind == "choice":
        return proposal.suggest_categorical(name, of.values)
    low, high = of.ends
    if of.kind == "int":
        return proposal.suggest_int(name, int(low), int(high))
    return proposal.suggest_float(name, low, high, log=of.kind == "log")


@contextmanager
def of_studies(file: Path, *raised: type[Exception]) -> Iterator[None]:
    """Tell what is wrong with the file of the studies, or with the disk that it is on.

    Raises:
        MachineError: in place of one that was raised, where that is the machine's.
        InputError: in place of any other.
    """
    try:
        yield
    except raised as error:
        cause = error.__cause__ or error
        if trouble := machine_trouble(cause):
            raise MachineError(f"{file}: {trouble}") from error
        raise InputError(
            f"{file} is damaged or of another version ({first_line(cause)}): move {file.parent} "
            "away to begin the search anew"
        ) from error


def connected(file: Path) -> dict[str, object]:
    """How SQLAlchemy opens a file: not by an address, in which "?" and "%" mean something."""
    return {"creator": partial(sqlite3.connect, file, timeout=60, check_same_thread=False)}


def counted(study: optuna.Study) -> list[FrozenTrial]:
    """The configurations that count: scored, pruned, failed by themselves, or running."""
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state in NAMES or "failed" in trial.user_attrs
    ]


def _running(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def importances(study: optuna.Study) -> dict[str, float]:
    """The share that each field has in being among the best, or near the front; {} if few."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    shared = set.intersection(*(set(trial.params) for trial in done)) if done else set()
    varied = [name for name in shared if len({trial.params[name] for trial in done}) > 1]
    if len(done) < 4 or not varied:
        return {}
    # imports scikit-learn where there is one, which takes seconds
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    evaluator = PedAnovaImportanceEvaluator(
        target_quantile=GOOD_SHARE, region_quantile=1.0, evaluate_on_local=True
    )
    with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
        return get_param_importances(study, evaluator=evaluator, params=varied, target=None)
