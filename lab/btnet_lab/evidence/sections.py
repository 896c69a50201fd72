"""The sections of an evidence page, in the order of a reader's questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from btnet_lab.evidence.cost_tables import about_table, choices_table, comparisons_table, costs_table
from btnet_lab.evidence.groups import NOTE, grouped
from btnet_lab.evidence.record import Record
from btnet_lab.evidence.statements import statements
from btnet_lab.evidence.tables import accuracies, against_plain, beyond, kept_table, steps, table2
from btnet_lab.report.page import Picture, Section
from btnet_lab.report.table import Table

_SAID = "What the evidence says"
_TABLE_2 = "Table 2: models and resolutions"
_TABLE_4 = "Table 4: what each part adds, 14 px"
_PAPERS_FIGURES = ("fig1", "down_up", "fig3", "fig4_5", "fig8", "fig9", "fig10", "agreement")


def sections(
    records: Sequence[Record],
    about: Mapping[str, Any],
    figures: Mapping[str, Mapping[str, Any]],
    charts: Mapping[str, Picture],
) -> list[Section]:
    """Everything that the result files can say."""
    comparisons = about.get("comparisons", [])
    of = {place: grouped(records, place) for record in records for place in record.places}
    several = {
        place: groups for place, groups in of.items() if len(groups) > 1
    }  # one row alone compares nothing

    def drawn(*names: str) -> list[Picture]:
        return [charts[name] for name in names if name in charts]

    parts: list[tuple[str, Sequence[Table | Picture]]] = [
        (_SAID, statements(records, comparisons)),
        (_TABLE_2, [
            *drawn("accuracy"),
            *(table2(of["table2"]) if "table2" in of else []),
            *drawn("rivals", "fig6_radar", "fig6_drop"),
        ]),
        (_TABLE_4, [steps(several["table4"], comparisons)] if "table4" in several else []),
        ("Table 5: the influence loss, 14 px", [against_plain(several["table5"], "loss", comparisons)]
         if "table5" in several else []),
        ("Fig. 7: where the shared tail starts, 14 px", [
            *drawn("fig7"),
            *([against_plain(several["fig7"], "tail", comparisons)] if "fig7" in several else []),
        ]),
        ("Beyond the paper", [
            *drawn("beyond"),
            *(beyond(several["beyond"], comparisons) if "beyond" in several else []),
        ]),
        ("Learning curves, 14 px", [
            *drawn("learning"),
            *(
                accuracies(several[place], title, head)
                for place, title, head in (
                    ("passes", "Accuracy by passes over the images, %", "passes"),
                    ("identities", "Accuracy by share of the people, %, for the same number of images seen", "people"),
                )
                if place in several
            ),
        ]),
        ("Figures of the paper", [
            *drawn(*_PAPERS_FIGURES),
            *([kept_table(figures["maps"]["agreement"], figures["maps"]["num_faces"])] if "maps" in figures else []),
        ]),
        ("All paired differences", [comparisons_table(records, comparisons)] if comparisons else []),
        ("What it cost", [costs_table(records)]),
        ("Hyper-parameters tried", [choices_table(of["choices"], about)] if "choices" in of else []),
        ("Data and shared work", [about_table(about)]),
    ]  # fmt: skip
    return [
        Section(title, lead=NOTE if title == _SAID else "", blocks=blocks)
        for title, blocks in parts
        if blocks
    ]


def answers(whole: Sequence[Section]) -> list[Section]:
    """What a short page holds of `sections`: the statements, Table 2's accuracies, Table 4."""
    kept = {
        _SAID: "",
        _TABLE_2: "Accuracy, ",
        _TABLE_4: "",
    }  # title of the section -> start of its tables' titles
    return [
        replace(section, blocks=[b for b in section.blocks if _stands(b, kept[section.title])])
        for section in whole
        if section.title in kept
    ]


def _stands(block: Table | Picture, start: str) -> bool:
    return block.title.startswith(start) if isinstance(block, Table) else block.file.endswith("_accuracy.png")
