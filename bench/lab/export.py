"""A finished trial as one file for other programs, checked before it is called done.

The file takes (B, 3, S, S) uint8 images, S as in its validation and B any, and gives (B, classes)
logits: normalisation, resizer and backbone in one, in float32, a learned resizer with its norms
folded.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from scipy.stats import binomtest
from torch import Tensor, nn
from torch.export import ExportedProgram

from bench.data.batches import Loader
from bench.data.library import open_dataset
from bench.errors import InputError, first_line
from bench.lab import models
from bench.records import TrialRecord, read_record
from bench.spec.trial import Trial
from resizer.folded import FoldedResizer
from resizer.learned import LearnedResizer

Format = Literal["onnx", "pt2"]
CHECKED = 200
"""Validation images at most that the file is checked on."""
MAY_DIFFER = 0.01
"""Share of them whose class may be another than on record, where training rounded otherwise."""


def export(results: Path, key: str, form: Format, path: Path, told: Sequence[str] = ()) -> None:
    """Write the trial's model to `path`, and its card beside it, once the file has been checked.

    Args:
        told: what reports say of the experiments that it is of, for the card: question, verdict.
    Raises:
        InputError: if there is no such trial, its weights were not kept, a package is missing, or
            the file does not classify as the record says.
    """
    model = models.load(key, results)
    record = read_record(results / "trials" / key, TrialRecord)
    assert record, "models.load has read it"
    trial = Trial(**record["trial"])
    if type(model.resizer) is LearnedResizer:  # a user's own, derived from it, computes otherwise
        model.resizer = FoldedResizer(model.resizer)
    model.to(memory_format=torch.contiguous_format)
    temporary = path.with_name(f".{path.name}")
    images, predicted = _validation(results, key, trial)
    try:
        classify = written(model, images, form, temporary)
        parts = [classify(part).argmax(dim=1) for part in torch.split(images, 50)]
        found = torch.cat(parts).numpy()
        differing = int((found != predicted).sum())
        if differing > MAY_DIFFER * len(found):
            raise InputError(
                f"the exported trial {key} classifies {differing} of {len(found)} validation "
                "images otherwise than its record: nothing was written"
            )
        text = card(record, trial, told, len(found), differing)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    path.with_suffix(".md").write_text(text, "utf-8")


def _validation(results: Path, key: str, trial: Trial) -> tuple[Tensor, np.ndarray]:
    """Validation images spread over the set, (N, 3, S, S) uint8, and their classes on record."""
    saved = pd.read_parquet(results / "trials" / key / "predictions.parquet")
    count = len(saved)
    rows = np.unique(np.linspace(0, count - 1, min(CHECKED, count)).astype(np.int64))
    dataset = open_dataset(trial.dataset, holdout=trial.holdout)
    images, _ = Loader(dataset.val, trial.evaluated, threads=1).pictures(rows)
    return images.contiguous(), saved["predicted"].to_numpy()[rows]


def written(
    model: nn.Module, images: Tensor, form: Format, path: Path
) -> Callable[[Tensor], Tensor]:
    """Save a model whose `forward` takes `images`; returns what the file computes of any number.

    Raises:
        InputError: if it cannot be exported, or a package is missing.
    """
    batch = {0: torch.export.Dim("batch", min=1)}
    try:
        program = torch.export.export(model, (images[:2],), dynamic_shapes={"images": batch})
        return WRITERS[form](program, path)
    except (InputError, OSError):
        raise
    except Exception as error:  # a user's own module may hold anything
        raise InputError(f"the model cannot be exported: {first_line(error)}") from error


def write_pt2(program: ExportedProgram, path: Path) -> Callable[[Tensor], Tensor]:
    """Save for torch.export.load; returns what the file, read again, computes."""
    with path.open("wb") as file:
        torch.export.save(program, file)
    with path.open("rb") as file:
        module = torch.export.load(file).module()
    return lambda images: module(images)


def write_onnx(program: ExportedProgram, path: Path) -> Callable[[Tensor], Tensor]:
    """Save for ONNX runtimes; returns what onnxruntime computes from the file."""
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 # torch needs it
    except ImportError as error:
        raise InputError(f"--onnx needs {error.name}: pip install 'resizer-bench[onnx]'") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own exporter about itself
        made = torch.onnx.export(program, dynamo=True, verbose=False)
    assert made is not None
    made.save(str(path), external_data=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        path.read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    return lambda images: torch.from_numpy(session.run(None, {name: images.numpy()})[0])


WRITERS: dict[Format, Callable[[ExportedProgram, Path], Callable[[Tensor], Tensor]]] = {
    "onnx": write_onnx,
    "pt2": write_pt2,
}


def card(
    record: TrialRecord, trial: Trial, told: Sequence[str], checked: int, differing: int
) -> str:
    """The model card, Markdown: what it is, what it scored, on what, and how it was checked."""
    data = record["data"]
    top1 = record["metrics"]["top1_pct"]["value"]
    right = round(top1 / 100 * data["val_images"])
    ends = binomtest(right, data["val_images"]).proportion_ci(0.95, method="wilson")
    accuracy = f"{top1:.1f} % [{100 * ends.low:.1f}, {100 * ends.high:.1f}]"
    size, classes = trial.evaluated_size, data["classes"]
    asked = "\n\n".join(told) or "No report here has an experiment of this trial."
    fields = trial.model_dump(exclude_none=True).items()
    recipe = "\n".join(f"- {name}: {value}" for name, value in fields)
    return f"""\
# {trial.backbone}, resizer {trial.resizer}, {size} px, {data["name"]}

Takes (B, 3, {size}, {size}) uint8 images and gives {len(classes)} logits, in this order: \
{", ".join(classes)}.

- **Top-1 accuracy:** {accuracy} of {data["val_images"]} images \
({data.get("scored_on", "val")}), one seed: the interval, of 95 %, is of the images alone.
- **Checked:** {checked - differing} of {checked} validation images are classified as on record.
- **Trained on:** {data["train_images"]} images of {data["name"]} ({data["origin"]}), content \
{data["fingerprint"][:12]}.
- **Licence:** the code's own for the program; the images' and any pretrained weights' licences \
are their owners'.

## Asked

{asked}

## Recipe

{recipe}
"""
