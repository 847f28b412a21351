"""The learning curves of trials as the event files that TensorBoard shows."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from bench.errors import InputError
from bench.records import TrialRecord


def write(records: Mapping[str, TrialRecord], folder: Path) -> None:
    """Put the curve of each record, by step, in a folder of its name; what was there makes way.

    Raises:
        InputError: without TensorBoard.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ModuleNotFoundError as error:
        said = "--tensorboard needs TensorBoard: pip install 'resizer-bench[tensorboard]'"
        raise InputError(said) from error
    if folder.exists():
        shutil.rmtree(folder)
    for name, record in records.items():
        began = datetime.fromisoformat(record["started"]).timestamp()
        writer = EventFileWriter(str(folder / name.replace("/", "-")))
        for row in record["curve"]:
            measured = {tag: value for tag, value in row.items() if tag not in ("epoch", "step")}
            told = [Summary.Value(tag=tag, simple_value=of) for tag, of in measured.items()]
            at = {"step": row["step"], "wall_time": began + row["train_s"]}
            writer.add_event(Event(summary=Summary(value=told), **at))
        writer.close()
