"""Letters A to J in the shape of the embedded digits: their out-distribution set, without any download.

Rendered from the fonts that matplotlib ships. A detector is to be tested on letters that it has not seen, so the
training and the test letters come from different font families.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from pytest_robust.data.dataset import Dataset, DataSource
from pytest_robust.data.files import package_file
from pytest_robust.data.pixels import split_from_bytes
from pytest_robust.data.split import Split

ALPHABET = "ABCDEFGHIJ"

# Text fonts only: cmmi10, cmsy10, cmex10, STIXNonUni*, STIXSiz* and LastResort hold symbols in the letters' places.
TRAIN_FONTS = tuple(
    f"DejaVu{family}"
    for family in (
        *("Sans", "Sans-Bold", "Sans-Oblique", "Sans-BoldOblique"),
        *("SansMono", "SansMono-Bold", "SansMono-Oblique", "SansMono-BoldOblique"),
        *("Serif", "Serif-Bold", "Serif-Italic", "Serif-BoldItalic"),
    )
)
TEST_FONTS = (
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    *("cmr10", "cmb10", "cmss10", "cmti10", "cmtt10"),
)
TRAIN_PER_LETTER = 60
TEST_PER_LETTER = 40

BITMAP = 32  # pixels a side, black or white
BLOCK = 4  # pixels a side that are counted into one pixel of the image, as the digits were
FONT_SIZE = 96  # so large that neither hinting nor resampling shows at 32 pixels

# The digits fill the height of their bitmap and about 22 of its 32 columns, and their pen is broad: without the same
# frame and weight, brightness alone would tell letters from digits.
HEIGHT = 32.0
WIDTH = 22.0
INK = 0.46  # lit share to aim at, of a glyph's box or (an I is all box) of one half as wide as it is tall
MAX_STROKE = 6  # pixels that may be added around a glyph to reach it
SCALES = (0.86, 1.0)
MAX_ANGLE = math.radians(8.0)
MAX_SHIFT = 1.5  # pixels of the bitmap
SEED = 0


def letters(source: DataSource) -> Dataset:  # noqa: ARG001 - every data set is made from a DataSource
    """Letters A to J (labels 0 to 9), 1 × 8 × 8 in [0, 1] in steps of 1/16: 600 for training, 400 for testing.

    Light strokes on a dark ground, each glyph a little scaled, turned and shifted at random with a fixed seed, drawn as
    a 32 × 32 bitmap and counted in blocks of 4 × 4 pixels like scikit-learn's digits. All 1,000 images are distinct.
    Training letters are DejaVu, test letters STIX and Computer Modern.

    Raises:
        DataError: the installed matplotlib does not ship these fonts.
    """
    seen: set[bytes] = set()
    draw = np.random.RandomState(SEED)  # NumPy promises the same numbers of it in every version

    def split(part: str, fonts: Sequence[str], per_letter: int) -> Split:
        pixels = torch.from_numpy(np.stack(list(_images(fonts, per_letter, draw, seen))))
        labels = torch.arange(len(ALPHABET)).repeat(per_letter)
        return split_from_bytes(pixels, labels, len(ALPHABET), f"letters/{part}", white=BLOCK * BLOCK)

    train = split("train", TRAIN_FONTS, TRAIN_PER_LETTER)
    return Dataset("letters", train, split("test", TEST_FONTS, TEST_PER_LETTER), tuple(ALPHABET))


def _images(
    fonts: Sequence[str], per_letter: int, draw: np.random.RandomState, seen: set[bytes]
) -> Iterator[np.ndarray]:
    """All letters of each round in turn, a font per round, so that every prefix is balanced; none is in `seen`."""
    glyphs = [_glyphs(font) for font in fonts]
    for turn in range(per_letter):
        for glyph in glyphs[turn % len(glyphs)]:
            image = _counted(_bitmap(glyph, draw))
            while image.tobytes() in seen:
                image = _counted(_bitmap(glyph, draw))
            seen.add(image.tobytes())
            yield image


def _glyphs(font_name: str) -> list[Image.Image]:
    """The letters of one font, light on dark, in alphabetical order."""
    path = package_file("matplotlib", "mpl-data", "fonts", "ttf", f"{font_name}.ttf")
    # Raqm, the other layout engine, is not in every build of Pillow.
    font = ImageFont.truetype(path, FONT_SIZE, layout_engine=ImageFont.Layout.BASIC)
    return [_inked(font, letter) for letter in ALPHABET]


def _inked(font: ImageFont.FreeTypeFont, letter: str) -> Image.Image:
    """`letter` cut to its ink, with the thinnest stroke around it that gives the digits' weight."""
    for stroke in range(MAX_STROKE + 1):
        sheet = Image.new("L", (2 * FONT_SIZE, 2 * FONT_SIZE))
        place = (FONT_SIZE // 2, FONT_SIZE // 2)
        ImageDraw.Draw(sheet).text(place, letter, fill=255, font=font, stroke_width=stroke)
        glyph = sheet.crop(sheet.getbbox())  # font.getbbox counts the bearings in
        box = glyph.height * max(glyph.width, glyph.height / 2)
        if np.asarray(glyph, dtype=np.int64).sum() >= INK * 255 * box:
            break
    return glyph


def _bitmap(glyph: Image.Image, draw: np.random.RandomState) -> np.ndarray:
    """`glyph` on a 32 × 32 bitmap, bool, at a random size, angle and place close to the middle."""
    scale, turn, shift_x, shift_y = draw.uniform(size=4)
    size = SCALES[0] + (SCALES[1] - SCALES[0]) * scale
    angle = MAX_ANGLE * (2 * turn - 1)
    x = BITMAP / 2 + MAX_SHIFT * (2 * shift_x - 1)
    y = BITMAP / 2 + MAX_SHIFT * (2 * shift_y - 1)
    # PIL asks which glyph point each bitmap pixel shows: turned, then stretched, about the middle.
    tall = glyph.height / (size * HEIGHT)
    wide = max(tall, glyph.width / (size * WIDTH))
    a, b = wide * math.cos(angle), wide * math.sin(angle)
    d, e = -tall * math.sin(angle), tall * math.cos(angle)
    matrix = (a, b, glyph.width / 2 - a * x - b * y, d, e, glyph.height / 2 - d * x - e * y)
    placed = glyph.transform((BITMAP, BITMAP), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return np.asarray(placed) >= 128


def _counted(bitmap: np.ndarray) -> np.ndarray:
    """How many of the 16 pixels of each block are lit: uint8 (8, 8), 0..16."""
    side = BITMAP // BLOCK
    counts: np.ndarray = bitmap.reshape(side, BLOCK, side, BLOCK).sum(axis=(1, 3), dtype=np.uint8)
    return counts
