"""Further tables of an evidence run: costs, tuning, all paired differences, data sets and shared work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from btnet_lab.evidence.groups import Groups, mean, pairs_of
from btnet_lab.evidence.record import Record, mean_accuracy
from btnet_lab.evidence.state import clock
from btnet_lab.report.table import Column, Row, Table


def costs_table(records: Sequence[Record]) -> Table:
    """Time, images, parameters and bytes of every row that was trained."""
    trained = [record for record in records if record.cost.num_images and "choices" not in record.places]
    rows = []
    for name in dict.fromkeys(record.name for record in trained):
        group = [record for record in trained if record.name == name]
        device = group[0].cost.device
        costs = [record.cost for record in group if record.cost.device == device]
        rows.append(
            Row(
                name,
                (
                    device,
                    clock(float(np.mean([cost.seconds for cost in costs]))),
                    float(np.mean([cost.cpu_seconds for cost in costs])),
                    float(costs[0].num_images),
                    float(group[0].num_learnt),
                    share_learnt(group),
                    kilobytes(group),
                    float(group[0].settings["lr"]),
                    float(len(group)),
                ),
            )
        )
    columns = (
        Column("on", best="", narrow=True),
        Column("wall time", best="", narrow=True),
        Column("CPU seconds", digits=0, best=""),
        Column("images seen", digits=0, best=""),
        Column("parameters learnt", digits=0, best=""),
        Column("learnt, %", digits=1, best=""),
        Column("stored, kB", digits=0, best=""),
        Column("lr", digits=3, best=""),
        Column("seeds", digits=0, best=""),
    )
    notes = (
        "Training time of one seed; shared work (teacher cache, prototypes) is listed below. Wall time "
        "depends on what else ran on the machine, CPU seconds less so. Where seeds ran on different devices, the times "
        "are the first seed's.",
    )
    return Table("What each row cost", "row", columns, tuple(rows), notes)


def share_learnt(group: Sequence[Record]) -> float | None:
    """Learnt parameters in % of the trunk's, where the group is of one resolution."""
    shares = {100 * record.num_learnt / record.num_parameters for record in group}
    return shares.pop() if len(shares) == 1 else None


def kilobytes(group: Sequence[Record]) -> float | None:
    """Stored, where the group is of one resolution."""
    stored = {record.bytes_stored / 1000 for record in group}
    return stored.pop() if len(stored) == 1 else None


def comparisons_table(records: Sequence[Record], comparisons: Sequence[Mapping[str, Any]]) -> Table:
    """Every paired bootstrap that was made."""
    named = [
        (f"{_label(records, found['first'])} - {_label(records, found['second'])} at {found['pair']}", found)
        for found in comparisons
    ]
    draws = ", ".join(sorted({str(found["num_draws"]) for found in comparisons}))
    note = f"Paired bootstrap over identities, {draws} draws; a row of several seeds counts as their mean."
    return difference_table(named, note)


def difference_table(found: Iterable[tuple[str, Mapping[str, Any]]], note: str) -> Table:
    """One row for each comparison."""
    rows = [
        Row(
            name,
            (
                100 * entry["mean"],
                f"{100 * entry['low']:+.2f} to {100 * entry['high']:+.2f}",
                100 * entry["share_not_above"],
            ),
        )
        for name, entry in found
    ]
    columns = (
        Column("difference, points", signed=True, best=""),
        Column("95 % interval", best="", narrow=True),
        Column("bootstrap draws in which it is not better, %", digits=2, best=""),
    )
    return Table("Differences on the same people", "rows", columns, tuple(rows), (note,))


def _label(records: Sequence[Record], name: str) -> str:
    """What the tables call a row; the row's own name where they call several alike."""
    places = next((record.places for record in records if record.name == name), {})
    return next((places[place] for place in ("table2", "beyond") if place in places), name)


def choices_table(tried: Groups, about: Mapping[str, Any]) -> Table:
    """The sweeps."""
    pairs = pairs_of(tried)
    rows = [
        Row(
            label,
            (
                *(None if (found := mean(group, pair)) is None else 100 * found for pair in pairs),
                100 * float(np.mean([mean_accuracy(record) for record in group])),
            ),
        )
        for label, group in tried.items()
    ]
    columns = (*(Column(pair, best="") for pair in pairs), Column("mean except 112&112", best=""))
    choice = dict(about.get("sets", {})).get("choice", {})
    note = (
        f"Trained on some of the training identities, measured on {choice.get('num_pairs', 'some')} pairs of "
        f"{choice.get('num_people', 'some')} others. The test pairs were not used."
    )
    return Table("Settings tried", "method", columns, tuple(rows), (note,))


def about_table(about: Mapping[str, Any]) -> Table:
    """Data sets, and work that several rows share."""
    rows = []
    for name, facts in dict(about.get("sets", {})).items():
        text = ", ".join(
            f"{key.removeprefix('num_').replace('_', ' ')} {value}" for key, value in facts.items()
        )
        rows.append(Row(f"set {name}", (text, None, None)))
    for name, entry in dict(about.get("shared", {})).items():
        rows.append(Row(name, (None, clock(entry["seconds"]), float(entry["cpu_seconds"]))))
    columns = (
        Column("facts", best=""),
        Column("wall time", best="", narrow=True),
        Column("CPU seconds", digits=0, best=""),
    )
    return Table("Data sets and shared work", "what", columns, tuple(rows))
