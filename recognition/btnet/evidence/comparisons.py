"""Rows judged on the same people: paired bootstrap over identities, of each pair of resolutions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from btnet.evaluation.bootstrap import paired_bootstrap
from btnet.evaluation.verification import kfold_correct
from btnet.evidence.plan import Comparison, Job, Plan, Row
from btnet.evidence.record import read_scores
from btnet.inference.verify import pair_label, parse_pair

__all__ = ["all_comparisons", "compare"]

_TABLE, _BRANCH = "table2", "phi_bt"
_STEPS = "table4"
_AGAINST_BRANCH = ("table5", "fig7", "beyond")


def all_comparisons(plan: Plan) -> list[Comparison]:
    """Those of the plan, and those that its tables ask for, each once.

    Table 2 sets plain phi_bt against every other row; Table 4 each step against the one before; Table 5, fig. 7 and
    what goes beyond the paper set each row against plain phi_bt of the same resolution.
    """
    plain = {row.resolution: row for row in plan.rows if row.places.get(_TABLE) == _BRANCH and row.resolution}
    found = []
    for row in plan.rows:
        if _TABLE in row.places and row.places[_TABLE] != _BRANCH:
            sizes = [row.resolution] if row.resolution else list(plain)
            found += [Comparison(plain[r].name, row.name, _pairs(r)) for r in sizes if r in plain]
        if any(place in row.places for place in _AGAINST_BRANCH) and row.resolution in plain:
            found.append(Comparison(row.name, plain[row.resolution].name, _pairs(row.resolution)))
    steps = [row for row in plan.rows if _STEPS in row.places and row.resolution]
    found += [
        Comparison(second.name, first.name, _pairs(second.resolution))
        for first, second in itertools.pairwise(steps)
        if first.resolution == second.resolution
    ]
    known = {frozenset((each.first, each.second)) for each in plan.comparisons}
    unique = list(plan.comparisons)
    for each in found:
        names = frozenset((each.first, each.second))
        if len(names) > 1 and names not in known:
            known.add(names)
            unique.append(each)
    return unique


def _pairs(resolution: int) -> list[str]:
    return [f"112-{resolution}", f"{resolution}-{resolution}"]


def compare(plan: Plan, scores: Path, identities: Path) -> list[dict[str, Any]]:
    """`all_comparisons` of a plan whose rows have been measured; a row of several seeds counts as their mean.

    Args:
        plan: with its comparisons.
        scores: folder of the jobs' scores.
        identities: file of the test set's identities.

    Returns:
        "first", "second", "pair" and the fields of `PairedDifference` each.
    """
    people = np.load(identities, allow_pickle=False)
    found = []
    for comparison in all_comparisons(plan):
        for text in comparison.pairs:
            pair = pair_label(parse_pair(text))
            first = _correct(plan.row(comparison.first), pair, scores)
            second = _correct(plan.row(comparison.second), pair, scores)
            if first is None or second is None:
                continue
            difference = paired_bootstrap(first[0], second[0], first[1], people)
            found.append(
                {"first": comparison.first, "second": comparison.second, "pair": pair, **asdict(difference)}
            )
    return found


def _correct(row: Row, pair: str, folder: Path) -> tuple[NDArray[np.float64], NDArray[np.bool_]] | None:
    """Share of a row's seeds that judge each pair rightly."""
    files = [path for seed in row.seeds if (path := folder / f"{Job(row, seed).name}.npz").is_file()]
    read = [read_scores(path) for path in files]
    if not read or any(pair not in by_pair for _, by_pair in read):
        return None
    decisions: Sequence[NDArray[np.bool_]] = [kfold_correct(by_pair[pair], same) for same, by_pair in read]
    return np.mean(decisions, axis=0), read[0][0]
