"""Whether the harness is right on this GPU: known answers, and how fast its data and steps are.

Each check gives lines of a table: with a tolerance, which holds or not, or figures to read. All of
them also run on a CPU, where there is nothing to prove, so that they are tested.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import timm.data
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from bench.data.batches import FILTERS, Batch, Loader
from bench.data.library import Dataset
from bench.data.master import Master
from bench.events import ignore
from bench.lab import device as devices
from bench.lab import models, resampling, training
from bench.lab.capture import captured
from bench.lab.card import Card
from bench.lab.environment import describe, now
from bench.lab.resampling import Run, torch_pass
from bench.lab.snapshots import Snapshots
from bench.lab.stepper import Stepper, timed_blocks
from bench.machine import cores
from bench.records import CheckRecord, Finding, write_record
from bench.spec.trial import Fields, Trial
from resizer.specs import INTERPOLATIONS, RESIZERS

SECONDS = 3.0  # of each measurement
TURNS = 5
"""Of all speeds, one after another: a second check saw its launches take a third longer."""
BASE: Fields = {
    "dataset": "fine",
    "epochs": 2,
    "batch_size": 64,
    "precision": "fp32",
    "resizer": "learned",
}


@dataclass(frozen=True)
class Bench:
    """What the checks are made on, and how large they are."""

    device: torch.device
    dataset: Dataset
    seconds: float = SECONDS
    backbone: str = "resnet18"  # of the speeds, as are the next two
    input_size: int = 112
    batch_size: int = 64
    boxes: int = 500  # of each filter
    images: int = 512  # that are trained on


def within(what: str, found: float, wanted: str, holds: bool) -> Finding:
    return {"what": what, "found": found, "wanted": wanted, "holds": holds}


def figure(what: str, found: float) -> Finding:
    return {"what": what, "found": found, "wanted": "", "holds": None}


def levels_off_pillow(
    run: Run, sizes: NDArray[np.int64], side: int, name: str, seed: int, device: torch.device
) -> NDArray[np.int64]:
    """Levels between our and Pillow's pictures of random boxes of noise images of these sizes."""
    stream = np.random.default_rng(seed)
    images = [stream.integers(0, 256, (h, w, 3)).astype(np.uint8) for h, w in sizes]
    offsets = np.cumsum([0, *(image.size for image in images)])[:-1]
    low, high = stream.uniform(0, 0.5, (len(sizes), 2)), stream.uniform(0.5, 1, (len(sizes), 2))
    low[::3], high[::3] = 0, 1  # a third of them are whole images
    boxes = np.concatenate([low, high], axis=1) * np.tile(sizes[:, ::-1], 2)
    mirrored = stream.random(len(sizes)) < 0.5
    given = {**BASE, "backbone": "", "input_size": side, "output_size": 1, "resample": name}
    pixels = torch.from_numpy(np.concatenate([image.ravel() for image in images])).to(device)
    cut = resampling.Cut(offsets, sizes, boxes, mirrored)
    out = resampling.resample(pixels, cut, Trial(**given, channels_last=bool(seed % 2)), run)
    ours = out.permute(0, 2, 3, 1).cpu().numpy().astype(int)
    wanted = [
        np.asarray(Image.fromarray(image).resize((side, side), FILTERS[name], box=tuple(box)))
        for image, box in zip(images, boxes, strict=True)
    ]
    turned = [one[:, ::-1] if mirror else one for one, mirror in zip(wanted, mirrored, strict=True)]
    apart: NDArray[np.int64] = np.abs(ours - np.stack(turned))
    return apart


def random_sizes(count: int, largest: int, seed: int) -> NDArray[np.int64]:
    """Heights and widths from 1 pixel up, every order of magnitude as often."""
    drawn = np.random.default_rng(seed).uniform(0, np.log(largest + 1), (count, 2))
    return np.exp(drawn).astype(np.int64)


def pictures(bench: Bench) -> Iterator[Finding]:
    """Pillow's, of every filter, from boxes of every size, by each form of the pass."""
    for way, run in dict([("torch", torch_pass), resampling.fastest_pass(bench.device)]).items():
        levels = [
            levels_off_pillow(
                run, random_sizes(bench.boxes // 5, 300, seed), side, name, seed, bench.device
            )
            for name in resampling.AVERAGING
            for seed, side in enumerate((1, 7, 32, 112, 224))
        ]
        most = float(max(one.max() for one in levels))
        mean = float(np.mean([one.mean() for one in levels]))
        what = f"pictures off Pillow's ({way}), levels"
        yield within(f"{what} at most", most, "≤ 1", most <= 1)
        yield within(f"{what} on average", mean, "≤ 0.1", mean <= 0.1)


def epochs_alike(bench: Bench) -> Iterator[Finding]:
    """An epoch from the device's pixels, and one that Pillow makes and a stream brings."""
    trial = Trial(**{**BASE, "input_size": 32, "output_size": 16, "backbone": ""})
    split, device = bench.dataset.train, bench.device
    theirs = Loader(split, trial, threads=2, pinned=device.type == "cuda").train(1)
    ours = resampling.ResidentLoader(split, trial, device).train(1)
    pairs = zip(ours, devices.delivered(theirs, device), strict=True)
    apart = [
        int((one[0].int() - other[0].int()).abs().max()) + 255 * int((one[1] != other[1]).any())
        for one, other in pairs
    ]
    yield within("an epoch of both loaders, levels at most", max(apart), "≤ 1", max(apart) <= 1)


def memory(bench: Bench) -> Iterator[Finding]:
    """A tensor of 64 MiB that is held and given back."""
    peak = devices.PeakMemory(bench.device)
    if peak.method:
        peak.start()
        before = peak.read_mib()
        held = torch.ones(64 * 2**20, dtype=torch.uint8, device=bench.device)
        del held
        found = peak.read_mib() - before
        yield within("peak of 64 MiB held, MiB", found, "64 ± 2", abs(found - 64) <= 2)
    try:
        torch.empty(2**45, dtype=torch.uint8, device=bench.device)
        told = False
    except Exception as error:
        told = devices.is_out_of_memory(error)
    yield within("too large a tensor is told as out of memory", float(told), "1", told)


def busy_time(bench: Bench) -> Iterator[Finding]:
    """Kernels of a known time that are launched slowly: the gaps between them do not count."""
    if bench.device.type != "cuda":
        return
    kernel = partial(torch.cuda._sleep, 2_000_000)

    def slowly() -> None:
        for _ in range(10):
            kernel()
            time.sleep(0.005)

    def median_s(step: Callable[[], object], wall_s: float) -> float:
        return statistics.median(
            devices.busy_s(step, wall_s, bench.device) or 0.0 for _ in range(5)
        )

    median_s(slowly, 0.1)  # until its clock has risen
    found = median_s(slowly, 0.1) / (10 * median_s(kernel, 0.01))
    holds = abs(found - 1) <= 0.05
    yield within("busy time of 10 kernels, over 10 times that of one", found, "1 ± 0.05", holds)


def captured_steps(bench: Bench) -> Iterator[Finding]:
    """Weights after a few steps of a rising rate, replayed and launched kernel by kernel."""
    trial = small_trial(clip_norm=1.0)
    apart = difference(*(weights_after(bench, trial, by_kernels=one) for one in (False, True)))
    yield within("weights of captured steps and of others, apart", apart, "≤ 1e-5", apart <= 1e-5)


def front_ends_captured(bench: Bench) -> Iterator[Finding]:
    """The steps of every front end of ours: one launched kernel by kernel has a false price."""
    front_ends: list[tuple[str, str | None]] = [("none", None)]
    for name, spec in RESIZERS.items():
        kinds = INTERPOLATIONS if "interpolation" in spec.options else (None,)
        front_ends += [(name, kind) for kind in kinds]
    left = []
    for name, kind in front_ends:
        form = small_trial(resizer=name, interpolation=kind)
        (stepper := Stepper(form, len(bench.dataset.classes))).train_step()
        if getattr(stepper.update, "refusal", ""):
            left.append(" ".join(filter(None, (name, kind))))
    what = f"steps of {len(front_ends)} front ends that are not captured"
    yield within(": ".join(filter(None, [what, ", ".join(left)])), len(left), "0", not left)


def drawn_anew(bench: Bench) -> Iterator[Finding]:
    """What each call of a step draws; also after one that cannot be captured, since it waits."""
    ones = torch.ones(1000, device=bench.device)
    steps: dict[str, Callable[[], Tensor]] = {
        "captured": partial(F.dropout, ones),
        "other": lambda: F.dropout(ones * ones.sum().item()),
    }
    for name, step in steps.items():
        taken = captured(step, bench.device)
        draws = [taken().clone() for _ in range(5)]
        alike = sum(torch.equal(one, other) for one, other in combinations(draws, 2))
        yield within(f"draws of five {name} steps that are alike", alike, "0", alike == 0)


def weights_after(bench: Bench, trial: Trial, *, by_kernels: bool) -> Tensor:
    torch.manual_seed(0)  # for the batch
    stepper = Stepper(trial, len(bench.dataset.classes))
    stepper.model.train()
    for _ in range(6):
        (stepper.train_step_by_kernels if by_kernels else stepper.train_step)()
        stepper.state.scheduler.step()
    if refusal := getattr(stepper.update, "refusal", ""):
        raise RuntimeError(f"the step is not captured: {refusal}")
    weights = [one.detach().double().flatten() for one in stepper.model.parameters()]
    return torch.cat(weights).cpu()


def difference(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


def determinism(bench: Bench) -> Iterator[Finding]:
    """Two trainings are alike to the bit where they were asked to be."""
    losses = {loss_of(bench, bench.device, deterministic=True) for _ in range(2)}
    yield within("deterministic trainings that differ", len(losses) - 1, "0", len(losses) == 1)


def training_alike(bench: Bench) -> Iterator[Finding]:
    """A gradient and two epochs in fp32, here and on the CPU.

    Training is chaotic: on a CPU, weights that differ by a ten-millionth, or another number of
    threads, move the loss of the two epochs by up to 0.011 of it.
    """
    cpu = torch.device("cpu")
    ours, theirs = (gradient_of(bench, one) for one in (bench.device, cpu))
    apart = difference(ours, theirs)
    yield within("gradient of a step, here and on the CPU, apart", apart, "≤ 1e-3", apart <= 1e-3)
    apart = abs(loss_of(bench, bench.device) / loss_of(bench, cpu) - 1)
    yield within("loss of two epochs, here and on the CPU, apart", apart, "≤ 0.03", apart <= 0.03)


def gradient_of(bench: Bench, device: torch.device) -> Tensor:
    """Gradient of a small trial's first step in all its parameters, in float64 on the CPU."""
    devices.configure(deterministic=False)
    trial = small_trial()
    model = models.placed(models.build(trial, len(bench.dataset.classes)), trial, device).train()
    first = next(resampling.loader(bench.dataset.train, trial, device).train(1))
    images, labels = devices.put(first, device)
    loss = F.cross_entropy(model(images), labels)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    return torch.cat([one.double().flatten().cpu() for one in gradients])


def loss_of(bench: Bench, device: torch.device, *, deterministic: bool = False) -> float:
    """Training loss of the second epoch of a small trial."""
    devices.configure(deterministic=deterministic)
    trial = small_trial(deterministic=deterministic)
    rows = np.arange(bench.images) * len(bench.dataset.train) // bench.images
    data = resampling.loader(bench.dataset.train.part(rows), trial, device)
    model = models.placed(models.build(trial, len(bench.dataset.classes)), trial, device)
    with TemporaryDirectory() as folder:
        facts = {**describe(device, "fp32"), "data": "", "loader": data.name}
        snapshots = Snapshots(Path(folder) / "snapshot", facts, ignore)
        trained = training.train(model, (data, data), snapshots, ignore)
    devices.configure(deterministic=False)
    return trained.curve[-1]["train_loss"]


def small_trial(**changes: object) -> Trial:
    """The learned resizer in front of a toy; AdamW would make much of how digits were rounded."""
    small: Fields = {**BASE, "backbone": "test_resnet", "input_size": 64, "output_size": 32}
    return Trial(**small | {"optimizer": "sgd", "lr": 0.01} | changes)


def speeds(bench: Bench) -> Iterator[Finding]:
    """Images a second: of a step, of the data, of both, of timm's loader; and what binds."""
    sizes: Fields = {"input_size": bench.input_size, "batch_size": bench.batch_size}
    trial = Trial(dataset=bench.dataset.name, backbone=bench.backbone, epochs=1, **sizes)
    stepper = Stepper(trial, len(bench.dataset.classes))
    stepper.model.train()
    batches, others = stepper.batches(bench.dataset.train), timm_batches(bench, trial)
    steps: dict[str, Callable[[], object]] = {
        "step": stepper.train_step,
        "step, kernel by kernel": stepper.train_step_by_kernels,
        "data": partial(next, batches),
        "step with its data": partial(stepper.train_step_on, batches),
        "timm's loader": partial(next, others),
    }
    turns = [
        {name: images_per_s(stepper, step, bench) for name, step in steps.items()}
        for _ in range(TURNS)
    ]
    for name in steps:
        value = statistics.median(turn[name] for turn in turns)
        yield figure(f"{name}, {trial.backbone} at {trial.input_size} px, images/s", value)
    left = statistics.median(turn["step with its data"] / turn["step"] for turn in turns)
    yield within("step with its data over step without", left, "≥ 0.95", left >= 0.95)
    if (share := stepper.busy_share()) is not None:
        yield figure("share of the step in which the GPU is at work", share)


def images_per_s(stepper: Stepper, step: Callable[[], object], bench: Bench) -> float:
    values = timed_blocks(stepper, step, bench.seconds / TURNS)
    return stepper.trial.batch_size / statistics.median(values)


@dataclass
class Decoded(torch.utils.data.Dataset[tuple[Image.Image, int]]):
    """A master copy as timm's loader wants it: pictures that are decoded already."""

    master: Master
    transform: nn.Module | None = None  # the loader puts its own

    def __len__(self) -> int:
        return len(self.master)

    def __getitem__(self, i: int) -> tuple[Image.Image, int]:
        assert self.transform is not None
        return self.transform(Image.fromarray(self.master.image(i))), int(self.master.labels[i])


def timm_batches(bench: Bench, trial: Trial) -> Iterator[Batch]:
    """What timm's training loader brings to the device, epoch after epoch, with all processors."""
    assert trial.crop_min_area is not None
    workers = cores() if bench.device.type == "cuda" else 0
    theirs = timm.data.create_loader(
        Decoded(bench.dataset.train),  # type: ignore[arg-type] # it has what is asked of it
        (3, trial.input_size, trial.input_size),
        trial.batch_size,
        is_training=True,
        scale=(trial.crop_min_area, 1.0),
        interpolation=trial.resample,
        color_jitter=None,  # type: ignore[arg-type] # ours has none
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=workers > 0,
        device=bench.device,
    )
    while True:
        yield from theirs


CHECKS = (
    pictures,
    epochs_alike,
    memory,
    busy_time,
    captured_steps,
    front_ends_captured,
    determinism,
    training_alike,
    speeds,
    drawn_anew,  # the last: in torch 2.11 a capture that fails keeps the memory of its pool
)


def findings(bench: Bench) -> Iterator[Finding]:
    """The lines of all checks; of one that fails, the reason."""
    for check in CHECKS:
        try:
            yield from check(bench)
        except Exception as error:
            what = f"{check.__name__}: {training.explain(error)}"
            yield {"what": what, "found": None, "wanted": "no error", "holds": False}
        devices.release_memory(bench.device)


def prove(bench: Bench, folder: Path, tell: Callable[[Finding], None]) -> CheckRecord:
    """Make every check, tell of each line as it comes, and put the record into `folder`."""
    devices.keep_freed_memory()
    card, began = Card(bench.device), time.perf_counter()
    lines = []
    for line in findings(bench):
        lines.append(line)
        tell(line)
    failed = [line["what"] for line in lines if line["holds"] is False]
    record: CheckRecord = {
        "status": "failed" if failed else "ok",
        "reason": "; ".join(failed),
        "findings": lines,
        "dataset": bench.dataset.name,
        "environment": describe(bench.device, "auto"),
        "wall_s": time.perf_counter() - began,
        "finished": now(),
    }
    if facts := card.facts():
        record["card"] = facts
    write_record(folder, record)
    return record
