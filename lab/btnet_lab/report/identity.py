"""What a model in a result file is: role, kind, resolutions and weights. Names are only shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

MATCHED: Final = "phi_mm"


@dataclass(frozen=True)
class Identity:
    """A model, as the file that measured it describes it.

    Attributes:
        role: that its run gave it, or else its name.
        kind: "branches", "trunk" or "native"; "" where the file does not say.
        own: low resolutions in px that it has networks for.
        fingerprint: of all its weights; "" where the file does not say.
        trunk: fingerprint of its trunk alone; "" where the file does not say.
        path: where it lay; "" where the file does not say.
    """

    role: str
    kind: str = ""
    own: frozenset[int] = frozenset()
    fingerprint: str = ""
    trunk: str = ""
    path: str = ""

    @property
    def family(self) -> str:
        """What several models of one resolution each are together: the role without the resolution."""
        family = self.role
        for resolution in self.own:
            family = re.sub(rf"[ _]r{resolution}(?=[ ,]|$)", "", family)
            if self.kind == "native" and family in (f"phi_{resolution}", f"phi_r{resolution}"):
                family = MATCHED
        return family

    def is_same(self, other: Identity) -> bool:
        """Whether both are one model: of equal weights, or, where a file has no fingerprint, of one place."""
        if self.role != other.role:
            return False
        if self.fingerprint and other.fingerprint:
            return self.fingerprint == other.fingerprint
        return same_place(self.path, other.path)

    def joined(self, other: Identity) -> Identity:
        """What both files say of one model; of two paths the shorter."""
        paths = [path for path in (self.path, other.path) if path]
        return replace(
            self,
            kind=self.kind or other.kind,
            own=self.own or other.own,
            fingerprint=self.fingerprint or other.fingerprint,
            trunk=self.trunk or other.trunk,
            path=min(paths, key=len, default=""),
        )


def identity_of(about: Mapping[str, Any]) -> Identity:
    """Of a model as result files have it under "models" (`btnet.serving.results.describe_model`)."""
    kind, canonical = str(about.get("kind") or ""), about.get("canonical_size")
    sizes = (size for size in about.get("resolutions") or () if isinstance(size, int))
    trunk = (about.get("networks") or {}).get(str(canonical)) if kind == "branches" else None
    return Identity(
        role=str(about.get("role") or about.get("name", "")),
        kind=kind,
        own=frozenset(size for size in sizes if size != canonical),
        fingerprint=str(about.get("fingerprint") or ""),
        trunk=str(trunk.get("fingerprint", "")) if isinstance(trunk, Mapping) else "",
        path=str(about.get("path") or ""),
    )


def same_place(first: str, second: str) -> bool:
    """Whether two paths can be one place, named from here and from elsewhere; "" can be any."""
    if not first or not second:
        return True
    a, b = Path(first).parts, Path(second).parts
    short = min(len(a), len(b))
    return a[-short:] == b[-short:]
