"""A table of results, as Markdown and as HTML."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

_UNKNOWN = "-"


@dataclass(frozen=True)
class Spread:
    """A mean, and the standard deviation of what it is of: "94.37 ± 0.12"."""

    mean: float
    std: float


Cell = float | Spread | str | None


@dataclass(frozen=True)
class Column:
    """A column of numbers.

    Attributes:
        name: e.g. "112&14".
        group: heading over several columns, "" for none.
        digits: behind the point.
        signed: show + too (gains).
        best: "max" or "min" sets the best of our rows in bold, "" none.
        narrow: text of it stays on one line.
    """

    name: str
    group: str = ""
    digits: int = 2
    signed: bool = False
    best: Literal["max", "min", ""] = "max"
    narrow: bool = False


@dataclass(frozen=True)
class Row:
    """A line.

    Attributes:
        name: of the model or method.
        cells: one per column; numbers, means with their spread, text, or None for "-".
        source: where published numbers come from, "" for ours.
    """

    name: str
    cells: tuple[Cell, ...]
    source: str = ""


@dataclass(frozen=True)
class Table:
    """A titled table.

    Attributes:
        title: e.g. "Average of 6 sets".
        head: of the first column.
        columns: the others.
        rows: in order.
        notes: sentences below.
    """

    title: str
    head: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = field(default=())


def to_markdown(table: Table) -> str:
    """GitHub's Markdown, with the groups in the columns' names."""
    heads = [f"{c.group} {c.name}".strip() for c in table.columns]
    lines = [
        f"### {md_text(table.title)}",
        "",
        _md_row([table.head, *heads]),
        "|---|" + "".join("---|" if kind else "---:|" for kind in _kinds(table)),
    ]
    bold = _best(table)
    for i, row in enumerate(table.rows):
        texts = [md_text(_text(cell, column)) for cell, column in zip(row.cells, table.columns, strict=True)]
        texts = [f"**{text}**" if (i, j) in bold else text for j, text in enumerate(texts)]
        name = md_text(row.name) + (f" ({md_text(row.source)})" if row.source else "")
        lines.append("| " + " | ".join([name, *texts]) + " |")
    lines += [line for note in table.notes for line in ("", md_text(note))]
    return "\n".join(lines) + "\n"


def to_html(table: Table) -> str:
    """A figure with caption, scrollable where the screen is narrow; all text escaped."""
    bold, kinds = _best(table), _kinds(table)
    parts = ['<figure class="table">', f"<figcaption>{html_name(table.title)}</figcaption>"]
    parts += ['<div class="scroll" tabindex="0"><table><thead>', *_html_heads(table), "</thead><tbody>"]
    for i, row in enumerate(table.rows):
        kind = ' class="published"' if row.source else ""
        source = f' <span class="source">{html.escape(row.source)}</span>' if row.source else ""
        parts.append(f'<tr{kind}><th scope="row">{html_name(row.name)}{source}</th>')
        for j, (cell, column) in enumerate(zip(row.cells, table.columns, strict=True)):
            text = html.escape(_text(cell, column))
            parts.append(
                f"<td{kinds[j]}><strong>{text}</strong></td>"
                if (i, j) in bold
                else f"<td{kinds[j]}>{text}</td>"
            )
        parts.append("</tr>")
    parts.append("</tbody></table></div>")
    parts += [f'<p class="note">{html_name(note)}</p>' for note in table.notes]
    parts.append("</figure>")
    return "".join(parts)


def html_name(name: str) -> str:
    """Escaped text with the models' Greek letters: "phi_bt r14" -> φ<sub>bt</sub> r14."""
    return re.sub(r"(?<![\w/])phi_([A-Za-z0-9]+)", r"φ<sub>\1</sub>", html.escape(name))


def _html_heads(table: Table) -> list[str]:
    heads = []
    grouped = any(column.group for column in table.columns)
    first = f'<th scope="col"{" rowspan=2" if grouped else ""}>{html.escape(table.head)}</th>'
    if grouped:
        spans: list[tuple[str, int]] = []
        for column in table.columns:
            if spans and spans[-1][0] == column.group:
                spans[-1] = (column.group, spans[-1][1] + 1)
            else:
                spans.append((column.group, 1))
        groups = "".join(
            f'<th scope="colgroup" colspan="{n}" class="group">{html.escape(name)}</th>' for name, n in spans
        )
        heads.append(f"<tr>{first}{groups}</tr>")
        first = ""
    columns = "".join(
        f'<th scope="col"{kind}>{html.escape(column.name)}</th>'
        for column, kind in zip(table.columns, _kinds(table), strict=True)
    )
    heads.append(f"<tr>{first}{columns}</tr>")
    return heads


def _kinds(table: Table) -> list[str]:
    """Of each column: numbers stand at the right, text (and its heading) at the left."""
    found = []
    for j, column in enumerate(table.columns):
        is_text = any(isinstance(row.cells[j], str) for row in table.rows)
        kind = "text narrow" if column.narrow else "text"
        found.append(f' class="{kind}"' if is_text else "")
    return found


def _best(table: Table) -> set[tuple[int, int]]:
    """Positions of the best numbers of ours, where there are two or more that differ."""
    found = set()
    for j, column in enumerate(table.columns):
        ours = {
            i: float(_text(number, column))
            for i, row in enumerate(table.rows)
            if not row.source and (number := _number(row.cells[j])) is not None
        }
        if column.best and len(set(ours.values())) > 1:
            best = max(ours.values()) if column.best == "max" else min(ours.values())
            found |= {(i, j) for i, value in ours.items() if value == best}
    return found


def _number(cell: Cell) -> float | None:
    """What a cell is compared by."""
    if isinstance(cell, Spread):
        return cell.mean
    return None if isinstance(cell, str) else cell


def _text(cell: Cell, column: Column) -> str:
    if cell is None:
        return _UNKNOWN
    if isinstance(cell, str):
        return cell
    if isinstance(cell, Spread):
        return f"{_text(cell.mean, column)} ± {cell.std:.{column.digits}f}"
    # What rounds to nothing has a plus.
    number = round(cell, column.digits) + 0.0 if column.signed else cell
    return f"{number:+.{column.digits}f}" if column.signed else f"{number:.{column.digits}f}"


def _md_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(md_text, cells)) + " |"


def md_text(text: str) -> str:
    """Text that Markdown shows as it is: no HTML, no emphasis, no link, no emoji, no end of a table's cell."""
    escaped = html.escape(" ".join(text.split()), quote=False)
    # A plain "112&14" need not be an entity, and an underscore inside a word marks nothing.
    escaped = re.sub(r"&amp;(?!#\w+;|[A-Za-z]\w*;)", "&", escaped)
    escaped = re.sub(r"[\\`*~|\[\]]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", escaped)
    return re.sub(r"(?<!\d):(?=[\w+-]+:)", "&#58;", escaped)
