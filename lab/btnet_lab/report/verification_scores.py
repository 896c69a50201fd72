"""1:1 verification from several result files, joined: by set, model and pair of resolutions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from btnet_lab.report.identity import MATCHED, Identity
from btnet_lab.report.results import ResultFile, number, pair_label, sides_of

HIGH_RESOLUTION = "phi_hr"


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

    Sets of one name are told apart by their bytes, models by what they are (`Identity.is_same`). Where a model has
    two results for the same, one of the finished model on known bytes counts before others, then the later.
    """
    groups: dict[tuple[str, str], list[ResultFile]] = {}
    for file in files:
        groups.setdefault((file.protocol, file.interpolation), []).append(file)
    return [_one_body(protocol, name, found) for (protocol, name), found in groups.items()]


def pair_key(pair: str) -> tuple[bool, int, int, str]:
    """Order of pairs in tables: of two sizes first, then by the smaller size, then by the larger."""
    sizes = sides_of(pair)
    return len(set(pair.split("&"))) == 1, min(sizes), max(sizes), pair


def _one_body(protocol: str, interpolation: str, files: Sequence[ResultFile]) -> VerificationScores:
    scores = VerificationScores(protocol, interpolation)
    set_names, models = _set_names(files), _models(files)
    finished: dict[tuple[str, str, str], bool] = {}
    for file in files:
        for result_set in file.sets:
            for entry in result_set.results:
                identity = file.identity_of(entry.get("model"))
                key = (
                    set_names[result_set.sha256, result_set.name],
                    next(name for name, known in models.items() if known.is_same(identity)),
                    pair_label(entry.get("pair")),
                )
                if number(entry.get("accuracy")) is None and key in scores.entries:
                    continue
                is_finished = result_set.sha256 is not None and not file.in_training
                if is_finished or not finished.get(key, False):
                    scores.entries[key] = entry
                    finished[key] = is_finished
    _assemble(scores, models)
    return scores


def _set_names(files: Iterable[ResultFile]) -> dict[tuple[str | None, str], str]:
    """What a set is called, by its digest (None where it is not known) and name."""
    found = dict.fromkeys((each.sha256, each.name) for file in files for each in file.sets)
    num_digests = Counter(name for digest, name in found if digest is not None)
    return {
        (digest, name): name
        if num_digests[name] < 2
        else f"{name} ({'unknown bytes' if digest is None else digest[:8]})"
        for digest, name in found
    }


def _models(files: Iterable[ResultFile]) -> dict[str, Identity]:
    """The models of all files, each once, by what it is shown as: its role; where several have it, with the place."""
    known: list[Identity] = []
    for file in files:
        for entry in (entry for each in file.sets for entry in each.results):
            identity = file.identity_of(entry.get("model"))
            place = next((i for i, other in enumerate(known) if other.is_same(identity)), None)
            if place is None:
                known.append(identity)
            else:
                known[place] = known[place].joined(identity)
    shown: dict[str, Identity] = {}
    for identity in known:
        alike = [other for other in known if other.role == identity.role]
        name = identity.role
        if len(alike) > 1:
            same_path = sum(other.path == identity.path for other in alike) > 1
            name += f" ({identity.fingerprint[:8] if same_path and identity.fingerprint else identity.path})"
        shown[name] = identity
    return shown


def _assemble(scores: VerificationScores, models: Mapping[str, Identity]) -> None:
    """Make one model of those that come one per resolution: "phi_mm r14", "phi_14", "phi_bt r7" ...

    Each pair of resolutions is answered by the member that has networks for its low sides; one that no member has, by
    the first that has a number. Nothing is lost: where two members have a network for one resolution, or stand on
    different trunks, all of them stay rows of their own.
    """
    canonical = max((pair_key(pair)[2] for pair in scores.pairs), default=0)
    families: dict[str, list[str]] = {}
    for model in dict.fromkeys(key[1] for key in scores.entries):
        if models[model].own:
            families.setdefault(models[model].family, []).append(model)
    for family, names in families.items():
        own = Counter(resolution for name in names for resolution in models[name].own)
        trunks = {models[name].trunk for name in names} - {""}
        taken = names == [family] or family in set(scores.models) - set(names)
        if taken or max(own.values()) > 1 or len(trunks) > 1:
            continue
        answers = scores.members.setdefault(family, {})
        for pair in scores.pairs:
            low = {size for size in sides_of(pair) if size != canonical}
            order = sorted(names, key=lambda name: not (low and low <= models[name].own))
            # At full resolution phi_mm is phi_hr.
            order += [HIGH_RESOLUTION] * (family == MATCHED and not low)
            found = [name for name in order if any(v is not None for v in scores.by_set(name, pair).values())]
            if found:
                answers[pair] = found[0]
        moved = {
            (each, family, pair): scores.entries[each, name, pair]
            for pair, name in answers.items()
            for each in scores.sets
            if (each, name, pair) in scores.entries
        }
        for key in [key for key in scores.entries if key[1] in names]:
            del scores.entries[key]
        scores.entries.update(moved)
