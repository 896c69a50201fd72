"""The counts of a run as JSON, and as a table in a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from btnet.model_folder.manifest import versions
from fuzzing.supervisor import Report
from fuzzing.worker import FAILURES, OUTCOMES

_BEGIN, _END = "<!-- table of make fuzz -->", "<!-- end of the table -->"
_GOOD: Final = tuple(name for name in OUTCOMES[1:] if name not in FAILURES)


def add_to_json(path: Path, report: Report, num_cases: int) -> None:
    """Put the counts of one target into a file of all, with the versions they were counted on."""
    document = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    document[report.target.name] = {
        "cases": num_cases,
        "counts": {name: report.counts.get(name, 0) for name in OUTCOMES[1:]},
        "memory_mib": report.target.memory_mib,
        "cannot_notice": report.target.limit,
        "versions": versions(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def write_table(path: Path, counted: Path) -> None:
    """Put the table of what `add_to_json` wrote between its two marks in a page.

    Raises:
        ValueError: if the page lacks the marks.
    """
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{path}: lacks {_BEGIN} and {_END}, where the table goes")
    targets: dict[str, Any] = json.loads(counted.read_text(encoding="utf-8"))
    lines = [
        f"| read from outside | cases | {' | '.join(_GOOD)} | failures | memory bound | what a reader cannot notice |",
        "|---|" + "---:|" * (len(_GOOD) + 3) + "---|",
    ]
    for name, found in targets.items():
        counts = found["counts"]
        good = " | ".join(str(counts[outcome]) for outcome in _GOOD)
        bad = sum(counts[outcome] for outcome in FAILURES)
        limits = f"{found['memory_mib']} MiB | {found['cannot_notice']}"
        lines.append(f"| {name} | {found['cases']} | {good} | {bad} | {limits} |")
    path.write_text(f"{before}{_BEGIN}\n\n" + "\n".join(lines) + f"\n\n{_END}{after}", encoding="utf-8")
