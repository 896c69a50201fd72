"""Kill, fill, cut and stop what may be interrupted, and see what is left: `make faults`.

    PYTHONPATH=tests/evaluation python tests/faults [--kills 50] [--output FOLDER]

Kills a training run of two processes and an evaluation as often as told, then tries the single faults. Prints a
table; with --output, writes `faults.json` and `faults.md` there. Exit status 1 if something was lost.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from btnet.data.atomic import replacing
from kills import kill_evaluation, kill_training
from single_faults import FAULTS, Outcome, Place, try_fault
from tiny_runs import Evaluation, evaluation_data, training_data

NUM_STEPS, NUM_FACES = 150, 3000


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


def markdown(kills: dict[str, dict[str, Any]], outcomes: Sequence[Outcome]) -> str:
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
    for name, content in (("faults.json", text), ("faults.md", markdown(kills, outcomes))):
        with replacing(folder / name) as path:
            path.write_text(content)


def main(arguments: Sequence[str] | None = None) -> int:
    """Bring the faults about, and tell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50, help="of each (default: %(default)s); 0: none")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: %(default)s)")
    parser.add_argument("--faults", nargs="*", choices=sorted(FAULTS), metavar="NAME", help="default: all")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="write faults.json and faults.md there")
    options = parser.parse_args(arguments)

    def tell(line: str) -> None:
        print(line, flush=True)

    kills: dict[str, dict[str, Any]] = {}
    outcomes: list[Outcome] = []

    def keep() -> None:
        if options.output:
            write(options.output, kills, outcomes)

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if options.kills:
            model, root = evaluation_data(folder, NUM_FACES)
            undisturbed = Evaluation(model, root, folder / "features", folder / "undisturbed.json")
            kills["evaluation"] = kill_evaluation(
                undisturbed, folder, options.kills, seed=options.seed, tell=tell
            )
            keep()
            kills["training, two processes"] = kill_training(
                training_data(folder),
                folder,
                options.kills,
                num_steps=NUM_STEPS,
                seed=options.seed,
                tell=tell,
            )
        names = list(FAULTS) if options.faults is None else options.faults
        if names:
            (folder / "single").mkdir()
            place = Place(folder / "single")
            for name in names:
                outcomes.append(try_fault(name, place))
                tell(f"{name}: {outcomes[-1].result}: {outcomes[-1].said}")
                keep()
    print(markdown(kills, outcomes))
    for name, counts in kills.items():
        print(*shortcomings(name, counts), sep="\n")
    return 0 if held(kills, outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
