"""Pictures side by side: stimuli and what decoders made of them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from boldvision.errors import UserError
from boldvision.faces import shown
from boldvision.hdf5 import open_pictures
from boldvision.report import style

STIMULI = "Stimulus"
"""Title of the column of stimuli."""

LABEL_IN, CELL_IN, EDGE_IN = 0.85, 1.1, 0.05
"""Inches: the labels of the rows, a picture at most, the lower and right edge."""

NOTE_IN, BLOCK_IN, LINE_IN = 0.4, 0.22, 0.115
"""Inches above the pictures: two lines of the note, the title of a block, a line of a column's."""

NOTE_LINE_IN = 0.135
"""Inches: each further line of the note."""

GAP = 0.3
"""Space between two blocks, in pictures."""

MOST_COLUMNS = 8
"""Columns of all blocks beside each other, at most."""

TITLE_WIDTH = 11
"""Characters of a line of a column's title."""

Blocks = Mapping[str, Mapping[str, Sequence[np.ndarray] | np.ndarray]]
"""Block title to column title to pictures uint8 [H, W, 3], one per row."""


def read_images(path: Path, key: str, wanted: Sequence[int]) -> np.ndarray:
    """Images uint8 [wanted, H, W, 3] whose `key` (``trial`` or ``image_id``) is wanted, in order.

    Raises
    ------
    UserError
        The file lacks one.
    """
    with open_pictures(path) as file:
        place = {int(value): i for i, value in enumerate(file[key][:])}
        if missing := [value for value in wanted if value not in place]:
            raise UserError(f"{path}: expected {key} {missing}, found none; make the file again")
        return np.stack([file["images"][place[value]] for value in wanted])


def read_reconstructions(path: Path, key: str, wanted: Sequence[int], blur: bool) -> np.ndarray:
    """Reconstructions as they are shown: those of `read_images`, faces blurred if `blur`."""
    return shown(read_images(path, key, wanted), blur)


def reconstructions_of(row: Mapping[str, Any], image_ids: Sequence[int], blur: bool) -> np.ndarray:
    """Reconstructions of images by the model of a row, in its own window."""
    path = Path(row["reconstructions"]) / f"{row['window']}.h5"
    return read_reconstructions(path, "image_id", image_ids, blur)


def subject_name(subject: str) -> str:
    """``subj01`` as a title."""
    return subject.replace("subj0", "Subject ")


@style.styled()
def picture_grid(blocks: Blocks, labels: Sequence[str], note: str) -> Figure:
    """Blocks of titled columns: side by side, or below each other where there are many columns.

    Parameters
    ----------
    blocks : mapping
        Block title (may be empty) to column title to one picture uint8 [H, W, 3] per row.
    labels : sequence of str
        What stands to the left of each row.
    note : str
        What to know about the data and the choice of images; shown above the pictures.
    """
    sizes = [len(block) for block in blocks.values()]
    stacked = sum(sizes) > MOST_COLUMNS
    columns = max(sizes) if stacked else sum(sizes) + GAP * (len(blocks) - 1)
    cell = min(CELL_IN, (style.WIDTH_IN - LABEL_IN - EDGE_IN) / columns)
    titles = [textwrap.fill(name, TITLE_WIDTH) for block in blocks.values() for name in block]
    above = LINE_IN * (1 + max(title.count("\n") for title in titles))
    above += BLOCK_IN if any(blocks) else 0
    height = above + cell * len(labels) + EDGE_IN
    top = NOTE_IN + NOTE_LINE_IN * max(0, len(style.note_lines(note)) - 2)
    figure = Figure(figsize=(style.WIDTH_IN, top + height * (len(blocks) if stacked else 1)))
    left = (style.WIDTH_IN + LABEL_IN - cell * columns) / 2
    for k, (title, block) in enumerate(blocks.items()):
        middle = (left + cell * len(block) / 2) / style.WIDTH_IN
        figure.text(middle, _height(figure, top + 0.13), title, ha="center", weight="bold")
        _draw_block(figure, block, left, top + above, cell, labels if stacked or k == 0 else [])
        if stacked:
            top += height
        else:
            left += cell * (len(block) + GAP)
    style.note(figure, note)
    return figure


def _draw_block(
    figure: Figure,
    block: Mapping[str, Sequence[np.ndarray] | np.ndarray],
    left: float,
    top: float,
    cell: float,
    labels: Sequence[str],
) -> None:
    for column, (name, images) in enumerate(block.items()):
        line = [_cell(figure, left + column * cell, top + k * cell, cell)
                for k in range(len(images))]  # fmt: skip
        line[0].set_title(textwrap.fill(name, TITLE_WIDTH), fontsize=7, pad=2)
        for axes, image in zip(line, images, strict=True):
            show(axes, image)
        if column == 0:
            for axes, label in zip(line, labels, strict=False):
                row_label(axes, label)


def _cell(figure: Figure, left: float, top: float, size: float) -> Axes:
    """Axes of a picture, `left` and `top` inches from the edges, `size` apart from the next."""
    place = left / style.WIDTH_IN, _height(figure, top + size)
    side = 0.95 * size
    return figure.add_axes((*place, side / style.WIDTH_IN, side / figure.get_figheight()))


def _height(figure: Figure, inches: float) -> float:
    """Figure coordinate that many inches below the upper edge."""
    return 1 - inches / figure.get_figheight()


def show(axes: Axes, image: np.ndarray) -> None:
    """An image without axes."""
    axes.set_axis_off()
    axes.imshow(image, interpolation="nearest")


def row_label(axes: Axes, text: str) -> None:
    """Text to the left of a picture."""
    axes.text(-0.08, 0.5, text, ha="right", va="center", transform=axes.transAxes)
