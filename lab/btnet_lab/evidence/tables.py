"""The tables of an evidence run, from its result files alone; the paper's rows beside ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from btnet.evaluation.summary import GainBaselines, gains
from btnet_lab.evidence.cost_tables import kilobytes, share_learnt
from btnet_lab.evidence.groups import FULL, Groups, accuracy_cell, difference, mean, pairs_of
from btnet_lab.evidence.record import Record
from btnet_lab.evidence.statements import HIGH_RESOLUTION, plain_label
from btnet_lab.report.published import Published, accuracies_and_gains, published, with_published
from btnet_lab.report.table import Cell, Column, Row, Table
from btnet_lab.report.verification_scores import pair_key

_MATCHED, _MULTI_RESOLUTION = "phi_mm", "phi_mr v1"
_SEE = "Significant: as defined at the top of the page."
_PAPERS = (
    "Rows marked paper: IResNet-50 trained on MS1MV3, average of LFW, CFP-FF, CFP-FP, AgeDB-30, CALFW and CPLFW; its "
    "phi_bt is built on phi_mr's trunk. Trunk and faces differ from ours: compare differences, not levels."
)
Comparisons = Sequence[Mapping[str, Any]]
Reference = Callable[[str], Sequence[Record]]


def table2(groups: Groups) -> list[Table]:
    """Accuracy and gain (eq. 4, 5) in the paper's layout, and who may probe the existing gallery."""
    matched = [label for label in groups if label.startswith(_MATCHED)]
    pairs = pairs_of(groups)
    tables = []
    for title, same in (("cross-resolution", False), ("same resolution", True)):
        chosen = [pair for pair in pairs if pair_key(pair)[0] is same]
        tables.append(_accuracies_and_gains(f"Accuracy, {title}", groups, chosen, [*matched, None][0]))
    tables.append(_old_gallery(groups))
    if len(matched) > 1:
        tables.append(_gains(groups, [pair for pair in pairs if pair_key(pair)[0]], matched[1]))
    return tables


def accuracies(groups: Groups, title: str, head: str) -> Table:
    """Rows with all their pairs, numbers and shares by their value."""
    pairs = pairs_of(groups)
    rows = [
        Row(label, (*(accuracy_cell(group, pair) for pair in pairs), _images(group)))
        for label, group in sorted(groups.items(), key=_rank)
    ]
    columns = (*(Column(pair, best="") for pair in pairs), Column("images seen", digits=0, best=""))
    return Table(title, head, columns, tuple(rows), (_seeds_note(groups),))


def steps(groups: Groups, comparisons: Comparisons) -> Table:
    """Table 4: each step against the one before."""
    labels = list(groups)
    before: Reference = lambda label: groups[labels[i - 1]] if (i := labels.index(label)) else ()  # noqa: E731
    return _compared(groups, "Accuracy, %, and what each step adds", "step", before, comparisons)


def against_plain(groups: Groups, head: str, comparisons: Comparisons) -> Table:
    """Table 5 and fig. 7: each row against plain phi_bt."""
    plain = plain_label(groups)
    reference: Reference = lambda label: groups[plain] if plain and label != plain else ()  # noqa: E731
    title = "Accuracy, %" + (f", and the difference from {plain}" if plain else "")
    return _compared(dict(sorted(groups.items(), key=_rank)), title, head, reference, comparisons)


def beyond(groups: Groups, comparisons: Comparisons) -> list[Table]:
    """A table for each resolution: one row per switch beside plain phi_bt."""
    tables = []
    sizes = {record.resolution for group in groups.values() for record in group if record.resolution}
    for r in sorted(sizes, reverse=True):
        of_size = {
            label: found
            for label, group in groups.items()
            if (found := [at for record in group if (at := _at(record, r)).accuracy])
        }
        if len(of_size) < 2:
            continue
        table = against_plain(of_size, "switch", comparisons)
        plain = plain_label(of_size)
        images = {label: _images(group) for label, group in of_size.items()}
        other = [label for label in of_size if plain and images[label] != images[plain]]
        cost = (
            f"These saw another number of images: {', '.join(other)}."
            if other
            else "All rows saw the same number of images; CPU seconds show where one costs more."
        )
        columns = (
            *table.columns,
            Column("images seen", digits=0, best=""),
            Column("CPU seconds", digits=0, best=""),
        )
        rows = [
            replace(row, cells=(*row.cells, images[row.name], _cpu_seconds(of_size[row.name])))
            for row in table.rows
        ]
        tables.append(
            replace(
                table,
                title=f"{r} px: accuracy, %, and the difference from {plain}",
                columns=columns,
                rows=tuple(rows),
                notes=(cost, *table.notes),
            )
        )
    return tables


def _at(record: Record, resolution: int) -> Record:
    """What it says of a branch of this size; nothing where it is another's."""
    if record.resolution == resolution:
        return record
    of_size = {pair: value for pair, value in record.accuracy.items() if pair_key(pair)[1] == resolution}
    return replace(record, accuracy={} if record.resolution else of_size)


def kept_table(agreement: Sequence[Mapping[str, Any]], num_faces: int) -> Table:
    """How much of the trunk's view of the full face a small one keeps, from the figures' data."""
    sizes = sorted({each["resolution"] for each in agreement}, reverse=True)
    found = {(each["model"], each["resolution"]): each for each in agreement}
    columns: list[Column] = []
    for r in sizes:
        columns += [Column("error at coupling layer", f"{r} px", best="min"), Column("cosine", f"{r} px")]
    rows = []
    for label in dict.fromkeys(each["model"] for each in agreement):
        cells: list[Cell] = []
        for r in sizes:
            each = found.get((label, r))
            cells += [None, None] if each is None else [each["coupling"]["mean"], each["stages"][-1]["mean"]]
        rows.append(Row(label, tuple(cells)))
    note = (
        f"Means of {num_faces} test faces. Error: eq. 2 as a share of the variance of the trunk's feature map of the "
        "full face (1: no better than its mean). Cosine: of the embedding with the trunk's of the full face."
    )
    return Table("What a small face keeps of the full face", "model", tuple(columns), tuple(rows), (note,))


def _accuracies_and_gains(title: str, groups: Groups, pairs: Sequence[str], matched: str | None) -> Table:
    # The paper's phi_mm, too, is trained from scratch.
    theirs = {
        (matched if matched and model == _MATCHED else model, pair): numbers
        for (model, pair), numbers in published("verification").items()
    }
    cells = {pair: {label: accuracy_cell(group, pair) for label, group in groups.items()} for pair in pairs}
    gained = {pair: _gained(groups, pair, matched) for pair in pairs}
    columns, keys, rows = accuracies_and_gains(cells, gained, theirs)
    of_gains = f"{_baselines(groups, matched).note} Gains are computed from the accuracies as printed."
    notes = (_seeds_note(groups), of_gains, _PAPERS)
    return Table(title, "model", columns, tuple(with_published(rows, keys, theirs)), notes)


def _baselines(groups: Groups, matched: str | None) -> GainBaselines:
    return GainBaselines(HIGH_RESOLUTION, _MULTI_RESOLUTION if _MULTI_RESOLUTION in groups else None, matched)


def _gained(groups: Groups, pair: str, matched: str | None) -> dict[str, float | None]:
    """From the accuracies as they are printed, in % with two digits, so that a reader can check them."""
    means = {label: mean(group, pair) for label, group in groups.items()}
    printed = {label: None if value is None else round(100 * value, 2) for label, value in means.items()}
    return gains(pair, printed, _baselines(groups, matched))


def _gains(groups: Groups, pairs: Sequence[str], matched: str) -> Table:
    """Of eq. 5 alone: in eq. 4 phi_mm has no part."""
    found = {pair: _gained(groups, pair, matched) for pair in pairs}
    defined = [pair for pair in pairs if any(value is not None for value in found[pair].values())]
    rows = [Row(label, tuple(found[pair][label] for pair in defined)) for label in groups]
    columns = tuple(Column(pair, signed=True, best="") for pair in defined)
    note = f"Eq. 5 with {matched} instead of the paper's {_MATCHED}, a stronger baseline."
    return Table(f"Gain against {matched}", "model", columns, tuple(rows), (note,))


def _old_gallery(groups: Groups) -> Table:
    """Accuracy against the gallery as the given trunk embedded it."""
    old = {label: [replace(r, accuracy=r.old_gallery) for r in group] for label, group in groups.items()}
    pairs = pairs_of(old)
    rows = [Row(label, tuple(accuracy_cell(group, pair) for pair in pairs)) for label, group in old.items()]
    note = (
        "Probes by the model, gallery as the given trunk embedded it. Where this is below "
        f"{HIGH_RESOLUTION}'s figure, or the model's own (except at {FULL}), the gallery must be re-embedded."
    )
    columns = tuple(Column(pair) for pair in pairs)
    return Table("Accuracy with the existing gallery, %", "model", columns, tuple(rows), (note,))


def _compared(groups: Groups, title: str, head: str, reference: Reference, comparisons: Comparisons) -> Table:
    """Accuracy of every row, and how it differs from another at the same pair."""
    pairs = [pair for pair in pairs_of(groups) if pair != FULL]
    columns: list[Column] = []
    keys: list[tuple[str, str]] = []
    for pair in pairs:
        keys += [(pair, "accuracy"), *[("", "")] * 3]
        columns += [
            Column("acc., %", pair),
            Column("difference", pair, signed=True, best=""),
            Column("95 % interval", pair, best="", narrow=True),
            Column("significant", pair, best="", narrow=True),
        ]
    rows = []
    for label, group in groups.items():
        cells: list[Cell] = []
        for pair in pairs:
            found = difference(group, reference(label), pair, comparisons)
            cells.append(accuracy_cell(group, pair))
            cells += [None] * 3 if found is None else [found.points, found.interval_text, found.verdict]
        rows.append(Row(label, (*cells, share_learnt(group), kilobytes(group))))
    columns += [
        Column("learnt, %", "of a branch", digits=1, best=""),
        Column("stored, kB", "of a branch", digits=0, best=""),
    ]
    shown = with_published(rows, [*keys, ("14&14", "share"), ("", "")], _papers_steps(), only_below_ours=True)
    notes = (_seeds_note(groups), _SEE, *([_PAPERS] if len(shown) > len(rows) else []))
    return Table(title, head, tuple(columns), tuple(shown), notes)


def _papers_steps() -> Published:
    """Tables 4 and 5, with the stored parameters as a share of the trunk's in %."""
    steps = published("training")
    whole = steps["scratch", "14&14"]["parameters"]
    return {
        key: {**numbers, "share": 100 * numbers["parameters"] / whole} if "parameters" in numbers else numbers
        for key, numbers in steps.items()
    }


def _rank(item: tuple[str, Sequence[Record]]) -> tuple[float, str]:
    """Numbers and shares by their value, "all" behind them, others as they come."""
    label = item[0]
    try:
        numerator, _, denominator = label.partition("/")
        return float(numerator) / float(denominator or 1), ""
    except ValueError:
        return 2.0 if label == "all" else 0.0, label if label.startswith("Stage") else ""


def _images(group: Sequence[Record]) -> float:
    return float(max(record.cost.num_images for record in group))


def _cpu_seconds(group: Sequence[Record]) -> float | None:
    """Of the runs that a GPU had no part in."""
    seconds = [record.cost.cpu_seconds for record in group if record.cost.device == "cpu"]
    return float(np.mean(seconds)) if seconds else None


def _seeds_note(groups: Groups) -> str:
    counts = sorted({len({record.seed for record in group}) for group in groups.values()})
    if counts == [1]:
        return "One seed."
    return "Mean ± standard deviation over seeds; without ±: one seed."
