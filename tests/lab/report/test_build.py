"""Whole pages: every task, nothing from outside, nothing unescaped."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from btnet_lab.cli import main

PNG = bytes.fromhex("89504e470d0a1a0a")
EVIL = '<img src=x onerror="alert(1)">'


def document(task: str, results: list[dict[str, Any]], **head: Any) -> dict[str, Any]:
    sets = [{"name": f"set of {task}", "sha256": "ab" * 32, "num_probes": 7, "results": results}]
    head = {"protocol": "p", "interpolation": "bilinear", "models": [], "versions": {"btnet": "0"}, **head}
    return {"task": task, "sets": sets, **head}


DOCUMENTS = [
    document(
        "verification",
        [{"model": EVIL, "pair": [112, 14], "accuracy": 0.8125, "tar_at_far": {"0.01": 0.5}}],
        models=[
            {"name": EVIL, "path": "runs/x", "networks": {"112": {"name": "trunk", "fingerprint": "f" * 64}}}
        ],
    ),
    document(
        "survface",
        [
            {
                "model": "phi_bt",
                "indicator": "max",
                "rule": "ceil",
                "auc": 0.301,
                "tpir20_at_fpir": {"0.3": 0.25},
            },
            {
                "model": "phi_hr",
                "strategy": "min+floor",
                "auc": None,
                "tpir": {"0.1": 0.15},
                "scorer": "exact",
            },
        ],
    ),
    document(
        "ijbc",
        [
            {"model": "phi_hr", "pair": [112, 14], "tar_at_far": {"0.0001": 0.5, "0.001": 0.6}, "top1": 0.4},
            {"model": "phi_mm", "pair": [112, 14], "tar_at_far": {"0.0001": 0.4, "0.001": None}},
            {"model": "phi_mr v1", "pair": [112, 14], "tar_at_far": {"0.0001": 0.7, "0.001": None}},
            {
                "model": "phi_bt",
                "pair": [112, 14],
                "tar_at_far": {"0.0001": 0.9},
                "ijb_1n": {"tpir": {"0.1": 0.75}, "rank": {"1": 0.5}},
                "roc": {"far": [0.0, 1.0], "tar": [0.0, 1.0]},
            },
        ],
        protocol={"norm": False, "flip": True, "templates": {"label": "N0"}},
    ),
    document("weather", [{"model": "m", "rain": {"today": 0.125}, "wind": 3, "nan": float("nan")}]),
]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    (tmp_path / "runs").mkdir()
    for content in DOCUMENTS:
        (tmp_path / "runs" / f"{content['task']}.json").write_text(json.dumps(content))
    return tmp_path / "runs"


def made(runs: Path, *options: str) -> tuple[str, str]:
    page = runs.parent / "out" / "report.html"
    assert main(["report", str(runs), "-o", str(page), *options]) == 0
    return page.read_text(encoding="utf-8"), page.with_suffix(".md").read_text(encoding="utf-8")


def test_every_task_is_laid_out(runs: Path) -> None:
    html, markdown = made(runs)
    assert "81.25" in html
    assert re.search(r"\| phi_bt, max \+ ceil \| 30.1 \| 25.0 \| - \| - \| - \|", markdown)
    assert "| phi_bt, max + ceil (paper) | 35.4 | 31.2 | 26.9 | 20.6 | 2.5 |" in markdown
    assert "| MIND-Net (paper) | 31.9 | 25.5 | - | 20.4 | - |" in markdown
    assert "| phi_hr, min + floor | - | - | - | 15.0 | - |" in markdown
    assert "### set of survface, exact: TPIR20 and AUC, % (Table 3)" in markdown
    # IJB-C: gain at FAR 1e-4 is (90 - 50) / |70 - 50|; the paper's rows have their own.
    assert "| phi_bt | **90.00** | - | +2.00 |" in markdown
    assert "| phi_bt (paper) | 93.97 | 96.64 | +1.87 |" in markdown
    assert "| phi_mm (paper) | 93.52 | 96.10 | +1.33 |" in markdown
    assert "| phi_bt (paper) | 94.78 |\n" in markdown  # rank 1
    assert "norm false, flip true, templates (label N0)." in markdown
    assert "| phi_bt (paper) | 91.87 | +1.66 |" in markdown
    assert "TPIR at FPIR, galleries joined" in markdown
    assert "roc" not in markdown
    # The curve that IJB-C's result carries is drawn, and nothing else is.
    assert html.count('class="picture chart"') == html.count("data:image/svg+xml")
    assert "set of ijbc 1:1, ROC (figs. 11 and 12)." in html
    assert "| m | 0.1250 | 3.0000 | - |" in markdown
    for title in ("1:1 verification", "QMUL-SurvFace 1:N", "IJB-C", "weather", "What was measured"):
        assert f"<h2>{title}</h2>" in html
        assert f"## {title}\n" in markdown


def test_the_page_needs_nothing_from_outside_and_runs_nothing(runs: Path) -> None:
    html, markdown = made(runs, "--title", EVIL)
    assert EVIL not in html
    assert "onerror=&quot;" in html
    assert "<img src=x" not in markdown
    assert "<script" not in html
    assert "http" not in re.sub(r'src="data:[^"]*"', "", html)
    assert set(re.findall(r'src="([a-z]+):', html)) == {"data"}


def test_pictures_are_carried_along(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "roc_curve.png").write_bytes(PNG)
    html, _ = made(runs, "--pictures", str(tmp_path / "roc_curve.png"))
    assert "data:image/png;base64,iVBORw0KGgo=" in html
    assert "Roc curve." in html


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "x.pdf"], "give a name that ends in .html"),
        (["--pictures", "x.gif"], "convert it first"),
        (["--pictures", "x.png"], "no such picture"),
    ],
)
def test_mistakes_are_answered_in_a_line(
    runs: Path, options: list[str], message: str, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(runs), *options]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_a_damaged_result_stops_the_report_and_leaves_no_page(runs: Path, capsys: Any) -> None:
    (runs / "broken.json").write_text("{")
    page = runs.parent / "report.html"
    assert main(["report", str(runs), "-o", str(page)]) == 2
    assert "broken.json: not valid JSON" in capsys.readouterr().err
    assert not page.exists()
