"""The laboratory's command line: `btnet-lab COMMAND`, one module of this package per command."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Final

from btnet.cli.command_line import run_program

GROUPS: Final[Mapping[str, Mapping[str, str]]] = {
    "the paper in miniature": {
        "demo": "btnet_lab.cli.demo",
        "evidence": "btnet_lab.cli.evidence",
        "report": "btnet_lab.cli.report",
    },
    "figures and costs": {
        "analyse": "btnet_lab.cli.analyse",
        "model-cost": "btnet_lab.cli.model_cost",
        "head-memory": "btnet_lab.cli.head_memory",
    },
    "photographed small faces": {
        "native-test": "btnet_lab.cli.native_test",
        "fit-selector": "btnet_lab.cli.fit_selector",
        "adapt-camera": "btnet_lab.cli.adapt_camera",
    },
}
COMMANDS: Final = {name: module for group in GROUPS.values() for name, module in group.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command of `btnet-lab`; see `btnet.cli.command_line.run_program`."""
    argv = list(sys.argv[1:] if argv is None else argv)
    return run_program("btnet-lab", "BTNet's paper in miniature, and its figures.", GROUPS, argv)
