"""Table 2 and fig. 6: verification at one resolution and across resolutions, averages and gains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from btnet.evaluation.summary import GainBaselines, average, gains
from btnet_lab.report.page import Picture, Section, picture_of
from btnet_lab.report.published import accuracies_and_gains, published, with_published
from btnet_lab.report.results import NOT_MEASURED
from btnet_lab.report.set_plots import MIN_RADAR_SETS, accuracy_lost, draw_accuracies, draw_drops, draw_radar
from btnet_lab.report.table import Cell, Column, Row, Table
from btnet_lab.report.verification_scores import VerificationScores, pair_key

_PAPERS_ROWS = (
    "Rows marked paper (Tables 2, 4 and 5): IResNet-50 trained on MS1MV3, average of LFW, CFP-FF, CFP-FP, AgeDB-30, "
    "CALFW and CPLFW. They are other faces and other training than ours: compare differences, not levels."
)


def verification_section(scores: VerificationScores) -> Section:
    """Tables and charts of one protocol and interpolation."""
    averages = [_averages(scores, pairs, kind) for kind, pairs in _kinds(scores).items()]
    averages[-1] = replace(averages[-1], notes=_notes(scores))
    blocks: list[Table | Picture] = [*averages, *_charts(scores)]
    if len(scores.sets) > 1:
        blocks += [_set_by_set(scores, pair) for pair in scores.pairs]
        blocks += _drops(scores)
    blocks += _rates(scores)
    return Section("1:1 verification", f"Faces resized by {scores.interpolation}; {scores.protocol}.", blocks)


def _kinds(scores: VerificationScores) -> dict[str, list[str]]:
    """Pairs of two sizes, and pairs of one, where there are some."""
    both = {
        kind: [pair for pair in scores.pairs if pair_key(pair)[0] is same]
        for kind, same in (("cross-resolution", False), ("same resolution", True))
    }
    return {kind: pairs for kind, pairs in both.items() if pairs}


def _mean(scores: VerificationScores, model: str, pair: str) -> float | None:
    return average(scores.by_set(model, pair).values())


def _averages(scores: VerificationScores, pairs: Sequence[str], kind: str) -> Table:
    means = {pair: {model: _mean(scores, model, pair) for model in scores.models} for pair in pairs}
    gained = {pair: gains(pair, found, GainBaselines.among(found)) for pair, found in means.items()}
    percent = {
        pair: {model: _percent(mean) for model, mean in found.items()} for pair, found in means.items()
    }
    columns, keys, rows = accuracies_and_gains(percent, gained, published("verification"))
    rows = with_published(rows, keys, published("training"), only_below_ours=True)
    rows = with_published(rows, keys, published("verification"))
    return Table(f"Accuracy, {kind}: {_over(scores)} (Table 2)", "model", columns, tuple(rows))


def _over(scores: VerificationScores) -> str:
    return f"average of {len(scores.sets)} sets" if len(scores.sets) > 1 else scores.sets[0]


def _notes(scores: VerificationScores) -> tuple[str, ...]:
    notes = [GainBaselines.among(scores.models).note]
    for family, members in scores.members.items():
        pairs_of: dict[str, list[str]] = {}
        for pair, member in members.items():
            pairs_of.setdefault(member, []).append(pair)
        parts = "; ".join(f"{member} at {', '.join(pairs)}" for member, pairs in pairs_of.items())
        notes.append(f"{family} is {parts}.")
    if any(pair in scores.pairs for _, pair in published("verification")):
        notes.append(_PAPERS_ROWS)
    return tuple(notes)


def _set_by_set(scores: VerificationScores, pair: str) -> Table:
    columns = [Column(name) for name in scores.sets] + [Column("average")]
    means = {model: _mean(scores, model, pair) for model in scores.models}
    gained = gains(pair, means, GainBaselines.among(means))
    with_gain = any(value is not None for value in gained.values())
    if with_gain:
        columns.append(Column("gain", signed=True, best=""))
    rows = []
    for model in scores.models:
        values: list[float | None] = [*scores.by_set(model, pair).values(), means[model]]
        cells: list[Cell] = [*map(_percent, values)]
        rows.append(Row(model, tuple([*cells, gained[model]] if with_gain else cells)))
    return Table(f"Accuracy at {pair}, set by set, %", "model", tuple(columns), tuple(rows))


def _full_resolution(scores: VerificationScores) -> str | None:
    same = [pair for pair in scores.pairs if pair_key(pair)[0] and pair_key(pair)[1]]
    return max(same, key=lambda pair: pair_key(pair)[1], default=None)


def _drops(scores: VerificationScores) -> list[Table]:
    full = _full_resolution(scores)
    lower = [pair for pair in scores.pairs if pair != full]
    if full is None or not lower:
        return []
    columns = [
        column
        for pair in lower
        for column in (
            Column("mean", pair, best="min"),
            Column("spread", pair, best="min"),
            Column("std", pair, best="min"),
        )
    ]
    rows = []
    for model in scores.models:
        cells: list[Cell] = []
        for pair in lower:
            high, low = scores.by_set(model, full), scores.by_set(model, pair)
            lost = 100 * np.array(list(accuracy_lost(high, low).values()))
            measured = {name for by in (high, low) for name, value in by.items() if value is not None}
            # A mean over fewer sets would not be comparable.
            whole = len(lost) == len(measured) > 0
            cells += [float(lost.mean()), float(np.ptp(lost)), float(lost.std())] if whole else [None] * 3
        rows.append(Row(model, tuple(cells)))
    note = "Spread: the drop on the set that loses most minus the drop on the one that loses least."
    return [
        Table(
            f"Accuracy lost against {full}, percentage points", "model", tuple(columns), tuple(rows), (note,)
        )
    ]


def _rates(scores: VerificationScores) -> list[Table]:
    fars = sorted(
        {far for entry in scores.entries.values() for far in dict(entry.get("tar_at_far") or {})},
        key=float,
        reverse=True,
    )
    if not fars:
        return []
    columns = [Column(far, f"{pair}, FAR") for pair in scores.pairs for far in fars]
    rows = []
    for model in scores.models:
        cells = []
        for pair in scores.pairs:
            for far in fars:
                rate = average(scores.tar(name, model, pair, far) for name in scores.sets)
                cells.append(_percent(rate))
        rows.append(Row(model, tuple(cells)))
    over = f", average of {len(scores.sets)} sets" if len(scores.sets) > 1 else ""
    notes = (NOT_MEASURED,) if any(cell is None for row in rows for cell in row.cells) else ()
    return [Table(f"TAR at FAR{over}, %", "model", tuple(columns), tuple(rows), notes)]


def _charts(scores: VerificationScores) -> list[Picture]:
    tests = {pair: {model: scores.by_set(model, pair) for model in scores.models} for pair in scores.pairs}
    over = _over(scores)
    averages = {
        kind: {pair: {m: _known(_mean(scores, m, pair)) for m in scores.models} for pair in pairs}
        for kind, pairs in _kinds(scores).items()
    }
    figure = draw_accuracies(averages, ylabel=f"10-fold accuracy,\n{over}")
    charts = [picture_of(figure, f"Accuracy by pair of resolutions, {over}.")]
    if len(scores.sets) >= MIN_RADAR_SETS and any(
        all(value is not None for value in by.values())
        for by_model in tests.values()
        for by in by_model.values()
    ):
        charts.append(picture_of(draw_radar(tests), "Accuracy set by set (fig. 6): a spoke per set."))
    full = _full_resolution(scores)
    lower = {pair: by_model for pair, by_model in tests.items() if pair != full}
    if len(scores.sets) > 1 and full is not None and lower:
        figure = draw_drops(tests[full], lower)
        charts.append(
            picture_of(
                figure,
                f"Accuracy lost against {full}: mean over the sets (bar), from the least to the most hurt set (line).",
            )
        )
    return charts


def _known(number: float | None) -> list[float]:
    return [] if number is None else [number]


def _percent(number: float | None) -> float | None:
    return None if number is None else 100 * number
