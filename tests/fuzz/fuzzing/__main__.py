"""Runs the targets and writes the table of outcomes: `make fuzz`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from fuzzing.registry import TARGETS
from fuzzing.supervisor import Report, run_target
from fuzzing.table import add_to_json, write_table
from fuzzing.target import Seeds


def main() -> int:
    """Run; 1 if any case failed."""
    parser = argparse.ArgumentParser(prog="fuzzing", description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, help="per target (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--target", action="append", help="only these, by the start of their names")
    parser.add_argument(
        "--json", type=Path, metavar="X.json", help="put the counts of each target into this file"
    )
    parser.add_argument("--page", type=Path, metavar="X.md", help="put the table of that file into this page")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the inputs of failing cases here")
    args = parser.parse_args()
    reports: list[Report] = []
    for target in TARGETS:
        if args.target and not target.name.startswith(tuple(args.target)):
            continue
        start = time.monotonic()
        report = run_target(target, args.cases, first=args.first)
        reports.append(report)
        counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(report.counts.items()))
        print(f"{target.name}: {counts} ({time.monotonic() - start:.0f} s)", flush=True)
        for failure in report.failures[:20]:
            print(f"  case {failure.case}: {failure.outcome}: {failure.detail[:500]}", flush=True)
        if args.keep and report.failures:
            _keep(report, args.keep)
        if args.json:
            add_to_json(args.json, report, args.cases)
    if args.page and args.json:
        write_table(args.page, args.json)
    return int(any(report.failures for report in reports))


def _keep(report: Report, folder: Path) -> None:
    """Write the inputs of failing cases: they follow from the number of the case."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        report.target.make(Path(name))
        seeds = Seeds.load(report.target, Path(name))
        for failure in report.failures[:100]:
            change = seeds.change(failure.case)
            kept = (
                folder
                / report.target.name.replace(" ", "_")
                / f"{failure.case}_{change.seed}_{change.file}".replace(" ", "_")
            )
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(change.after)


if __name__ == "__main__":
    sys.exit(main())
