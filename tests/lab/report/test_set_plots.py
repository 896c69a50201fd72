from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.patches import Rectangle

from btnet.evaluation.plots import COLOURS, math_name, save_figure
from btnet_lab.report.set_plots import draw_accuracies, draw_drops, draw_radar
from btnet_lab.style import colour_of, family_styles, svg_text

BY_SET: dict[str, float | None] = {"lfw": 0.9, "calfw": 0.8, "cplfw": 0.7}
TESTS: dict[str, dict[str, dict[str, float | None]]] = {
    "112&14": {"phi_hr": BY_SET, "phi_bt": dict.fromkeys(BY_SET, 0.95), "new": {**BY_SET, "lfw": None}}
}


def test_a_radar_has_a_closed_polygon_for_each_model_with_all_sets() -> None:
    [axes] = draw_radar(TESTS).axes
    drawn = {str(line.get_label()): np.asarray(line.get_ydata()).tolist() for line in axes.get_lines()}
    assert drawn == {math_name("phi_hr"): [0.9, 0.8, 0.7, 0.9], math_name("phi_bt"): [0.95] * 4}
    with pytest.raises(ValueError, match="2 sets has no area"):
        draw_radar({"x": {"phi_hr": {"a": 0.5, "b": 0.5}}})
    with pytest.raises(ValueError, match="no model has an accuracy on each"):
        draw_radar({"x": {"phi_hr": {**BY_SET, "lfw": None}}})


def test_a_point_is_a_mean_and_a_model_without_number_has_none() -> None:
    accuracies = {"112&14": {"phi_hr": [0.8], "phi_bt": [0.9, 1.0], "new": []}}
    [axes] = draw_accuracies({"cross": accuracies}, ylabel="accuracy").axes
    shown = {
        c.get_label(): np.asarray(c.lines[0].get_ydata()).tolist()
        for c in axes.containers
        if isinstance(c, ErrorbarContainer)
    }
    assert shown == {math_name("phi_hr"): [0.8], math_name("phi_bt"): [0.95], "new": []}


def test_bars_are_mean_drops_and_lines_their_range() -> None:
    high = {"phi_hr": dict.fromkeys(BY_SET, 1.0), "phi_bt": dict.fromkeys(BY_SET, 1.0)}
    axes = draw_drops(high, TESTS).axes[0]
    heights = [patch.get_height() for patch in axes.patches if isinstance(patch, Rectangle)]
    assert heights == pytest.approx([0.2, 0.05])
    with pytest.raises(ValueError, match="evaluate one at both"):
        draw_drops({"phi_hr": {"lfw": 1.0}}, {"112&14": {"phi_hr": {"calfw": 0.5}}})


def test_roles_keep_their_colour_and_others_get_a_free_one() -> None:
    names = ["mine", "phi_bt", "other"]
    assert colour_of("phi_bt", names) == colour_of("phi_bt", ["phi_bt"]) == COLOURS[3]
    assert len({colour_of(name, names) for name in names}) == 3


def test_names_are_set_as_greek_letters_and_dollars_stay_dollars() -> None:
    assert math_name("phi_bt r14") == r"$\phi_{\mathrm{bt}}$ r14"
    assert math_name("phi_mm, from $1") == r"$\phi_{\mathrm{mm}}$, from \$1"
    assert math_name("phi_bt on phi_mr v1") == r"$\phi_{\mathrm{bt}}$ on $\phi_{\mathrm{mr}}$ v1"
    assert math_name("runs/phi_bt") == "runs/phi_bt"
    assert math_name("a$b") == r"a\$b"


def test_a_family_has_one_colour_and_its_members_differ_by_line_and_marker() -> None:
    names = [
        "phi_hr",
        "phi_mm, from scratch",
        "phi_mm, from the trunk",
        "another",
        "phi_bt",
        "phi_bt on phi_mr v1",
    ]
    styles = family_styles(names)
    assert list(styles) == names
    assert styles["phi_bt"]["color"] == styles["phi_bt on phi_mr v1"]["color"] == colour_of("phi_bt", names)
    assert len({style["color"] for style in styles.values()}) == 4
    assert len({tuple(style.values()) for style in styles.values()}) == len(names)


def test_pictures_are_the_same_bytes_every_time_and_only_png_or_svg(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        save_figure(draw_radar(TESTS), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert "<svg" in svg_text(draw_radar(TESTS))
    with pytest.raises(ValueError, match=r"pictures are written as \.png or \.svg"):
        save_figure(draw_radar(TESTS), tmp_path / "x.pdf")
