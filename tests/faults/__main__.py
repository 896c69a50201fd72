"""Kill, fill, cut and stop what may be interrupted, and see what is left: `make faults`.

    PYTHONPATH=tests/evaluation python tests/faults [--kills 50] [--output FOLDER]

Kills a training run of two processes and an evaluation as often as told, then tries the single faults. Prints a
table; with --output, writes `faults.json` and `faults.md` there. Exit status 1 if something was lost.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fault_tables import held, shortcomings, tables, write
from kills import kill_evaluation, kill_training
from single_faults import FAULTS, Outcome, Place, try_fault
from tiny_runs import Evaluation, evaluation_data, training_data

NUM_STEPS, NUM_FACES = 150, 3000


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
            keep()
        names = list(FAULTS) if options.faults is None else options.faults
        if names:
            (folder / "single").mkdir()
            place = Place(folder / "single")
            for name in names:
                outcomes.append(try_fault(name, place))
                tell(f"{name}: {outcomes[-1].result}: {outcomes[-1].said}")
                keep()
    print(tables(kills, outcomes))
    for name, counts in kills.items():
        print(*shortcomings(name, counts), sep="\n")
    return 0 if held(kills, outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
