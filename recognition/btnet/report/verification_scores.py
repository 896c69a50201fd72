"""1:1 verification from several result files as one body of numbers: sets, models, pairs of resolutions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from btnet.files.text import is_whole
from btnet.report.results import ResultFile, ResultSet, number, pair_label, same_place

__all__ = ["HIGH_RESOLUTION", "MATCHED", "VerificationScores", "collect", "pair_key"]

HIGH_RESOLUTION = "phi_hr"
MATCHED = "phi_mm"


@dataclass(frozen=True, eq=False)
class VerificationScores:
    """Results of one protocol and interpolation.

    Attributes:
        protocol: in words.
        interpolation: how faces were resized.
        entries: (set, model, pair) -> entry as written.
        members: assembled model -> {pair: the model that answers it}, for models that come one per resolution.
    """

    protocol: str
    interpolation: str
    entries: dict[tuple[str, str, str], Mapping[str, Any]] = field(default_factory=dict)
    members: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def sets(self) -> list[str]:
        """Names of the sets, in the order of the files."""
        return list(dict.fromkeys(key[0] for key in self.entries))

    @property
    def models(self) -> list[str]:
        """Names of the models, assembled ones in the place of their members: phi_hr, phi_mm, phi_mr, phi_bt first."""
        known = dict.fromkeys(key[1] for key in self.entries)
        order = (HIGH_RESOLUTION, MATCHED, "phi_mr", "phi_bt")

        def place(name: str) -> tuple[int, str]:
            family = next((i for i, start in enumerate(order) if name.startswith(start)), len(order))
            # phi_mr v1, v2, v3; models of no family stay in the order of the files.
            return family, name if family < len(order) else ""

        return sorted(known, key=place)

    @property
    def pairs(self) -> list[str]:
        """Pairs of resolutions, those of two sizes first, each kind from small to large."""
        return sorted({key[2] for key in self.entries}, key=pair_key)

    def accuracy(self, set_name: str, model: str, pair: str) -> float | None:
        """10-fold accuracy in [0, 1], None where there is none."""
        return number(self.entries.get((set_name, model, pair), {}).get("accuracy"))

    def tar(self, set_name: str, model: str, pair: str, far: str) -> float | None:
        """True accept rate in [0, 1] at a false accept rate written as in the file, None where there is none."""
        rates = self.entries.get((set_name, model, pair), {}).get("tar_at_far")
        return number(rates.get(far)) if isinstance(rates, Mapping) else None

    def by_set(self, model: str, pair: str) -> dict[str, float | None]:
        """Accuracy of a model at a pair, on every set."""
        return {name: self.accuracy(name, model, pair) for name in self.sets}


def collect(files: Iterable[ResultFile]) -> list[VerificationScores]:
    """Bring result files of the task "verification" together, one body per protocol and interpolation.

    Sets of one name but other bytes, and models of one name from other folders, are told apart. Where a model
    has two results for the same, one with the set's checksum counts before one without, then the later.
    """
    groups: dict[tuple[str, str], list[ResultFile]] = {}
    for file in files:
        groups.setdefault((file.protocol, file.interpolation), []).append(file)
    return [_one_body(protocol, name, found) for (protocol, name), found in groups.items()]


def pair_key(pair: str) -> tuple[bool, int, int, str]:
    """Order of pairs in tables: of two sizes first, then by the smaller size, then by the larger."""
    sizes = [int(side) if is_whole(side) else 0 for side in pair.split("&")]
    return len(set(pair.split("&"))) == 1, min(sizes), max(sizes), pair


def _one_body(protocol: str, interpolation: str, files: Sequence[ResultFile]) -> VerificationScores:
    scores = VerificationScores(protocol, interpolation)
    set_names, model_names = _set_names(files), _model_names(files)
    certain: dict[tuple[str, str, str], bool] = {}
    for file in files:
        for result_set in file.sets:
            for entry in result_set.results:
                key = (
                    set_names[result_set.name, result_set.sha256],
                    model_names[str(entry.get("model", "")), file.path_of(entry.get("model"))],
                    pair_label(entry.get("pair")),
                )
                known = result_set.sha256 is not None
                if number(entry.get("accuracy")) is None and key in scores.entries:
                    continue
                if known or not certain.get(key, False):
                    scores.entries[key] = entry
                    certain[key] = known
    _assemble(scores)
    return scores


def _set_names(files: Iterable[ResultFile]) -> dict[tuple[str, str | None], str]:
    digests: dict[str, list[str]] = {}
    for result_set in _sets(files):
        known = digests.setdefault(result_set.name, [])
        if result_set.sha256 is not None and result_set.sha256 not in known:
            known.append(result_set.sha256)
    names: dict[tuple[str, str | None], str] = {}
    for name, known in digests.items():
        for digest in known:
            names[name, digest] = name if len(known) == 1 else f"{name} ({digest[:8]})"
        names[name, None] = name if len(known) < 2 else f"{name} (unknown bytes)"
    return names


def _sets(files: Iterable[ResultFile]) -> list[ResultSet]:
    return [result_set for file in files for result_set in file.sets]


def _model_names(files: Iterable[ResultFile]) -> dict[tuple[str, str], str]:
    places: dict[str, list[str]] = {}
    for file in files:
        for result_set in file.sets:
            for entry in result_set.results:
                known = places.setdefault(str(entry.get("model", "")), [])
                path = file.path_of(entry.get("model"))
                if path not in known:
                    known.append(path)
    names = {}
    for name, paths in places.items():
        for path in paths:
            # The same folder may be named from here and from the root.
            alike = [other for other in paths if same_place(path, other)]
            longest = max(alike, key=len)
            several = any(not same_place(longest, other) for other in paths)
            shown = min(alike, key=len)
            names[name, path] = f"{name} ({shown})" if several else name
    return names


def _assemble(scores: VerificationScores) -> None:
    """Make one model of those that come one per resolution: "phi_mm r14", "phi_14", "phi_bt r7" ..."""
    families: dict[str, dict[int, str]] = {}
    for model in dict.fromkeys(key[1] for key in scores.entries):
        match = re.fullmatch(r"(phi_(?:mm|bt))[ _]r(\d+)|phi_r?(\d+)", model)
        if match:
            families.setdefault(match[1] or MATCHED, {})[int(match[2] or match[3])] = model
    canonical = max((pair_key(pair)[2] for pair in scores.pairs), default=0)
    for family, by_resolution in families.items():
        if family in scores.models:
            continue
        members = scores.members.setdefault(family, {})
        for pair in scores.pairs:
            low = pair_key(pair)[1]
            # At full resolution phi_mm is phi_hr, and every phi_bt is its trunk.
            at_full = HIGH_RESOLUTION if family == MATCHED else next(iter(by_resolution.values()))
            member = by_resolution.get(low, at_full if low == canonical else None)
            if member is not None and any((name, member, pair) in scores.entries for name in scores.sets):
                members[pair] = member
    moved = {
        (name, family, pair): scores.entries[name, member, pair]
        for family, members in scores.members.items()
        for pair, member in members.items()
        for name in scores.sets
        if (name, member, pair) in scores.entries
    }
    gone = {model for family in scores.members for model in families[family].values()}
    for key in [key for key in scores.entries if key[1] in gone]:
        del scores.entries[key]
    scores.entries.update(moved)
