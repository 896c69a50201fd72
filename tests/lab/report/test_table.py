from __future__ import annotations

import html.parser

from hypothesis import given
from hypothesis import strategies as st

from btnet_lab.report.table import Column, Row, Spread, Table, html_name, md_text, to_html, to_markdown

TABLE = Table(
    "Accuracy",
    "model",
    (Column("acc.", "112&14"), Column("gain", "112&14", signed=True, best=""), Column("112&112")),
    (
        Row("phi_hr", (81.0, -0.0, 97.25)),
        Row("phi_mr", (81.0, -0.001, None)),
        Row("phi_bt", (94.08, 1.5, None)),
        Row("phi_bt", (99.0, None, 99.0), "paper"),
    ),
    ("A note on phi_bt.",),
)


class Tags(html.parser.HTMLParser):
    """Collects tags and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_headings_stand_over_their_columns_text_left_and_numbers_right() -> None:
    columns = (Column("versions", best=""), Column("count", best=""))
    table = Table("Files", "file", columns, (Row("a.json", ("torch 2", 1.0)), Row("b.json", (None, 2.0))))
    html = to_html(table)
    assert '<th scope="col" class="text">versions</th><th scope="col">count</th>' in html
    assert html.count('<td class="text">') == 2
    assert "|---|---|---:|" in to_markdown(table)


def test_missing_numbers_are_dashes_gains_have_signs_and_our_best_is_bold() -> None:
    text = to_markdown(TABLE)
    assert "| phi_hr | 81.00 | +0.00 | 97.25 |" in text
    assert "| phi_mr | 81.00 | +0.00 | - |" in text
    assert "| phi_bt | **94.08** | +1.50 | - |" in text  # the paper's 99.00 is no rival of ours
    assert "| phi_bt (paper) | 99.00 | - | 99.00 |" in text
    assert "| model | 112&14 acc. | 112&14 gain | 112&112 |" in text


def test_a_mean_with_its_spread_is_a_number_and_narrow_text_stays_on_its_line() -> None:
    columns = (Column("acc.", digits=1), Column("interval", best="", narrow=True))
    rows = (Row("phi_hr", (90.0, None)), Row("phi_bt", (Spread(94.04, 0.26), "+1 to +2")))
    table = Table("Accuracy of phi_bt", "model", columns, rows)
    assert "| phi_bt | **94.0 ± 0.3** | +1 to +2 |" in to_markdown(table)
    html = to_html(table)
    assert '<td><strong>94.0 ± 0.3</strong></td><td class="text narrow">+1 to +2</td>' in html
    assert "<figcaption>Accuracy of φ<sub>bt</sub></figcaption>" in html


def test_html_says_the_same() -> None:
    text = to_html(TABLE)
    assert "<td><strong>94.08</strong></td><td>+1.50</td><td>-</td>" in text
    assert 'colspan="2" class="group">112&amp;14<' in text
    assert text.count('<tr class="published">') == 1
    assert "φ<sub>bt</sub>" in text


@given(st.text(min_size=1, max_size=30))
def test_names_can_neither_inject_html_nor_break_a_markdown_table(name: str) -> None:
    hostile = f"<script>{name}</script>|{name}"
    table = Table(
        hostile, hostile, (Column(hostile, hostile),), (Row(hostile, (hostile,), hostile),), (hostile,)
    )
    allowed = {
        "figure",
        "figcaption",
        "div",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "span",
        "p",
        "sub",
        "strong",
    }
    assert set(Tags(to_html(table)).opened) <= allowed
    markdown = to_markdown(table)
    assert "<script" not in markdown
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(lines) == 3
    assert {line.replace("\\|", "").count("|") for line in lines} == {3}


def test_in_markdown_a_name_is_text() -> None:
    for name, text in (
        ("a_b *c* [x](y)", r"a_b \*c\* \[x\](y)"),
        ("_x_ __y", r"\_x\_ \_\_y"),
        (":smile: 10:30", "&#58;smile: 10:30"),
        ("`code` ~~z~~", r"\`code\` \~\~z\~\~"),
        ("112&14 &copy;", "112&14 &amp;copy;"),
        ("phi_bt r14, 1 | 2", r"phi_bt r14, 1 \| 2"),
    ):
        assert md_text(name) == text


def test_greek_letters_only_where_a_model_is_meant() -> None:
    assert html_name("phi_bt r14") == "φ<sub>bt</sub> r14"
    assert html_name("phi_hr, 112&14") == "φ<sub>hr</sub>, 112&amp;14"
    assert html_name("runs/phi_hr") == "runs/phi_hr"
