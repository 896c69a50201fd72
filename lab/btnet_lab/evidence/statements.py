"""What the evidence says: for each comparison, what was found and whether it is significant."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from btnet_lab.evidence.groups import FULL, Difference, Groups, difference, grouped, mean, pairs_of, signed
from btnet_lab.evidence.learning import CURVES, PAPERS_SIZE, curves
from btnet_lab.evidence.record import Record
from btnet_lab.report.table import Column, Row, Table

BRANCH, PLUS, HIGH_RESOLUTION = "phi_bt", "phi_bt plus", "phi_hr"
Comparisons = Sequence[Mapping[str, Any]]
_SIGNIFICANT = "significant"
_ROUNDS_TO_ZERO = 0.005  # points, printed with two digits


def statements(records: Sequence[Record], comparisons: Comparisons) -> list[Table]:
    """Every comparison, one row each."""
    table2, tails, switches = (grouped(records, place) for place in ("table2", "fig7", "beyond"))
    with_plus = {**table2, **{label: group for label, group in switches.items() if label == PLUS}}
    asked: dict[tuple[str, str], list[Row]] = {
        (f"Is {BRANCH} better than the others?", _SIGNIFICANT): [
            *_rivals(BRANCH, table2, comparisons),
            *_full_resolution(table2),
        ],
        (f"Is {PLUS} better than the others?", _SIGNIFICANT): [*_rivals(PLUS, with_plus, comparisons)],
        ("Can the existing gallery be kept?", "kept"): [*_galleries(with_plus)],
        ("What does each part of the method add?", _SIGNIFICANT): [
            *_steps(grouped(records, "table4"), comparisons),
            *_against_plain(grouped(records, "table5"), comparisons),
            *_against_plain(dict(sorted(tails.items())), comparisons),
        ],
        ("What helps beyond the paper?", _SIGNIFICANT): [*_against_plain(switches, comparisons)],
        ("What would more data bring?", _SIGNIFICANT): [*_learning(records)],
    }
    tables = []
    for (title, verdict), rows in asked.items():
        with_verdicts = any(row.cells[1] is not None for row in rows)
        columns = [Column("found", best=""), Column(verdict, best="")][: 1 + with_verdicts]
        shown = [Row(row.name, row.cells[: len(columns)]) for row in rows]
        if shown:
            tables.append(Table(title, "question", tuple(columns), tuple(shown)))
    return tables


def beyond_name(label: str) -> str:
    """A switch without the model that it is a switch of: "phi_bt, the authors' recipe" -> "the authors' recipe"."""
    return label.removeprefix(f"{BRANCH}, ")


def plain_label(groups: Groups) -> str | None:
    """What a table calls plain phi_bt; None where it does not stand in it."""
    return next(
        (
            label
            for label, group in groups.items()
            if any(record.places.get("table2") == BRANCH for record in group)
        ),
        None,
    )


def _rivals(ours: str, groups: Groups, comparisons: Comparisons) -> Iterator[Row]:
    for label, group in groups.items():
        if label == ours or ours not in groups:
            continue
        found = _differences(groups[ours], group, comparisons)
        if found:
            ordered = sorted(found.items(), key=lambda item: item[1].points)
            ends = " to ".join(f"{signed(each.points)} ({pair})" for pair, each in (ordered[0], ordered[-1]))
            higher = sum(each.points > 0 for each in found.values())
            text = f"{ends}; higher at {higher} of {len(found)} pairs"
            yield Row(f"than {label}", (text, _counted(found)))


def _counted(found: Mapping[str, Difference]) -> str | None:
    """Of those pairs for which a bootstrap was made; None without one."""
    judged = [each for each in found.values() if each.interval is not None]
    if not judged:
        return None
    above = sum(each.significant and each.points > 0 for each in judged)
    below = sum(each.significant and each.points < 0 for each in judged)
    seeds = "" if any(each.seeds is not None for each in judged) else "; one seed"
    return f"better at {above}, worse at {below} of {len(judged)}{seeds}"


def _full_resolution(groups: Groups) -> Iterator[Row]:
    means = [mean(groups.get(label, ()), FULL) for label in (BRANCH, HIGH_RESOLUTION)]
    if means[0] is not None and means[1] is not None:
        points = 100 * (means[0] - means[1])
        text = f"{100 * means[0]:.2f} %, its trunk {100 * means[1]:.2f} %"
        verdict = "equal" if abs(points) < 1e-9 else f"{signed(points)} points"
        yield Row(f"than its trunk at {FULL}", (text, verdict))


def _galleries(groups: Groups) -> Iterator[Row]:
    """What is lost by leaving a gallery as the given trunk embedded it, against the model's own and the trunk's probes.

    The second is the empirical criterion of backward compatibility (BCT, Shen et al. 2020, eq. 1).
    """
    high = groups.get(HIGH_RESOLUTION, ())
    for label, group in groups.items():
        if label == HIGH_RESOLUTION:
            continue
        old = [replace(record, accuracy=record.old_gallery) for record in group]
        changes = {}
        for pair in pairs_of({label: old}):
            kept = mean(old, pair)
            others = [mean(high, pair), mean(group, pair) if pair != FULL else None]
            known = [other for other in others if other is not None]
            if kept is not None and known:
                changes[pair] = 100 * (kept - max(known))
        if changes:
            text = ", ".join(f"{signed(points)} at {pair}" for pair, points in changes.items())
            worst = min(changes.values())
            yield Row(
                f"probes by {label}", (text, "yes" if worst > -_ROUNDS_TO_ZERO else f"loses {-worst:.2f}")
            )


def _steps(groups: Groups, comparisons: Comparisons) -> Iterator[Row]:
    labels = list(groups)
    for before, label in itertools.pairwise(labels):
        found = _differences(groups[label], groups[before], comparisons)
        if found:
            stored = [
                sum(r.bytes_stored for r in groups[name]) / len(groups[name]) for name in (before, label)
            ]
            text = _listed(found)
            if stored[0] != stored[1]:
                text += f"; stores {100 * (stored[1] / stored[0] - 1):+.0f} %"
            yield Row(f"{label}, over {before}", (text, _verdicts(found)))


def _against_plain(groups: Groups, comparisons: Comparisons) -> Iterator[Row]:
    plain = plain_label(groups)
    for label, group in groups.items():
        if plain is not None and label != plain:
            found = _differences(group, groups[plain], comparisons)
            if found:
                yield Row(f"{beyond_name(label)}, against {plain}", (_listed(found), _verdicts(found)))


def _learning(records: Sequence[Record]) -> Iterator[Row]:
    for place, axis in CURVES.items():
        for curve in curves(records, place):
            kept, far = curve.kept_by_doubling, curve.error_at(PAPERS_SIZE[place])
            if kept is not None and far is not None:
                text = f"{100 * kept:.0f} % of the errors remain"
                if kept < 1:
                    text += f"; extrapolated to MS1MV3's {PAPERS_SIZE[place]:,}: {100 * (1 - far):.1f} %"
                yield Row(f"twice the {axis}, at {curve.pair}", (text, None))


def _differences(
    first: Sequence[Record], second: Sequence[Record], comparisons: Comparisons
) -> dict[str, Difference]:
    pairs = [pair for pair in pairs_of({"first": first}) if pair != FULL]
    found = {pair: difference(first, second, pair, comparisons) for pair in pairs}
    return {pair: each for pair, each in found.items() if each is not None}


def _listed(found: Mapping[str, Difference]) -> str:
    return ", ".join(f"{signed(each.points)} at {pair}" for pair, each in found.items())


def _verdicts(found: Mapping[str, Difference]) -> str | None:
    """One word where all pairs have the same."""
    verdicts = {pair: each.verdict for pair, each in found.items()}
    if len(set(verdicts.values())) == 1:
        return next(iter(verdicts.values()))
    return ", ".join(f"{pair} {verdict or '-'}" for pair, verdict in verdicts.items())
