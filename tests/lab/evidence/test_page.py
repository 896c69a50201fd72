"""The page against made-up result files: its numbers are theirs, its verdicts turn when they do."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from btnet_lab.evidence.groups import grouped
from btnet_lab.evidence.page import write_page
from btnet_lab.evidence.record import Record
from btnet_lab.evidence.statements import statements
from btnet_lab.evidence.tables import against_plain, beyond, steps, table2
from btnet_lab.report.table import Row, Spread, Table, to_markdown
from stand_in import stand_in_comparisons, stand_in_records, write_result_files

RECORDS = stand_in_records()
COMPARISONS = stand_in_comparisons(records=RECORDS)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evidence")
    write_result_files(folder / "results", RECORDS, {"comparisons": COMPARISONS})
    write_page(folder / "results", folder / "RESULTS.md")
    return folder / "RESULTS.md"


def accuracies(name: str, pair: str) -> list[float]:
    return [record.accuracy[pair] for record in RECORDS if record.name == name]


def row(tables: list[Table], title: str, name: str) -> Row:
    table = next(table for table in tables if table.title == title)
    return next(row for row in table.rows if row.name == name and not row.source)


def test_the_short_page_answers_and_the_whole_one_has_every_section_and_picture(page: Path) -> None:
    short, whole = page.read_text(), page.with_suffix(".html").read_text()
    assert re.findall(r"^## (.*?)(?::|$)", short, re.MULTILINE) == [
        "What the evidence says",
        "Table 2",
        "Table 4",
    ]
    assert len(short.splitlines()) <= 250
    assert "](images/evidence_accuracy.png)" in short
    for title in (
        "What the evidence says",
        "Table 2",
        "Table 4",
        "Table 5",
        "Fig. 7",
        "Beyond the paper",
        "Learning",
    ):
        assert f"<h2>{title}" in whole
    assert [path.name for path in (page.parent / "images").iterdir()] == ["evidence_accuracy.png"]
    assert whole.count("<img ") == 5  # accuracy, rivals, fig. 7, switches, learning curves
    assert str(page.parent) not in whole + short


def test_the_page_is_the_same_when_made_again(page: Path) -> None:
    before = [path.read_bytes() for path in (page, page.with_suffix(".html"))]
    write_page(page.parent / "results", page)
    assert [path.read_bytes() for path in (page, page.with_suffix(".html"))] == before


def level(pair: str, name: str) -> float:
    """As printed, in %."""
    return round(100 * float(np.mean(accuracies(name, pair))), 2)


def share(pair: str, name: str, baseline: str) -> float:
    """Gain of a row measured by another."""
    return (level(pair, name) - level(pair, "hr")) / abs(level(pair, baseline) - level(pair, "hr"))


def test_table_2_has_means_deviations_and_gains_by_phi_mr_across_resolutions_and_phi_mm_at_one() -> None:
    tables = table2(grouped(RECORDS, "table2"))
    columns = [[f"{c.group} {c.name}" for c in table.columns] for table in tables]
    found = row(tables, "Accuracy, same resolution", "phi_bt").cells
    cell = found[columns[1].index("14&14 acc., %")]
    values = 100 * np.array(accuracies("bt_r14", "14&14"))
    assert isinstance(cell, Spread)
    assert (cell.mean, cell.std) == pytest.approx((values.mean(), values.std(ddof=1)))
    assert found[columns[1].index("14&14 gain")] == pytest.approx(share("14&14", "bt_r14", "mm_r14"))
    across = row(tables, "Accuracy, cross-resolution", "phi_bt").cells
    assert across[columns[0].index("112&14 gain")] == pytest.approx(share("112&14", "bt_r14", "mr_v1"))
    # The other phi_mm has a part in eq. 5 alone, and none where it was not trained.
    against = next(table for table in tables if table.title == "Gain against phi_mm, from the trunk")
    assert [column.name for column in against.columns] == ["7&7", "14&14", "28&28"]
    fairer = row(tables, against.title, "phi_bt").cells[1]
    assert fairer == pytest.approx(share("14&14", "bt_r14", "mm_trunk_r14"))


def papers(table: Table) -> dict[str, dict[str, object]]:
    columns = [f"{c.group} {c.name}" for c in table.columns]
    return {r.name: dict(zip(columns, r.cells, strict=True)) for r in table.rows if r.source}


def test_the_papers_rows_of_tables_2_4_and_5_stand_below_ours() -> None:
    cross, same, *_ = table2(grouped(RECORDS, "table2"))
    assert papers(cross)["phi_mm, from scratch"]["112&28 gain"] == -305.80
    assert papers(same)["phi_bt"]["7&7 acc., %"] == 77.78
    four = steps(grouped(RECORDS, "table4"), COMPARISONS)
    names = [(r.name, r.source) for r in four.rows]
    assert names[1::2] == [(name, "paper") for name, _ in names[::2]]
    assert papers(four)["+ BCT"]["112&14 acc., %"] == 85.90
    assert papers(four)["+ fix trunk"]["of a branch learnt, %"] == pytest.approx(100 * 2.29 / 43.59)
    five = against_plain(grouped(RECORDS, "table5"), "loss", COMPARISONS)
    assert {name: cells["14&14 acc., %"] for name, cells in papers(five).items()} == {
        "CosFace": 90.78, "ArcFace": 90.88, "CurricularFace": 90.90
    }  # fmt: skip
    assert not papers(against_plain(grouped(RECORDS, "fig7"), "tail", COMPARISONS))


@pytest.mark.parametrize(
    ("by", "word"), [(0.05, "better at 2, worse at 0"), (-0.05, "better at 0, worse at 2")]
)
def test_what_is_said_of_a_rival_turns_with_the_numbers(by: float, word: str) -> None:
    level = {pair: float(np.mean(accuracies("bt_r14", pair))) for pair in ("112&14", "14&14")}
    records = [
        replace(r, accuracy={**r.accuracy, **{pair: value - by for pair, value in level.items()}})
        if r.name == "mr_v2"
        else r
        for r in RECORDS
        if r.name not in ("bt_r56", "bt_r28", "bt_r7")
    ]
    tables = statements(records, stand_in_comparisons(records=records))
    found, verdict = row(tables, "Is phi_bt better than the others?", "than phi_mr v2").cells
    assert f"higher at {2 if by > 0 else 0} of 2 pairs" in str(found)
    assert str(verdict).startswith(word)


def test_a_rival_that_no_bootstrap_was_made_for_is_not_called_chance() -> None:
    others = [found for found in COMPARISONS if "mr_v2" not in (found["first"], found["second"])]
    tables = statements(RECORDS, others)
    assert row(tables, "Is phi_bt better than the others?", "than phi_mr v2").cells[1] is None
    few = [found for found in COMPARISONS if found in others or found["pair"] == "112&14"]
    verdict = row(statements(RECORDS, few), "Is phi_bt better than the others?", "than phi_mr v2").cells[1]
    assert " of 1" in str(verdict)


@pytest.mark.parametrize(("by", "sign", "verdict"), [(0.1, "+", "one seed"), (-0.1, "-", "one seed")])
def test_what_is_said_of_a_step_turns_with_the_numbers(by: float, sign: str, verdict: str) -> None:
    level = {r.name: r for r in RECORDS if r.seed == 1}["bct"].accuracy
    records = [replace(r, accuracy=dict(level)) if r.name == "fixed" else r for r in RECORDS]
    records = [
        replace(r, accuracy={k: v + by for k, v in r.accuracy.items()}) if r.name == "fixed" else r
        for r in records
    ]
    tables = statements(records, stand_in_comparisons(records=records))
    cells = row(tables, "What does each part of the method add?", "+ fix trunk, over + BCT").cells
    assert cells == (f"{sign}10.00 at 112&14, {sign}10.00 at 14&14", verdict)


def test_phi_bt_plus_is_set_beside_phi_bt_and_all_of_its_rivals() -> None:
    tables = statements(RECORDS, COMPARISONS)
    rivals = {
        r.name for table in tables if table.title == "Is phi_bt better than the others?" for r in table.rows
    }
    beside = {
        r.name
        for table in tables
        if table.title == "Is phi_bt plus better than the others?"
        for r in table.rows
    }
    assert beside == {*rivals, "than phi_bt"} - {"than its trunk at 112&112"}
    higher = [
        np.mean(accuracies(f"bt_plus_r{r}", pair)) > np.mean(accuracies("mr_v1", pair))
        for r in (28, 14, 7)
        for pair in (f"112&{r}", f"{r}&{r}")
    ]
    found = row(tables, "Is phi_bt plus better than the others?", "than phi_mr v1").cells[0]
    assert str(found).endswith(f"higher at {sum(higher)} of 6 pairs")


def test_a_trunk_that_learns_on_loses_the_gallery_and_a_branch_keeps_it() -> None:
    tables = statements(RECORDS, COMPARISONS)
    title = "Can the existing gallery be kept?"
    assert row(tables, title, "probes by phi_bt").cells[1] == "yes"
    assert row(tables, title, "probes by phi_mr v1").cells[1] == "loses 1.00"


def test_a_gallery_is_lost_to_a_model_whose_probes_find_less_in_it_than_the_trunks() -> None:
    level = next(r for r in RECORDS if r.name == "hr").accuracy["112&14"]
    apart = [
        replace(r, accuracy={**r.accuracy, "112&14": level - 0.2}, old_gallery={"112&14": level - 0.2})
        if r.name == "mm_r14"
        else r
        for r in RECORDS
    ]
    tables = statements(apart, COMPARISONS)
    found = row(tables, "Can the existing gallery be kept?", "probes by phi_mm, from scratch")
    assert "-20.00 at 112&14" in str(found.cells[0])
    assert found.cells[1] == "loses 20.00"


def test_a_switch_is_set_beside_plain_phi_bt_and_unequal_cost_is_told() -> None:
    groups = grouped(RECORDS, "beyond")
    tables = beyond(groups, COMPARISONS)
    assert [table.title[:5] for table in tables] == ["28 px", "14 px", "7 px:"]
    found = row(tables, tables[1].title, "phi_bt, the authors' recipe")
    names = [f"{c.group} {c.name}".strip() for c in tables[1].columns]
    points = 100 * np.mean(accuracies("bt_authors", "14&14")) - 100 * np.mean(accuracies("bt_r14", "14&14"))
    assert found.cells[names.index("14&14 difference")] == pytest.approx(points)
    assert found.cells[names.index("14&14 95 % interval")] == f"{points - 1.2:+.2f} to {points + 1.2:+.2f}"
    assert "same number of images" in tables[1].notes[0]
    dear = [
        replace(r, cost=replace(r.cost, num_images=9)) if r.name == "bt_authors" else r
        for r in groups_of(groups)
    ]
    assert "another number of images" in beyond(grouped(dear, "beyond"), COMPARISONS)[1].notes[0]
    assert "the authors' recipe" in beyond(grouped(dear, "beyond"), COMPARISONS)[1].notes[0]


def groups_of(groups: dict[str, list[Record]]) -> list[Record]:
    return [record for group in groups.values() for record in group]


def test_a_run_of_one_row_has_a_page(tmp_path: Path) -> None:
    write_result_files(tmp_path / "results", [r for r in RECORDS if r.name == "hr"], {})
    written = write_page(tmp_path / "results", tmp_path / "RESULTS.md")
    assert [path.name for path in written] == ["RESULTS.md", "RESULTS.html", "evidence_accuracy.png"]
    assert "| phi_hr |" in written[0].read_text()
    with pytest.raises(FileNotFoundError, match="no result file"):
        write_page(tmp_path, tmp_path / "RESULTS.md")


def test_no_table_has_a_cell_too_many() -> None:
    for table in [*table2(grouped(RECORDS, "table2")), *statements(RECORDS, COMPARISONS)]:
        assert to_markdown(table)


def test_every_gain_of_the_repository_s_page_comes_out_of_the_accuracies_beside_it() -> None:
    text = (Path(__file__).parents[3] / "docs" / "RESULTS.md").read_text()
    checked = 0
    for kind in ("cross-resolution", "same resolution"):
        table = text.partition(f"### Accuracy, {kind}\n\n")[2].partition("\n\n")[0].splitlines()
        heads, _, *lines = ([cell.strip(" *") for cell in line.split("|")[1:-1]] for line in table)
        for papers in (False, True):
            mark = " (paper)" if papers else ""
            rows = {
                cells[0].removesuffix(mark): cells for cells in lines if ("(paper)" in cells[0]) is papers
            }
            for at, head in enumerate(heads):
                if not head.endswith(" gain"):
                    continue
                first, second = head.removesuffix(" gain").split("&")
                baseline = "phi_mm, from scratch" if first == second else "phi_mr v1"
                accuracy = {name: cells[at - 1].partition(" ")[0] for name, cells in rows.items()}
                for name, cells in rows.items():
                    if cells[at] == "-":
                        continue
                    high, by = float(accuracy["phi_hr"]), float(accuracy[baseline])
                    gain = (float(accuracy[name]) - high) / abs(by - high)
                    assert float(cells[at]) == pytest.approx(gain, abs=0.005 + 1e-9), (head, name)
                    checked += 1
    assert checked > 80


def test_the_repository_s_page_is_what_its_result_files_say(tmp_path: Path) -> None:
    docs = Path(__file__).parents[3] / "docs"
    write_page(docs / "results", tmp_path / "RESULTS.md")
    assert (tmp_path / "RESULTS.md").read_text() == (docs / "RESULTS.md").read_text()
