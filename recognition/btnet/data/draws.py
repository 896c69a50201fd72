"""Random draws that belong to an image, not to a process: a hash of (seed, epoch, key).

An image draws the same number in the same epoch whatever batch, worker or rank it lands on, so a run can be
resumed, resharded or re-batched without changing its data. No generator state exists that could differ.
"""

import math

import torch
from torch import Tensor

# splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014), its constants as
# signed 64-bit integers: torch has no uint64 arithmetic, and two's complement wraps to the same bits.
_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MIX_2 = 0x94D049BB133111EB - (1 << 64)
_MASK_64 = (1 << 64) - 1


def draw(keys: Tensor, *, seed: int, epoch: int, purpose: str) -> Tensor:
    """Draw one uniform integer of 32 bits for each key.

    Args:
        keys: int64 of any shape, e.g. record keys; any device.
        seed: of the run.
        epoch: so that each epoch draws anew.
        purpose: name of what is drawn ("flip", "size"); different purposes are independent.

    Returns:
        int64 like `keys`, uniform in [0, 2 ** 32). Integers, so that every device draws the same.

    Raises:
        ValueError: if the keys are not int64.
    """
    if keys.dtype != torch.int64:
        raise ValueError(f"keys are {keys.dtype}, expected torch.int64; convert them with keys.long()")
    state = 0
    for word in (seed, epoch, *purpose.encode()):
        state = _mix_python(state ^ word)
    # Keys are mixed before and after they meet the state: neighbouring keys and neighbouring states differ
    # in few bits, and must not cancel.
    mixed = _mix(_mix(keys) ^ _signed(state))
    return _shift_right(mixed, 32)


def uniform(keys: Tensor, low: float, high: float, *, seed: int, epoch: int, purpose: str) -> Tensor:
    """Draw one number in [low, high) for each key, float64; see `draw`."""
    drawn = draw(keys, seed=seed, epoch=epoch, purpose=purpose)
    return low + (high - low) / (1 << 32) * drawn.double()


def bell(keys: Tensor, *, seed: int, epoch: int, purpose: str) -> Tensor:
    """Draw one number of mean 0 and standard deviation 1 for each key, float64; see `draw`.

    The sum of the four bytes of a draw is close enough to a normal distribution (it ends at 3.4 deviations), and the
    same on every device.
    """
    drawn = draw(keys, seed=seed, epoch=epoch, purpose=purpose)
    total = torch.stack([(drawn >> shift) & 255 for shift in (0, 8, 16, 24)]).sum(0)
    return (total - 510).double() / math.sqrt(4 * (256**2 - 1) / 12)


def _mix(x: Tensor) -> Tensor:
    x = x + _GOLDEN
    x = (x ^ _shift_right(x, 30)) * _MIX_1
    x = (x ^ _shift_right(x, 27)) * _MIX_2
    return x ^ _shift_right(x, 31)


def _mix_python(x: int) -> int:
    x = (x + _GOLDEN) & _MASK_64
    x = ((x ^ (x >> 30)) * _MIX_1) & _MASK_64
    x = ((x ^ (x >> 27)) * _MIX_2) & _MASK_64
    return x ^ (x >> 31)


def _shift_right(x: Tensor, bits: int) -> Tensor:
    # Logical: torch's shift of a negative number drags the sign in.
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _signed(x: int) -> int:
    return x - (1 << 64) if x >= 1 << 63 else x
