"""The files of a failed property: both images exactly, and a picture of them; one pair of files for each test."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

#: Pixels of the shorter side of an image in the picture, at least: small ones are enlarged.
SHOWN = 224
#: Characters of a file's name; file systems take 255 bytes.
LONGEST = 120


def current_test() -> str | None:
    """The id of the test that pytest is running, as pytest tells it; None outside a test."""
    running = os.environ.get("PYTEST_CURRENT_TEST")
    return None if running is None else running.rpartition(" (")[0]


def save_pair(directory: Path, test: str, clean: Tensor, perturbed: Tensor) -> Path:
    """Write ``NAME.png`` and ``NAME.safetensors`` into `directory`, which is made; an earlier pair is replaced.

    The picture shows the clean image, the perturbed one, and their difference (grey is none, scaled to fill the
    range). The other file holds "clean" and "perturbed" exactly, for ``safetensors.torch.load_file``.

    Args:
        directory: where to.
        test: id of the test; `NAME` is made of it.
        clean, perturbed: float32 of shape (C, H, W), in [0, 1].

    Returns:
        The picture's path.

    Raises:
        OSError: the folder cannot be written.
    """
    from safetensors.torch import save

    directory.mkdir(parents=True, exist_ok=True)
    stem = directory / _name(test)
    pair = {"clean": clean.cpu().contiguous(), "perturbed": perturbed.cpu().contiguous()}
    Path(f"{stem}.safetensors").write_bytes(save(pair))
    picture = Path(f"{stem}.png")
    _picture(pair["clean"], pair["perturbed"]).save(picture)
    return picture


def _name(test: str) -> str:
    """`test` as a file name; different tests get different ones."""
    plain = re.sub(r"[^\w.-]+", "-", test.replace("/", "-").replace("::", "-")).strip("-.")
    if plain == test and len(plain) <= LONGEST:
        return plain
    return f"{plain[-LONGEST:].lstrip('-.')}-{hashlib.sha256(test.encode()).hexdigest()[:6]}"


def _picture(clean: Tensor, perturbed: Tensor) -> Image.Image:
    difference = perturbed - clean
    scaled = 0.5 + 0.5 * difference / difference.abs().max().clamp_min(1e-12)
    gap = clean.new_ones(clean.shape[0], clean.shape[1], max(1, clean.shape[2] // 12))
    row = torch.cat([clean, gap, perturbed, gap, scaled], 2)
    shown = row if len(row) in (1, 3) else row.mean(0, keepdim=True)
    pixels = (shown.expand(3, -1, -1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous()
    image = Image.fromarray(pixels.numpy())
    times = max(1, -(-SHOWN // min(clean.shape[1:])))
    return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
