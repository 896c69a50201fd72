"""Rows judged on the same people: paired bootstrap over identities, of each pair of resolutions."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from btnet.evaluation.bootstrap import paired_bootstrap
from btnet.serving.verify import pair_label, parse_pair
from btnet_lab.evidence.plan import Comparison, Plan, branch_pairs
from btnet_lab.evidence.record import Record

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
            found += [Comparison(plain[r].name, row.name, branch_pairs(r)) for r in sizes if r in plain]
        if any(place in row.places for place in _AGAINST_BRANCH):
            found += [
                Comparison(row.name, plain[r].name, branch_pairs(r)) for r in plan.sizes(row) if r in plain
            ]
    steps = [row for row in plan.rows if _STEPS in row.places and row.resolution]
    found += [
        Comparison(second.name, first.name, branch_pairs(second.resolution))
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


def compare(plan: Plan, records: Iterable[Record], identities: Path) -> list[dict[str, Any]]:
    """`all_comparisons` of a plan whose rows have been measured; a row of several seeds counts as their mean.

    Returns:
        "first", "second", "pair" and the fields of `PairedDifference` each.
    """
    people = np.load(identities, allow_pickle=False)
    issame = people[:, 0] == people[:, 1]
    known = list(records)
    found = []
    for comparison in all_comparisons(plan):
        for text in comparison.pairs:
            pair = pair_label(parse_pair(text))
            first, second = (_judged(known, name, pair) for name in (comparison.first, comparison.second))
            if first is None or second is None:
                continue
            difference = paired_bootstrap(first, second, issame, people)
            found.append(
                {"first": comparison.first, "second": comparison.second, "pair": pair, **asdict(difference)}
            )
    return found


def _judged(records: Iterable[Record], name: str, pair: str) -> NDArray[np.float64] | None:
    """Share of a row's seeds that judge each pair of faces rightly."""
    judged = [
        record.judged_rightly[pair]
        for record in records
        if record.name == name and pair in record.judged_rightly
    ]
    return np.mean(judged, axis=0, dtype=np.float64) if judged else None
