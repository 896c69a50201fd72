"""What the faults cost, as tables and as JSON, and whether it was more than it may be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from btnet.files.atomic import replacing
from single_faults import Outcome

__all__ = ["held", "shortcomings", "tables", "write"]


def held(kills: dict[str, dict[str, Any]], outcomes: Sequence[Outcome]) -> bool:
    """Whether nothing was lost."""
    return all(shortcomings(name, counts) == [] for name, counts in kills.items()) and all(
        outcome.result != "FAILED" for outcome in outcomes
    )


def shortcomings(name: str, counts: dict[str, Any]) -> list[str]:
    """What the kills of the training or of the evaluation cost that they must not."""
    said = [
        f"{name}: {text}: {counts[text]} of {counts['runs']}"
        for text in counts
        if text.startswith("runs that") and counts[text] != counts["runs"]
    ]
    if counts.get("most steps lost", 0) > counts.get("steps that may be lost", 0):
        said.append(f"{name}: {counts['most steps lost']} steps were lost")
    if counts.get("processes left behind", 0):
        said.append(f"{name}: {counts['processes left behind']} processes were left behind")
    kept = counts.get("kills after which all embeddings that had been written were there", counts["kills"])
    if kept != counts["kills"]:
        said.append(f"{name}: embeddings were lost in {counts['kills'] - kept} kills")
    return said


def tables(kills: dict[str, dict[str, Any]], outcomes: Sequence[Outcome]) -> str:
    """The tables."""
    lines = []
    for name, counts in kills.items():
        lines += [f"| {name} | |", "|---|---|"]
        lines += [f"| {text} | {count} |" for text, count in counts.items() if not isinstance(count, list)]
        lines.append("")
    if outcomes:
        lines += ["| fault | result | what the user reads, or what was found |", "|---|---|---|"]
        lines += [f"| {o.fault} | {o.result} | {o.said.replace('|', '/')} |" for o in outcomes]
    return "\n".join(lines) + "\n"


def write(folder: Path, kills: dict[str, dict[str, Any]], outcomes: Sequence[Outcome]) -> None:
    """Write what is known so far, as JSON and as tables."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {"kills": kills, "faults": [asdict(outcome) for outcome in outcomes]}
    text = json.dumps(record, indent=1) + "\n"
    for name, content in (("faults.json", text), ("faults.md", tables(kills, outcomes))):
        with replacing(folder / name) as path:
            path.write_text(content)
