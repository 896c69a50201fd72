"""The pictures of README.md and docs/index.md, from rendered faces and the numbers in docs/results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from btnet.evaluation.plots import COLOURS, new_figure, save_figure, tidy
from btnet.images.resize import resize
from btnet.synthetic.faces import SyntheticFaces
from btnet_lab.style import SERIES

DOCS: Final = Path(__file__).parent
SIZES: Final = (112, 28, 14, 7)
FACE: Final = 13
TRUNK, BRANCH = SERIES[1], COLOURS[1]
_COUPLING: Final = "coupling layer: the branch's map\nlearns to be the trunk's (eq. 2)"


def small_faces() -> Figure:
    """One face as cameras give it, to scale, and as a 112 px network is fed with it."""
    face, _ = SyntheticFaces(40, 1, seed=3)[FACE]
    figure = new_figure(8, 4.4)
    rows = figure.subplots(2, len(SIZES))
    for column, size in enumerate(SIZES):
        small = resize(face, size, "bilinear")
        paper = np.full((112, 112, 3), 255, dtype=np.uint8)
        start = (112 - size) // 2
        paper[start : start + size, start : start + size] = small
        enlarged = resize(small, 112, "bilinear")
        error = np.sqrt(np.mean(np.square(enlarged.astype(np.float64) - face)))
        rows[0, column].imshow(paper)
        rows[1, column].imshow(enlarged)
        rows[0, column].set_title(f"{size} px")
        lost = f"{error:.0f} grey levels off" if size < 112 else "as it was"
        rows[1, column].set_xlabel(lost, fontsize=9)
    for axes in rows.flat:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    rows[0, 0].set_ylabel("what the camera gives")
    rows[1, 0].set_ylabel("enlarged to 112 px")
    return figure


def branch_to_trunk() -> Figure:
    """Trunk, branch, coupling layer and tail of IResNet for 14 px."""
    figure = new_figure(8, 3.9)
    axes = figure.add_subplot()
    axes.set_xlim(0, 16)
    axes.set_ylim(0.2, 7.6)
    axes.axis("off")
    top, low, height = 5.0, 1.6, 1.5
    trunk = [("stem", 112), ("stage 1", 56), ("stage 2", 28), ("stage 3,\nunit 1", 14)]
    for i, (name, size) in enumerate(trunk):
        _box(axes, 1.5 + 1.9 * i, top, 1.6, height, f"{name}\n{size} px", TRUNK)
        _box(axes, 1.5 + 1.9 * i, low, 1.6, height, f"{name}\n14 px", BRANCH)
    for y, colour, text in (
        (top, TRUNK, "tail: units,\nlast layers"),
        (low, BRANCH, "tail: the trunk's\nconvolutions,\nown BatchNorms"),
    ):
        _box(axes, 9.6, y, 2.6, height, text, colour)
        _arrow(axes, (0.95, y + height / 2), (1.5, y + height / 2))
        for x in (3.1, 5.0, 6.9):
            _arrow(axes, (x, y + height / 2), (x + 0.3, y + height / 2))
        _arrow(axes, (8.8, y + height / 2), (9.6, y + height / 2))
        _arrow(axes, (12.2, y + height / 2), (13.2, 4.05 + np.sign(y - 3) * 0.35))
    axes.annotate(
        "", (8.0, low + height), (8.0, top), arrowprops={"arrowstyle": "->", "color": "#444444", "lw": 1.2}
    )
    axes.text(
        7.8,
        4.05,
        _COUPLING,
        ha="right",
        va="center",
        fontsize=9,
    )
    _box(axes, 13.2, 3.3, 2.6, height, "one space of\nembeddings\n(eq. 1)", "#444444")
    axes.text(0.85, top + height / 2, "112 px\nface", ha="right", va="center", fontsize=9)
    axes.text(0.85, low + height / 2, "14 px\nface", ha="right", va="center", fontsize=9)
    axes.text(1.5, 7.0, "trunk: frozen, not changed by a bit", color=TRUNK, fontsize=10, fontweight="bold")
    axes.text(
        1.5,
        0.7,
        "branch: the same layers at stride 1, learnt",
        color="#9a6a00",
        fontsize=10,
        fontweight="bold",
    )
    return figure


def overview() -> Figure:
    """A face as cameras give it, and how often trunk and branch judge a pair with such a probe rightly."""
    face, _ = SyntheticFaces(40, 1, seed=3)[FACE]
    trunk = _accuracies("hr")
    model = {112: trunk[112]} | {size: _accuracies(f"bt_plus_r{size}")[size] for size in SIZES[1:]}
    figure = new_figure(8, 4.4)
    grid = figure.add_gridspec(2, len(SIZES), height_ratios=(1, 1.25))
    for column, size in enumerate(SIZES):
        axes = figure.add_subplot(grid[0, column])
        paper = np.full((112, 112, 3), 255, dtype=np.uint8)
        start = (112 - size) // 2
        paper[start : start + size, start : start + size] = resize(face, size, "bilinear")
        axes.imshow(paper)
        axes.axis("off")
    axes = figure.add_subplot(grid[1, :])
    for offset, values, colour, label in (
        (-0.18, trunk, TRUNK, "trunk alone, face enlarged to 112 px"),
        (0.18, model, COLOURS[3], "trunk and branches (phi_bt plus)"),
    ):
        heights = [100 * values[size] for size in SIZES]
        bars = axes.bar([i + offset for i in range(len(SIZES))], heights, 0.34, color=colour, label=label)
        axes.bar_label(bars, fmt="%.1f", fontsize=9)
    axes.set_xticks(range(len(SIZES)), [f"{size} px" for size in SIZES])
    axes.set_xlim(-0.5, len(SIZES) - 0.5)
    axes.set_ylim(50, 118)
    axes.set_yticks(range(50, 101, 10))
    axes.set_xlabel("size of the probe; the gallery stays at 112 px")
    axes.set_ylabel("pairs judged rightly, %")
    axes.legend(loc="upper center", ncols=2, frameon=False, fontsize=9)
    tidy(axes)
    return figure


def _accuracies(row: str) -> dict[int, float]:
    """Mean accuracy with a 112 px gallery by the probe's size, over the seeds in docs/results/ROW-sN.json."""
    runs = [json.loads(path.read_text()) for path in sorted((DOCS / "results").glob(f"{row}-s*.json"))]
    found: dict[int, list[float]] = {}
    for entry in (entry for run in runs for entry in run["sets"][0]["results"]):
        if entry["pair"][0] == 112:
            found.setdefault(entry["pair"][1], []).append(entry["accuracy"])
    return {size: float(np.mean(values)) for size, values in found.items()}


def _box(axes: Any, x: float, y: float, width: float, height: float, text: str, colour: str) -> None:
    shape = FancyBboxPatch(
        (x, y), width, height, boxstyle="round,pad=0.02,rounding_size=0.12", fc="white", ec=colour, lw=1.8
    )
    axes.add_patch(shape)
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=8.5)


def _arrow(axes: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": "#444444", "lw": 1.2})


def main() -> None:
    """Draw all three."""
    for name, draw in (
        ("idea_faces.png", small_faces),
        ("idea_network.png", branch_to_trunk),
        ("overview.png", overview),
    ):
        save_figure(draw(), DOCS / "images" / name)
        print(DOCS / "images" / name)


if __name__ == "__main__":
    main()
