from __future__ import annotations

from pathlib import Path

import pytest

from btnet.evaluation.plots import save_figure
from btnet_lab.analysis.architecture import architecture, draw, rows
from btnet_lab.analysis.cost import trunk_of

# What the paper's definition gives for iresnet50: parameters learnt at 28, 14 and 7 px.
LEARNT_R50 = {28: 490176, 14: 2293056, 7: 21302336}


def test_r50_is_what_the_paper_describes() -> None:
    facts = architecture(trunk_of("r50"), [28, 14, 7])
    assert list(facts) == [112, 28, 14, 7]
    assert sum(f.num_parameters for f in facts[112]) == 43590848
    for resolution, learnt in LEARNT_R50.items():
        assert sum(f.num_learnt for f in facts[resolution]) == learnt
    assert {f.resolution: f.unit for units in facts.values() for f in units if f.couples} == {
        28: "layer2.0",
        14: "layer3.0",
        7: "layer4.0",
    }


@pytest.mark.parametrize("name", ["r18", "mbf"])
def test_sizes_follow_from_strides_and_meet_at_the_coupling_layer(name: str) -> None:
    facts = architecture(trunk_of(name), [56, 28, 14, 7])
    trunk = {f.unit: f for f in facts[112]}
    for resolution, units in facts.items():
        size = resolution
        for unit in units:
            if unit.size is not None:
                size //= unit.stride
                assert unit.size == size
        if resolution == 112:
            assert {f.part for f in units} == {"trunk"}
            assert sum(f.num_learnt for f in units) == 0
            continue
        [couples] = [index for index, f in enumerate(units) if f.couples]
        assert units[couples].size == resolution == trunk[units[couples].unit].size
        assert all(f.stride == 1 and f.part == "branch" for f in units[: couples + 1])
        assert all(f.size == trunk[f.unit].size and f.part == "tail" for f in units[couples + 1 :])
        # Of the tail only BatchNorms learn; of the branch everything does.
        assert all(f.num_learnt == f.num_parameters for f in units[: couples + 1])
        assert all(0 <= f.num_learnt < f.num_parameters for f in units[couples + 1 :])


def test_a_tail_that_starts_elsewhere_is_shown_there(tmp_path: Path) -> None:
    facts = architecture(trunk_of("r18"), [14], tail_from="layer1.1")
    parts = {f.unit: f.part for f in facts[14]}
    assert parts["layer1.0"] == "branch"
    assert parts["layer1.1"] == parts["layer3.0"] == "tail"
    assert {row["resolution_px"] for row in rows(facts)} == {112, 14}
    save_figure(draw(facts, "r18"), tmp_path / "x.svg")
    text = (tmp_path / "x.svg").read_text()
    assert text.startswith("<?xml")
