"""Results of verification as tables for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from btnet.console import show, show_table
from btnet.evaluation.rates import measurable, too_few
from btnet.evaluation.summary import GainBaselines, average, gain_text, gains
from btnet.serving.face_model import FaceModel
from btnet.serving.results import describe_model, plain, result_document
from btnet.serving.verify import FARS, Pair, VerificationResult, pair_label

__all__ = ["PROTOCOL", "SetResults", "print_accuracy", "print_gains", "print_report", "verification_document"]

PROTOCOL = (
    "first image of each pair at the first resolution, second at the second; image plus mirror; 10 folds"
)


@dataclass(frozen=True, eq=False)
class SetResults:
    """What all models reached on one verification set.

    Attributes:
        path: of the set.
        sha256: of the file.
        issame: [P].
        by_model: name of the model -> its results, one for each pair of resolutions it has networks for.
        num_folds: of the accuracy.
        unreadable: images that could not be read, with the reason; pairs with one of them are not in `issame`.
    """

    path: Path
    sha256: str
    issame: NDArray[np.bool_]
    by_model: dict[str, list[VerificationResult]]
    num_folds: int = 10
    unreadable: Sequence[dict[str, str]] = ()

    @property
    def num_impostors(self) -> int:
        """Pairs of different people."""
        return int(np.count_nonzero(~self.issame))

    def find(self, model: str, pair: Pair) -> VerificationResult | None:
        """The result of a model at a pair of resolutions, None if it has none."""
        return next((result for result in self.by_model[model] if result.pair == pair), None)


def print_report(sets: Sequence[SetResults], pairs: Sequence[Pair], interpolation: str) -> None:
    """Print, per set and as the average of several, accuracy and TAR of each model at each pair."""
    for results in sets:
        print_accuracy(results, pairs)
        _print_tar([results], pairs)
        if note := too_few(FARS, results.num_impostors):
            show(note)
    if len(sets) > 1:
        show()
        show(f"Average of {len(sets)} sets", bold=True)
        _print("10-fold accuracy, %", sets, pairs, lambda of_sets: f"{100 * _mean(of_sets):.2f}")
        _print_tar(sets, pairs)
    show()
    show(f"Faces resized by {interpolation}; {PROTOCOL}.")
    for model, results_of_model in sets[0].by_model.items():
        used = {
            "native" if side is None else f"{side} px": name
            for result in results_of_model
            for side, name in zip(result.pair, result.networks, strict=True)
        }
        show(f"{model}: {'; '.join(f'{size}: {name}' for size, name in used.items())}")


def print_accuracy(results: SetResults, pairs: Sequence[Pair]) -> None:
    """Print the 10-fold accuracy of each model at each pair of resolutions."""
    num_same = int(results.issame.sum())
    show()
    show(f"{results.path.stem}: {len(results.issame)} pairs, {num_same} of them the same person", bold=True)
    _print(
        "10-fold accuracy, %",
        [results],
        pairs,
        lambda of_sets: f"{100 * of_sets[0].accuracy:.2f} ± {100 * of_sets[0].std:.2f}",
    )


def print_gains(sets: Sequence[SetResults], pairs: Sequence[Pair], baselines: GainBaselines) -> None:
    """Print the gains of each model (eq. 4, 5).

    Args:
        sets: one, or several whose averages are compared, as in Table 2.
        pairs: of resolutions.
        baselines: among the models.
    """
    found = {}
    for pair in pairs:
        results = {model: [each.find(model, pair) for each in sets] for model in sets[0].by_model}
        means = {
            model: average(None if result is None else result.accuracy for result in of_sets)
            for model, of_sets in results.items()
        }
        found[pair] = gains(pair_label(pair), means, baselines)
    title = f"gain, average of {len(sets)} sets" if len(sets) > 1 else "gain"
    rows = [[model, *(gain_text(found[pair][model]) for pair in pairs)] for model in sets[0].by_model]
    show_table(title, ["model", *map(pair_label, pairs)], rows)
    show(baselines.note)


def verification_document(
    sets: Sequence[SetResults],
    pairs: Sequence[Pair],
    models: Sequence[FaceModel],
    paths: Sequence[str],
    interpolation: str,
) -> dict[str, Any]:
    """The same as a JSON document, with what is needed to know what was measured.

    Args:
        sets: results.
        pairs: of resolutions, in the order of the tables.
        models: as evaluated.
        paths: where each of them came from, as the user named it.
        interpolation: of the views.

    Returns:
        Plain dicts, lists, numbers and strings; accuracies and rates in [0, 1], null where a model has none.
    """
    return result_document(
        "verification",
        protocol=PROTOCOL,
        interpolation=interpolation,
        models=[
            describe_model(model, path, _sizes(sets, model))
            for model, path in zip(models, paths, strict=True)
        ],
        sets=[
            {
                "name": results.path.stem,
                "sha256": results.sha256,
                "num_pairs": len(results.issame),
                "num_same": int(results.issame.sum()),
                "num_folds": results.num_folds,
                "unreadable": list(results.unreadable),
                "results": [_entry(model.name, pair, results) for model in models for pair in pairs],
            }
            for results in sets
        ],
    )


def _print(
    title: str,
    sets: Sequence[SetResults],
    pairs: Sequence[Pair],
    cell: Callable[[list[VerificationResult]], str],
) -> None:
    """A table of what the sets say of each model at each pair, a dash where no set says anything."""
    rows = []
    for model in sets[0].by_model:
        found = [[one for each in sets if (one := each.find(model, pair)) is not None] for pair in pairs]
        rows.append([model, *(cell(of_sets) if of_sets else "-" for of_sets in found)])
    show_table(title, ["model", *map(pair_label, pairs)], rows)


def _print_tar(sets: Sequence[SetResults], pairs: Sequence[Pair]) -> None:
    nums_impostors = [each.num_impostors for each in sets]
    for far in FARS:

        def cell(of_sets: list[VerificationResult], far: float = far) -> str:
            known = zip(of_sets, nums_impostors, strict=True)
            mean = average(measurable(result.tar, num)[far] for result, num in known)
            return "-" if mean is None else f"{100 * mean:.2f}"

        _print(f"TAR at FAR {far:g}, %", sets, pairs, cell)


def _mean(of_sets: list[VerificationResult]) -> float:
    return float(np.mean([result.accuracy for result in of_sets]))


def _sizes(sets: Sequence[SetResults], model: FaceModel) -> list[int]:
    """Resolutions of networks a model used; those of its own where faces selected them."""
    sides = {side for result in sets[0].by_model[model.name] for side in result.pair}
    if None in sides:
        sides |= set(model.resolutions)
    return sorted((side for side in sides if side is not None), reverse=True)


def _entry(model: str, pair: Pair, results: SetResults) -> dict[str, Any]:
    head: dict[str, Any] = {"model": model, "pair": list(pair)}
    result = results.find(model, pair)
    if result is None:
        return {**head, "accuracy": None, "std": None, "tar_at_far": None}
    return {
        **head,
        "accuracy": result.accuracy,
        "std": result.std,
        "tar_at_far": plain(measurable(result.tar, results.num_impostors)),
    }
