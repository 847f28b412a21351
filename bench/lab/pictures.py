"""What an arm does to images: some before and after, and the spectrum of what comes out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data.batches import Loader
from bench.lab import device as devices
from bench.lab.models import Classifier
from bench.records import Spectrum
from resizer.fixed import resize

SHOWN = 3
MEASURED = 64  # images whose spectra are averaged


@torch.no_grad()
def save(path: Path, model: Classifier, data: Loader) -> Spectrum:
    """Keep a few validation images in `path` (.npz) and give the spectra for the record.

    The file has, in 0..1 and (N, H, W, 3): `input`, what is loaded; `plain`, its antialiased
    bilinear resize; `output`, what the backbone gets, on the same scale and not clipped.

    Returns: "frequency" (cycles per pixel of the output), and the mean radial power of "output"
        and "plain" there; see `radial_power`.
    """
    model.eval()
    device, precision = devices.device_and_precision(model, data.trial.precision)
    rows = np.linspace(0, len(data.master) - 1, min(MEASURED, len(data.master))).astype(int)
    images, _ = devices.put(data.pictures(rows), device)
    with devices.autocast(device, precision):
        output = model.resizer(model.normalised(images)).float()
    output = output * model.std + model.mean
    size = (output.shape[2], output.shape[3])
    source = images.float() / 255
    plain = resize(source, size, interpolation="bilinear", antialias=True)
    shown = np.linspace(0, len(rows) - 1, min(SHOWN, len(rows))).astype(int)
    np.savez_compressed(
        path,
        input=_stored(source[shown]),
        plain=_stored(plain[shown]),
        output=_stored(output[shown]),
    )
    frequency, power = radial_power(output)
    return {"frequency": frequency, "output": power, "plain": radial_power(plain)[1]}


def _stored(images: Tensor) -> NDArray[np.float16]:
    return images.permute(0, 2, 3, 1).cpu().numpy().astype(np.float16)


def radial_power(images: Tensor) -> tuple[list[float], list[float]]:
    """Mean power of the grey image by spatial frequency.

    Shape: (B, C, H, W) -> frequencies, cycles per pixel, from the lowest to 1/2, and for each the
    mean of |FFT / (H W)|^2 over its ring and over images: the same image at more pixels has the
    same power. The mean grey is taken out; a Hann window keeps borders from showing as lines.
    """
    grey = images.mean(dim=1)
    grey = grey - grey.mean(dim=(1, 2), keepdim=True)
    height, width = grey.shape[1:]
    window = torch.outer(torch.hann_window(height), torch.hann_window(width)).to(grey)
    power = torch.fft.fft2(grey * window).abs().square().mean(dim=0) / (height * width) ** 2
    fy, fx = torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width)
    rings = min(height, width) // 2
    ring = (torch.hypot(fy, fx) * 2 * rings).round().long().flatten()
    means = ring.bincount(power.double().cpu().flatten()) / ring.bincount()
    frequency = [k / (2 * rings) for k in range(1, rings + 1)]
    return frequency, means[1 : rings + 1].tolist()
