import torch

from btnet.draws import bell, draw, uniform

KEYS = torch.arange(200_000)


def test_numbers_are_spread_evenly_between_their_ends() -> None:
    drawn = uniform(KEYS, -2.0, 6.0, seed=1, epoch=2, purpose="test")
    assert -2 <= float(drawn.min()) < -1.99
    assert 5.99 < float(drawn.max()) < 6
    assert abs(float(drawn.mean()) - 2) < 0.02
    counts = torch.histc(drawn, 8, -2, 6)
    assert float((counts / len(KEYS) - 1 / 8).abs().max()) < 0.003


def test_a_bell_has_the_moments_of_a_normal_distribution() -> None:
    drawn = bell(KEYS, seed=1, epoch=2, purpose="test")
    assert abs(float(drawn.mean())) < 0.01
    assert abs(float(drawn.std()) - 1) < 0.01
    assert abs(float(drawn.pow(3).mean())) < 0.02
    # the sum of four uniform variables: excess kurtosis -1.2 / 4
    assert abs(float(drawn.pow(4).mean()) - 2.7) < 0.05
    expected = sum((draw(KEYS, seed=1, epoch=2, purpose="test") // 256**k) % 256 for k in range(4)) - 510
    assert torch.equal(drawn.sign().long(), expected.sign())
