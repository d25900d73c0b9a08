"""What perceptual metrics cost: PASS, its alignment and SSIM of 224 × 224 images, and SSIM beside scikit-image's.

The pairs are smooth random images with three channels and copies of them that an attack might have made: half with
noise of a few levels, half with random signs of two levels, as FGS has. Each way takes turns, and the medians count:
seconds by the clock, and seconds of all cores together, which a busy machine disturbs less.

    python benchmarks/perceptual.py [--images N] [--repeats N] [--threads N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import torch
from skimage.metrics import structural_similarity
from tabulate import tabulate
from torch import Tensor

from pytest_robust.evaluation.alignment import align
from pytest_robust.evaluation.perceptual import pass_score
from pytest_robust.evaluation.ssim import ssim

#: Seconds that PASS of a thousand pairs may take on two cores.
MOST_SECONDS = 60.0
SHAPE = (3, 224, 224)
#: scikit-image is measured on a part of the images, as it takes long.
SKIMAGE_SHARE = 10


def pairs(n: int) -> tuple[Tensor, Tensor]:
    """Images of 8 bits with structure at several scales, and their perturbed copies."""
    generator = torch.Generator().manual_seed(0)
    x = torch.zeros(n, *SHAPE)
    for cells in (4, 12, 36):
        small = torch.rand(n, SHAPE[0], cells, cells, generator=generator)
        x += torch.nn.functional.interpolate(small, SHAPE[1:], mode="bicubic") / 3
    x = (x.clamp_(0, 1) * 255).round_()
    signs = torch.randint(0, 2, x.shape, generator=generator) * 2.0 - 1
    noise = torch.randint(-4, 5, x.shape, generator=generator).float()
    noise[::2] = 2 * signs[::2]
    return x / 255, (x + noise).clamp_(0, 255) / 255


def by_scikit_image(x: Tensor, y: Tensor) -> Tensor:
    values = [
        structural_similarity(
            one, other, channel_axis=0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0
        )
        for one, other in zip(x.double().numpy(), y.double().numpy(), strict=True)
    ]
    return torch.tensor(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    x, moved = pairs(options.images)
    few = max(1, options.images // SKIMAGE_SHARE)
    ways: dict[str, tuple[int, Callable[[], object]]] = {
        "PASS": (options.images, lambda: pass_score(x, moved)),
        "alignment": (options.images, lambda: align(x, moved)),
        "SSIM": (options.images, lambda: ssim(x, moved)),
        "SSIM, scikit-image": (few, lambda: by_scikit_image(x[:few], moved[:few])),
    }
    clock: dict[str, list[float]] = {name: [] for name in ways}
    cores: dict[str, list[float]] = {name: [] for name in ways}
    loads = []
    for _ in range(options.repeats):
        loads.append(os.getloadavg()[0])
        for name, (count, way) in ways.items():
            start = time.perf_counter(), time.process_time()
            way()
            clock[name].append((time.perf_counter() - start[0]) / count * 1000)
            cores[name].append((time.process_time() - start[1]) / count * 1000)
    rows = [[name, statistics.median(clock[name]), statistics.median(cores[name])] for name in ways]
    print(tabulate(rows, ["seconds per 1,000 pairs", "by the clock", "of all cores"], floatfmt=".1f"))
    print(f"PASS may take {MOST_SECONDS:g} s on two cores; load of the machine at the starts: {loads}")
    one, other = ssim(x[:few], moved[:few]), by_scikit_image(x[:few], moved[:few])
    difference = float((one - other).abs().max())
    figures = {
        "images": options.images,
        "shape": SHAPE,
        "threads": options.threads,
        "cores": os.cpu_count(),
        "repeats": options.repeats,
        "load_average_at_start": loads,
        "torch": torch.__version__,
        "opencv": cv2.__version__,
        "aligned": float(align(x, moved)[1].float().mean()),
        "largest_difference_to_scikit_image": difference,
        "seconds_per_1000_pairs": {
            name: {"by_the_clock": by_clock, "of_all_cores": of_cores, "clock": clock[name], "cores": cores[name]}
            for name, by_clock, of_cores in rows
        },
    }
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
