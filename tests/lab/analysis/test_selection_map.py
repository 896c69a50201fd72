from __future__ import annotations

import numpy as np
import pytest

from btnet.inference import select
from btnet.serving.selection import INDICATORS, RULES
from btnet_lab.analysis.selection_map import rows, selection_map

SIZES = (112, 28, 14, 7)
WIDE = np.array([[7, 14, 28]])  # one px high


def test_every_cell_is_the_answer_of_the_recogniser() -> None:
    maps = selection_map(SIZES, 40)
    assert list(maps) == [(indicator, rule) for indicator in INDICATORS for rule in RULES]
    for (indicator, rule), chosen in maps.items():
        for (y, x), resolution in np.ndenumerate(chosen):
            assert resolution == select(x + 1, y + 1, SIZES, indicator, rule)


def test_a_row_of_the_table_names_width_and_height() -> None:
    sizes = {
        (row["width_px"], row["height_px"]): row["resolution_px"] for row in rows({("max", "ceil"): WIDE})
    }
    assert sizes == {(1, 1): 7, (2, 1): 14, (3, 1): 28}


def test_boundaries_are_those_of_a_formula_of_their_own() -> None:
    maps = selection_map(SIZES, 130)
    side = np.arange(1, 131)
    width, height = np.meshgrid(side, side)
    largest = np.maximum(width, height)
    ceil = np.select([largest <= 7, largest <= 14, largest <= 28], [7, 14, 28], 112)
    np.testing.assert_array_equal(maps["max", "ceil"], ceil)
    smallest = np.minimum(width, height)
    floor = np.select([smallest >= 112, smallest >= 28, smallest >= 14], [112, 28, 14], 7)
    np.testing.assert_array_equal(maps["min", "floor"], floor)
    for chosen in maps.values():
        np.testing.assert_array_equal(chosen, chosen.T)  # none of the indicators tells width from height


def test_a_map_of_no_size_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least 1"):
        selection_map(SIZES, 0)
