"""Random draws that belong to an image, not to a process: a hash of (seed, epoch, key).

An image draws the same number in the same epoch whatever batch, worker or rank it lands on, so a run can be
resumed, resharded or re-batched without changing its data. No generator state exists that could differ.

`keys` are int64 of any shape on any device, positions in the data set (not in the batch); `purpose` names what is drawn
("flip", "size"): different purposes are independent. All devices draw the same.
"""

import math
from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["bell", "by_value", "draw", "mix_bits", "uniform"]

# SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014), its constants as
# signed 64-bit integers: torch has no uint64 arithmetic, and two's complement wraps to the same bits.
_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MIX_2 = 0x94D049BB133111EB - (1 << 64)


def draw(keys: Tensor, *, seed: int, epoch: int, purpose: str) -> Tensor:
    """Draw one uniform integer in [0, 2 ** 32) for each key, int64 like `keys`; ValueError if keys are not int64."""
    if keys.dtype != torch.int64:
        raise ValueError(f"keys are {keys.dtype}, expected torch.int64; convert them with keys.long()")
    # Keys are mixed before and after they meet the state: neighbouring keys and neighbouring states differ
    # in few bits, and must not cancel.
    return _shift_right(_step(_step(keys) ^ _state(seed, epoch, purpose)), 32)


def uniform(keys: Tensor, low: float, high: float, *, seed: int, epoch: int, purpose: str) -> Tensor:
    """Draw one number in [low, high) for each key, float64."""
    drawn = draw(keys, seed=seed, epoch=epoch, purpose=purpose)
    return low + (high - low) / (1 << 32) * drawn.double()


def bell(keys: Tensor, *, seed: int, epoch: int, purpose: str) -> Tensor:
    """Draw one number of mean 0 and standard deviation 1 for each key, float64.

    The sum of the four bytes of a draw: close to a normal distribution (it ends at 3.4 deviations), and exact on every
    device.
    """
    drawn = draw(keys, seed=seed, epoch=epoch, purpose=purpose)
    total = torch.stack([(drawn >> shift) & 255 for shift in (0, 8, 16, 24)]).sum(0)
    return (total - 510).double() / math.sqrt(4 * (256**2 - 1) / 12)


def by_value(drawn: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Each value of a 1-D tensor in ascending order, and its positions."""
    for value in sorted(set(drawn.tolist())):
        yield value, (drawn == value).nonzero()[:, 0]


def mix_bits(bits: Tensor) -> Tensor:
    """SplitMix64's output function on int64 of any shape: one to one, so different inputs never give equal outputs."""
    bits = (bits ^ _shift_right(bits, 30)) * _MIX_1
    bits = (bits ^ _shift_right(bits, 27)) * _MIX_2
    return bits ^ _shift_right(bits, 31)


@lru_cache(maxsize=256)
def _state(seed: int, epoch: int, purpose: str) -> int:
    state = torch.zeros((), dtype=torch.int64, device="cpu")
    for word in (seed, epoch, *purpose.encode()):
        state = _step(state ^ word)
    return int(state)


def _step(state: Tensor) -> Tensor:
    return mix_bits(state + _GOLDEN)


def _shift_right(x: Tensor, bits: int) -> Tensor:
    # Logical: torch's shift of a negative number drags the sign in.
    return (x >> bits) & ((1 << (64 - bits)) - 1)
