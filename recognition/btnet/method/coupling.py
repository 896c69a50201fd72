"""The one rule of the method: from a backbone's units and a resolution to strides, coupling layer and tail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

NO_TAIL = "none"  # as `tail_from`: a resolution shares nothing with the trunk


@dataclass(frozen=True)
class Unit:
    """A step of a backbone, in the order of its forward.

    Attributes:
        name: how taps, the coupling layer and `tail_from` refer to it.
        stride: by how much it reduces the size at the canonical resolution (1 or 2).
        modules: dotted names of the sub-modules it applies, one after the other.
        full_precision: run in float32 under autocast (un-normalised embeddings overflow float16).
    """

    name: str
    stride: int
    modules: tuple[str, ...]
    full_precision: bool = False


def pyramid(strides: Sequence[int], canonical_size: int) -> list[int]:
    """Sizes in px that a backbone's striding units put out; each is a resolution a branch can have.

    Raises:
        ValueError: if `canonical_size` is not divisible by the product of all strides.
    """
    sizes = [canonical_size]
    for stride in strides:
        if stride > 1:
            size, remainder = divmod(sizes[-1], stride)
            if remainder or size == 0:
                raise ValueError(
                    f"canonical size {canonical_size} px: halving it at every striding unit must leave whole "
                    f"pixels, but {sizes[-1]} px is not divisible by {stride}; use a multiple of 16 such as 112"
                )
            sizes.append(size)
    return sizes[1:]


def strides_at(strides: Sequence[int], canonical_size: int, input_size: int) -> list[int]:
    """Strides of the network for `input_size`: those up to and including the coupling layer become 1.

    Raises:
        ValueError: if no striding unit puts out `input_size` px.
    """
    if input_size == canonical_size:
        return list(strides)
    last = coupling_index(strides, canonical_size, input_size)
    return [1 if i <= last else stride for i, stride in enumerate(strides)]


def coupling_index(strides: Sequence[int], canonical_size: int, resolution: int) -> int:
    """Position of the striding unit whose output at canonical size is `resolution` px wide (paper, section 3.2).

    Raises:
        ValueError: if there is none. The canonical size couples nowhere: it is the trunk.
    """
    sizes = pyramid(strides, canonical_size)
    if resolution not in sizes:
        raise ValueError(
            f"resolution {resolution} px: this backbone's feature maps have {', '.join(map(str, sizes))} px at its "
            f"canonical {canonical_size} px, so branches exist for these sizes only"
        )
    striding = [i for i, stride in enumerate(strides) if stride > 1]
    return striding[sizes.index(resolution)]


def coupling_layer(units: Sequence[Unit], canonical_size: int, resolution: int) -> str:
    """Name of the coupling layer for `resolution`, see `coupling_index`."""
    return units[coupling_index([u.stride for u in units], canonical_size, resolution)].name


def default_tail(units: Sequence[Unit], canonical_size: int, resolution: int) -> str:
    """Name of the first unit behind the coupling layer, where the paper's tail starts."""
    return units[coupling_index([u.stride for u in units], canonical_size, resolution) + 1].name


def tail_of(units: Sequence[Unit], canonical_size: int, resolution: int, tail_from: str | None) -> str:
    """Name of the unit where a branch's tail starts: the one asked for, or the paper's.

    Raises:
        ValueError: for a resolution without coupling layer, or as `unit_index`.
    """
    default = default_tail(units, canonical_size, resolution)
    name = tail_from or default
    tail_index(units, name)
    return name


def inner_of(units: Sequence[Unit], canonical_size: int, resolution: int, inner_size: int) -> int:
    """Size in px that a branch enlarges its faces to; 0 where the one asked for is not above its own.

    Raises:
        ValueError: if the backbone has no maps of this size.
    """
    known = [canonical_size, *pyramid([unit.stride for unit in units], canonical_size)]
    if inner_size and inner_size not in known:
        raise ValueError(
            f"inner size {inner_size} px: this backbone computes at {', '.join(map(str, known))} px; take one of "
            "them, or 0 for none"
        )
    return inner_size if inner_size > resolution else 0


def unit_index(units: Sequence[Unit], name: str) -> int:
    """Position of the unit called `name`.

    Raises:
        ValueError: if there is none; the message lists the names.
    """
    names = [u.name for u in units]
    if name not in names:
        raise ValueError(f"unit {name!r} does not exist in this backbone; its units are {', '.join(names)}")
    return names.index(name)


def tail_index(units: Sequence[Unit], tail_from: str) -> int:
    """Position of the tail's first unit; behind the last for `NO_TAIL`.

    Raises:
        ValueError: as `unit_index`.
    """
    return len(units) if tail_from == NO_TAIL else unit_index(units, tail_from)
