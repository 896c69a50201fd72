"""Whatever was saved around a state dict: wrappers, prefixes, other networks beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

ARCFACE_TORCH = "arcface_torch"
COLOUR_ORDERS = ("RGB", "BGR")
_DEEPEST: Final = 6  # wrappers and prefixes around a network, one in the other


class Part(NamedTuple):
    """A state dict and where it stood.

    Attributes:
        state: names to tensors.
        place: what stood before each name; dictionaries end in "/", prefixes in ".": "state_dict/model.".
    """

    state: dict[str, Tensor]
    place: str


def tensors_in(content: Any) -> Part | None:
    """All tensors of nested dictionaries, by their whole name; None if there are none."""
    found: dict[str, Tensor] = {}
    _collect(content, "", found, set())
    return Part(found, "") if found else None


def _collect(content: Any, place: str, found: dict[str, Tensor], seen: set[int]) -> None:
    # Once each: a few bytes can name dictionaries in dictionaries without end.
    if not isinstance(content, Mapping) or id(content) in seen or place.count("/") > _DEEPEST:
        return
    seen.add(id(content))
    for key, value in content.items():
        if isinstance(key, str) and isinstance(value, Tensor) and value.layout == torch.strided:
            found[place + key] = value
        elif isinstance(key, str):
            _collect(value, f"{place}{key}/", found, seen)


def networks_in(
    part: Part, known: Callable[[Part], Translated | None], deepest: int = _DEEPEST
) -> list[tuple[str, Translated]]:
    """Place and network of each network among tensors; `known` says what network a part is, or None."""
    network = known(part)
    if network is not None:
        return [(part.place, network)]
    inner = _inside(part) if deepest else ()
    return [found for each in inner for found in networks_in(each, known, deepest - 1)]


def _inside(part: Part) -> Iterator[Part]:
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in part.state.items():
        end = min((name.find(mark) for mark in "/." if mark in name), default=-1) + 1
        if end:
            groups.setdefault(name[:end], {})[name[end:]] = tensor
    for first, state in groups.items():
        yield Part(state, part.place + first)


@dataclass(frozen=True)
class Translated:
    """A state dict of another repository in arcface_torch's keys.

    Attributes:
        state: of a backbone of ours; its first convolution is as in the file.
        origin: the repository.
        colour_order: "RGB" or "BGR", of the images it was trained on; None: the file does not tell.
        licence: where it is stated; else empty.
    """

    state: Mapping[str, Tensor]
    origin: str
    colour_order: str | None
    licence: str = ""


Layout = Callable[[Part, Path], Translated | None]
"""What a part of a file is, if it is a network in a layout that is not ours; ValueError for one that cannot be."""

_layouts: list[Layout] = []


def register_layout(layout: Layout) -> None:
    """Let `load_trunk` read one more repository's files."""
    _layouts.append(layout)


def translated_by_layout(part: Part, path: Path) -> Translated | None:
    """By the first layout that knows it."""
    found = (layout(part, path) for layout in _layouts)
    return next((each for each in found if each is not None), None)
