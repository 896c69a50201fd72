from __future__ import annotations

import pytest
import torch

from btnet.backbones.registry import create
from btnet_lab.analysis.cost import model_costs

# measured with the reference code: GFLOPs at 112/56/28/14/7, learnt (authors) in M at 28/14/7, trunk in M
REFERENCE = {
    "r18": ([5.22, 4.47, 3.42, 2.28, 1.12], [0.3909, 1.6042, 6.4557], 24.0256),
    "r34": ([8.92, 8.17, 6.77, 4.85, 2.11], [0.4758, 2.2792, 11.8503], 34.1393),
    "r50": ([12.62, 11.87, 10.47, 8.55, 3.03], [0.4881, 2.2915, 21.3018], 43.5908),
    "r100": ([24.18, 23.43, 22.03, 16.99, 5.14], [0.5196, 4.9784, 42.8671], 65.1562),
}


@pytest.mark.parametrize("name", REFERENCE)
def test_costs_are_those_of_the_reference(name: str) -> None:
    gflops, learnt, trunk = REFERENCE[name]
    with torch.device("meta"):
        network = create(name)
    costs = model_costs(network, [56, 28, 14, 7])
    assert [round(c.flops / 1e9, 2) for c in costs] == gflops
    assert [round(c.learnt_authors / 1e6, 4) for c in costs[2:]] == learnt
    assert round(costs[0].learnt / 1e6, 4) == trunk


def test_shares_and_bytes_of_r50() -> None:
    with torch.device("meta"):
        costs = model_costs(create("r50"), [28, 14, 7])[1:]
    assert [round(100 * c.share_authors, 1) for c in costs] == [1.1, 5.3, 48.9]  # the paper's 1.1 to 48.9 %
    assert [c.learnt for c in costs] == [490176, 2293056, 21302336]
    # running statistics and the fixed weight are stored, but not learnt
    assert all(c.stored_bytes > 4 * c.learnt for c in costs)
