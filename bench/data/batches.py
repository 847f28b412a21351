"""Batches resampled from a master copy: the same relative boxes for every arm of a seed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from bench.data.master import Master
from bench.errors import InputError
from bench.seeds import seed_for
from bench.spec.trial import Filter, Trial

Batch = tuple[Tensor, Tensor]
"""(B, 3, S, S) uint8 laid out as the trial says, and (B,) int64 labels."""

Boxes = NDArray[np.float64]
"""(N, 4): left, top, right, bottom, in pixels of each image's master copy."""

Rows = NDArray[np.int64]
"""(n,) numbers of images in a split."""

Asked = tuple[Rows, Boxes, NDArray[np.bool_]]
"""What a batch is made of: images, the box of each, and whether it is mirrored."""

FILTERS = {name: Image.Resampling[name.upper()] for name in get_args(Filter)}
LOG_ASPECTS = (np.log(3 / 4), np.log(4 / 3))
TRIES = 10


class Loader:
    """Batches of one split at one size, prepared by threads while the last one is in use.

    Which images, boxes and mirrorings make up a batch depends on the dataset, the seed and the
    epoch alone, so that arms of other sizes see the same pictures in the same order.
    """

    name = "pillow"

    def __init__(self, master: Master, trial: Trial, threads: int, *, pinned: bool = False) -> None:
        self.master = master
        self.trial = trial
        self.threads = threads
        self.pinned = pinned  # batches lie in memory that a GPU can fetch by itself

    @property
    def per_epoch(self) -> int:
        """How many training batches there are.

        Raises:
            InputError: if there are fewer images than make one.
        """
        images, size = len(self.master), self.trial.batch_size
        if images < size:
            raise InputError(
                f"{self.trial.dataset} has {images} training images, fewer than one batch of {size}"
            )
        return images // size

    def train(self, epoch: int, seen: int = 0) -> Iterator[Batch]:
        """The epoch's batches, shuffled; the last, incomplete one is left out.

        Args:
            seen: so many of them are over, and the next one is the first.
        """
        trial, count = self.trial, len(self.master)
        order = self._stream("order", epoch).permutation(count)
        boxes = train_boxes(self.master.sizes, trial, self._stream("crops", epoch))
        mirrored = self._stream("flips", epoch).random(count) < (0.5 if trial.flip else 0.0)
        some = order[seen * trial.batch_size : self.per_epoch * trial.batch_size]
        return self._batches(some, boxes, mirrored)

    def evaluate(self) -> Iterator[Batch]:
        """Every image once, in the master's order, by the one declared fit."""
        count = len(self.master)
        boxes = fit_boxes(self.master.sizes, self.trial.eval_fit)
        return self._batches(np.arange(count), boxes, np.zeros(count, dtype=bool))

    def pictures(self, rows: Rows) -> Batch:
        """The named rows in one batch, fitted as for evaluation."""
        boxes = fit_boxes(self.master.sizes[rows], self.trial.eval_fit)
        return self._make(rows, boxes, np.zeros(len(rows), dtype=bool))

    def _stream(self, name: str, epoch: int) -> np.random.Generator:
        return np.random.default_rng(seed_for(name, self.trial.dataset, self.trial.seed, epoch))

    def _batches(self, order: Rows, boxes: Boxes, mirrored: NDArray[np.bool_]) -> Iterator[Batch]:
        size = self.trial.batch_size
        parts = [order[start : start + size] for start in range(0, len(order), size)]
        return self._prepared((rows, boxes[rows], mirrored[rows]) for rows in parts)

    def _prepared(self, asked: Iterator[Asked]) -> Iterator[Batch]:
        with ThreadPoolExecutor(self.threads) as pool:
            waiting: deque[Future[Batch]] = deque()
            for one in asked:
                waiting.append(pool.submit(self._make, *one))
                if len(waiting) > self.threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _make(self, rows: Rows, boxes: Boxes, mirrored: NDArray[np.bool_]) -> Batch:
        images = np.empty((len(rows), *[self.trial.input_size] * 2, 3), dtype=np.uint8)
        for out, row, box, mirror in zip(images, rows, boxes, mirrored, strict=True):
            out[:] = self._picture(row, box, bool(mirror))
        laid = torch.from_numpy(images).permute(0, 3, 1, 2)
        if not self.trial.channels_last:
            laid = laid.contiguous()
        labels = torch.from_numpy(self.master.labels[rows])
        return (laid.pin_memory(), labels.pin_memory()) if self.pinned else (laid, labels)

    def _picture(self, row: int, box: NDArray[np.float64], mirror: bool) -> Image.Image:
        """One resampling, from the master copy to (input_size, input_size)."""
        shape, how = (self.trial.input_size, self.trial.input_size), FILTERS[self.trial.resample]
        whole = Image.fromarray(self.master.image(row))
        if self.trial.load_antialias is False:
            picture = whole.transform(shape, Image.Transform.EXTENT, tuple(box), how)
        else:
            picture = whole.resize(shape, how, box=tuple(box))
        return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirror else picture


def fit_boxes(sizes: NDArray[np.int64], fit: str) -> Boxes:
    """The whole of each image (squash), or its largest central square (center_crop)."""
    height, width = sizes.T.astype(float)
    side = np.minimum(height, width)
    w, h = (width, height) if fit == "squash" else (side, side)
    left, top = (width - w) / 2, (height - h) / 2
    return np.stack([left, top, left + w, top + h], axis=1)


def train_boxes(sizes: NDArray[np.int64], trial: Trial, stream: np.random.Generator) -> Boxes:
    """The box of each image in one epoch.

    `random_resized`: of an area from crop_min_area to 1 of the image's and an aspect from 3/4 to
    4/3 (log-uniform), anywhere; the first of ten draws that fits, else the largest central square
    (Szegedy et al. 2015, as in torchvision's RandomResizedCrop, but not rounded to pixels).
    """
    if trial.crop == "squash":
        return fit_boxes(sizes, "squash")
    height, width = sizes.T.astype(float)[:, :, None]  # (N, 1)
    shape = (len(sizes), TRIES)
    area = stream.uniform(trial.crop_min_area or 0.0, 1.0, shape) * height * width
    aspect = np.exp(stream.uniform(*LOG_ASPECTS, size=shape))
    left, top = stream.random((2, len(sizes)))
    w, h = np.sqrt(area * aspect), np.sqrt(area / aspect)
    fits = (w <= width) & (h <= height)
    first = np.arange(len(sizes)), fits.argmax(axis=1)
    w, h, height, width = w[first], h[first], height[:, 0], width[:, 0]
    x, y = left * (width - w), top * (height - h)
    boxes = np.stack([x, y, x + w, y + h], axis=1)
    return np.where(fits.any(axis=1)[:, None], boxes, fit_boxes(sizes, "center_crop"))
