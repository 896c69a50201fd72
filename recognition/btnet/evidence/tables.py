"""The tables of an evidence run, from its result files alone; the paper's rows beside ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from btnet.evaluation.published import VERIFICATION
from btnet.evaluation.summary import gain
from btnet.evidence.difference_table import difference_table
from btnet.evidence.record import Record, mean_accuracy
from btnet.evidence.state import clock
from btnet.report.section import Section
from btnet.report.table import Cell, Column, Row, Table
from btnet.report.verification_scores import pair_key

__all__ = ["sections"]

_SMALL = {
    "table4": ("Table 4: what each part adds, 14 px", "step"),
    "table5": ("Table 5: the influence loss, 14 px", "loss"),
    "fig7": ("Fig. 7: where the shared tail starts, 14 px", "tail"),
    "passes": ("Passes over the images, 14 px", "passes"),
    "identities": ("Share of the identities, 14 px; as many images seen", "identities"),
    "beyond": ("Beyond the paper, and beside it", "model"),
}
_PAPERS = (
    "Rows marked paper or quoted: IResNet-50 trained on MS1MV3, average of LFW, CFP-FF, CFP-FP, AgeDB-30, CALFW and "
    "CPLFW. Other faces and another trunk than ours: compare differences, not levels."
)
_Group = Mapping[str, Sequence[Record]]


def sections(records: Sequence[Record], about: Mapping[str, Any]) -> list[Section]:
    """Everything that the result files can say, in the order of the paper.

    Args:
        records: of all jobs.
        about: "sets", "shared" and "comparisons" of the run.
    """
    found = []
    if of_table := _groups(records, "table2"):
        found.append(Section("Table 2: models and resolutions", blocks=[*_table2(of_table), _costs(records)]))
    for place, (title, head) in _SMALL.items():
        if len(group := _groups(records, place)) > 1:  # one row alone compares nothing
            found.append(Section(title, blocks=[_accuracies(group, head)]))
    if comparisons := about.get("comparisons"):
        found.append(Section("Outside chance?", blocks=[_comparisons(records, comparisons)]))
    if tried := _groups(records, "choices"):
        found.append(Section("What was chosen, and on whom", blocks=[_choices(tried, about)]))
    found.append(Section("Faces and shared work", blocks=[_about(about)]))
    return found


def _groups(records: Sequence[Record], place: str) -> dict[str, list[Record]]:
    """Records of a table by what they are called in it: seeds, and the resolutions of one model."""
    found: dict[str, list[Record]] = {}
    for record in records:
        if place in record.places:
            found.setdefault(record.places[place], []).append(record)
    return found


def _values(group: Sequence[Record], pair: str) -> list[float]:
    """Accuracy of every seed at a pair, of the members that were made for it."""
    low = pair_key(pair)[1]
    of_pair = [record for record in group if pair in record.accuracy]
    own = [record for record in of_pair if record.resolution in (0, low)]
    return [record.accuracy[pair] for record in (own or of_pair)]


def _mean(group: Sequence[Record], pair: str) -> float | None:
    values = _values(group, pair)
    return float(np.mean(values)) if values else None


def _text(group: Sequence[Record], pair: str) -> Cell:
    values = [100 * value for value in _values(group, pair)]
    if len(values) < 2 or pair == "112&112":
        return float(np.mean(values)) if values else None
    return f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}"


def _pairs(groups: _Group) -> list[str]:
    return sorted(
        {pair for group in groups.values() for record in group for pair in record.accuracy}, key=pair_key
    )


def _accuracies(groups: _Group, head: str) -> Table:
    pairs = _pairs(groups)
    rows = [
        Row(label, (*(_text(group, pair) for pair in pairs), _share(group), _kilobytes(group)))
        for label, group in sorted(groups.items(), key=_rank)
    ]
    columns = [Column(pair, best="") for pair in pairs]
    columns += [Column("learnt, %", digits=1, best=""), Column("stored, kB", digits=0, best="")]
    return Table("Accuracy, %", head, tuple(columns), tuple(rows), (_seeds_note(groups),))


def _rank(item: tuple[str, Sequence[Record]]) -> tuple[float, str]:
    """Numbers and shares by their value, others as they come."""
    label = item[0]
    try:
        numerator, _, denominator = label.partition("/")
        return float(numerator) / float(denominator or 1), ""
    except ValueError:
        return (2.0 if label == "all" else 0.0), ""


def _table2(groups: _Group) -> list[Table]:
    pairs = _pairs(groups)
    tables = []
    for title, same in (("Accuracy, cross-resolution", False), ("Accuracy, same resolution", True)):
        chosen = [pair for pair in pairs if pair_key(pair)[0] is same]
        rows = [Row(label, tuple(_text(group, pair) for pair in chosen)) for label, group in groups.items()]
        for model, (source, numbers) in VERIFICATION.items():
            rows.append(Row(model, tuple(numbers.get(pair) for pair in chosen), source.short))
        columns = tuple(Column(pair, best="") for pair in chosen)
        tables.append(Table(f"{title}, %", "model", columns, tuple(rows), (_seeds_note(groups), _PAPERS)))
    tables.append(_old_gallery(groups))
    matched = groups.get("phi_mm, from the trunk")
    if matched:
        tables.append(_gains(groups, pairs, matched))
    return tables


def _old_gallery(groups: _Group) -> Table:
    """Who may probe a gallery without embedding it anew."""
    old = {label: [replace(r, accuracy=r.old_gallery) for r in group] for label, group in groups.items()}
    pairs = _pairs(old)
    rows = [Row(label, tuple(_text(group, pair) for pair in pairs)) for label, group in old.items()]
    note = (
        "Probes by the model, the gallery as the given trunk embedded it: where that is less than phi_hr's 112&112, "
        "or than the model's own figure at a pair, the gallery does not survive."
    )
    columns = tuple(Column(pair, best="") for pair in pairs)
    return Table("Accuracy with the gallery that is there, %", "model", columns, tuple(rows), (note,))


def _gains(groups: _Group, pairs: Sequence[str], matched: Sequence[Record]) -> Table:
    low = [pair for pair in pairs if pair != "112&112"]

    def cell(group: Sequence[Record], pair: str) -> Cell:
        found = [_mean(each, pair) for each in (group, groups["phi_hr"], matched)]
        known = [value for value in found if value is not None]
        return gain(*known) if len(known) == 3 else None

    rows = [Row(label, tuple(cell(group, pair) for pair in low)) for label, group in groups.items()]
    columns = tuple(Column(pair, signed=True, best="") for pair in low)
    note = "What a model adds to phi_hr, as a share of what phi_mm started from the trunk adds or takes."
    return Table("Gain (eq. 4, 5)", "model", columns, tuple(rows), (note,))


def _costs(records: Sequence[Record]) -> Table:
    trained = [record for record in records if record.cost.num_images and "choices" not in record.places]
    rows = []
    for name in dict.fromkeys(record.name for record in trained):
        group = [record for record in trained if record.name == name]
        costs = [record.cost for record in group]
        rows.append(
            Row(
                name,
                (
                    clock(float(np.mean([cost.seconds for cost in costs]))),
                    float(np.mean([cost.cpu_seconds for cost in costs])),
                    float(costs[0].num_images),
                    float(group[0].num_learnt),
                    _share(group),
                    _kilobytes(group),
                    float(group[0].settings["lr"]),
                    float(len(group)),
                ),
            )
        )
    columns = (
        Column("wall time", best=""),
        Column("CPU seconds", digits=0, best=""),
        Column("images seen", digits=0, best=""),
        Column("parameters learnt", digits=0, best=""),
        Column("learnt, %", digits=1, best=""),
        Column("stored, kB", digits=0, best=""),
        Column("lr", digits=3, best=""),
        Column("seeds", digits=0, best=""),
    )
    notes = (
        "Of one seed, training alone; what is shared by several rows (teacher cache, prototypes) is listed below. Wall "
        "time depends on what else the machine did, CPU seconds do so less.",
    )
    return Table("What each row cost", "row", columns, tuple(rows), notes)


def _share(group: Sequence[Record]) -> float | None:
    """Learnt parameters in % of the trunk's, where the group is of one resolution."""
    shares = {100 * record.num_learnt / record.num_parameters for record in group}
    return shares.pop() if len(shares) == 1 else None


def _kilobytes(group: Sequence[Record]) -> float | None:
    stored = {record.bytes_stored / 1000 for record in group}
    return stored.pop() if len(stored) == 1 else None


def _seeds_note(groups: _Group) -> str:
    counts = sorted({len({record.seed for record in group}) for group in groups.values()})
    if counts == [1]:
        return "One seed."
    return "Mean ± standard deviation over seeds; without ±: one seed."


def _comparisons(records: Sequence[Record], comparisons: Sequence[Mapping[str, Any]]) -> Table:
    label: Callable[[str], str] = lambda name: next(  # noqa: E731
        (
            record.places.get("table2", record.places.get("beyond", name))
            for record in records
            if record.name == name
        ),
        name,
    )
    named = [
        (f"{label(found['first'])} - {label(found['second'])} at {found['pair']}", found)
        for found in comparisons
    ]
    note = "Paired bootstrap over identities, 2000 draws; a row of several seeds counts as their mean."
    return difference_table(named, note)


def _choices(tried: _Group, about: Mapping[str, Any]) -> Table:
    pairs = _pairs(tried)
    rows = [
        Row(
            label,
            (
                *(_mean100(group, pair) for pair in pairs),
                100 * float(np.mean([mean_accuracy(r) for r in group])),
            ),
        )
        for label, group in tried.items()
    ]
    columns = (*(Column(pair, best="") for pair in pairs), Column("mean of what counts", best=""))
    choice = dict(about.get("sets", {})).get("choice", {})
    note = (
        f"Trained on a part of the training identities, measured on {choice.get('num_pairs', 'some')} pairs of "
        f"{choice.get('num_people', 'some')} others of them. The test pairs had no say."
    )
    return Table("Settings tried", "method", columns, tuple(rows), (note,))


def _mean100(group: Sequence[Record], pair: str) -> float | None:
    mean = _mean(group, pair)
    return None if mean is None else 100 * mean


def _about(about: Mapping[str, Any]) -> Table:
    rows = []
    for name, facts in dict(about.get("sets", {})).items():
        rows.append(
            Row(f"set {name}", (", ".join(f"{key} {value}" for key, value in facts.items()), None, None))
        )
    for name, entry in dict(about.get("shared", {})).items():
        rows.append(Row(name, (None, clock(entry["seconds"]), float(entry["cpu_seconds"]))))
    columns = (
        Column("facts", best=""),
        Column("wall time", best=""),
        Column("CPU seconds", digits=0, best=""),
    )
    return Table("Sets, and work that rows share", "what", columns, tuple(rows))
