"""Answers to the configurations that a search proposes: from the store, or by running the trial."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import optuna

from bench.run import timing as lane
from bench.run.runner import Listener, PrunedError, attempt, claim
from bench.spec.experiment import ExperimentFile, Trial
from bench.store import Record, Store, read_record

POLL_S = 1.0
"""Between two looks at what another process is doing."""

Evaluate = Callable[[Trial, optuna.Trial, Listener], Record]
"""Gives the record of a configuration's trial; reports to Optuna's trial while it runs."""


class Evaluator:
    """What answers configurations: the store, or else the runner's road."""

    def __init__(self, spec: ExperimentFile, store: Store) -> None:
        assert spec.search
        self.spec, self.store, self.settings = spec, store, spec.search

    def __call__(self, trial: Trial, asked: optuna.Trial, listener: Listener) -> Record:
        while True:
            with claim(self.store, trial.key) as claimed:
                if claimed:
                    return self._answered(trial, asked, listener)
            listener({"event": "waiting", "running": 1})
            time.sleep(POLL_S)

    def _answered(self, trial: Trial, asked: optuna.Trial, listener: Listener) -> Record:
        """The trial's record; one that another study has pruned does not answer this one."""
        study = asked.study.study_name
        record = self.store.trial(trial.key)
        if record and record.get("pruned_by", study) == study:
            listener({"event": "answered", "trial": trial, "record": record})
        else:
            heed = self._heeding(trial, asked, listener)
            attempt(trial, self.store, heed, self.spec.timeout_s)
            record = self.store.trial(trial.key)
        assert record
        return record if record["status"] != "ok" else self._priced(trial, record, listener)

    def _heeding(self, trial: Trial, asked: optuna.Trial, listener: Listener) -> Listener:
        """Tells Optuna the accuracy of every epoch, and ends the trial when it says so."""

        def heed(event: dict[str, Any]) -> None:
            listener(event)
            if self.settings.prunes and "top1_pct" in event:
                asked.report(event["top1_pct"], event["epoch"])
                if event["epoch"] != trial.epochs and asked.should_prune():
                    reason = f"below the median after epoch {event['epoch']}"
                    raise PrunedError(reason, by=asked.study.study_name)

        return heed

    def _priced(self, trial: Trial, record: Record, listener: Listener) -> Record:
        """The record with what the second objective asks for, measured by the timing lane."""
        wanted = [name for name in self.settings.objectives if name not in record["metrics"]]
        if not wanted:
            return record
        timing = self.spec.timing
        folder = self.store.lane_folder([trial], timing)
        if read_record(folder) is None:
            lane.sit(folder, [trial], trial, timing, listener)
        sitting = read_record(folder) or {}
        told = sitting.get("subjects", {}).get(trial.speed_key, {"reason": sitting.get("reason")})
        if lost := [name for name in wanted if name not in told.get("metrics", {})]:
            return {"status": "failed", "reason": f"{lost[0]} not measured: {told['reason']}"}
        return record | {"metrics": record["metrics"] | told["metrics"]}
