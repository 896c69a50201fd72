"""The command line: `btnet COMMAND`, one module of this package per command."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Final

from btnet.cli.command_line import run_program
from btnet.console import show

__all__ = ["COMMANDS", "GROUPS", "main"]

GROUPS: Final[Mapping[str, Mapping[str, str]]] = {
    "train": {
        "retrofit": "btnet.cli.retrofit",
        "train": "btnet.cli.train",
        "configs": "btnet.cli.configs",
        "build-classifier": "btnet.cli.build_classifier",
    },
    "evaluate": {
        "evaluate": "btnet.cli.evaluate",
        "calibrate": "btnet.cli.calibrate",
        "ijbc": "btnet.cli.ijbc",
        "survface": "btnet.cli.survface",
        "tinyface": "btnet.cli.tinyface",
        "scface": "btnet.cli.scface",
    },
    "embed and search": {
        "embed": "btnet.cli.embed",
        "compare": "btnet.cli.compare",
        "search": "btnet.cli.search",
        "demo-page": "btnet.cli.demo_page",
    },
    "data": {
        "align": "btnet.cli.align",
        "make-rec": "btnet.cli.make_rec",
        "make-bin": "btnet.cli.make_bin",
        "index-shards": "btnet.cli.index_shards",
    },
    "convert and export": {
        "export-onnx": "btnet.cli.export_onnx",
        "export-insightface": "btnet.cli.export_insightface",
        "export-checkpoint": "btnet.cli.export_checkpoint",
        "quantise-onnx": "btnet.cli.quantise_onnx",
        "import-onnx": "btnet.cli.import_onnx",
        "convert-trunk": "btnet.cli.convert_trunk",
        "convert-classifier": "btnet.cli.convert_classifier",
        "convert-authors": "btnet.cli.convert_authors",
        "arcface-setup": "btnet.cli.arcface_setup",
    },
    "check": {
        "doctor": "btnet.cli.doctor",
        "check-compatibility": "btnet.cli.check_compatibility",
    },
}
COMMANDS: Final = {name: module for group in GROUPS.values() for name, module in group.items()}

# Commands of `btnet-lab`, which answer to `btnet` too for one release.
_MOVED: Final = (
    "demo", "evidence", "report", "analyse", "native-test", "fit-selector", "head-memory", "model-cost",
)  # fmt: skip

_GONE: Final = {
    "adapt-camera": "`btnet-lab adapt-camera RUN FACES -o MODEL` writes a model with the camera's statistics, to be "
    "used like any other model",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command of `btnet`; see `btnet.cli.command_line.run_program`.

    Args:
        argv: command and options; those of the process if None.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv and argv[0] in _GONE:
        show(f"btnet: error: {argv[0]}: {_GONE[argv[0]]}", error=True)
        return 2
    groups = GROUPS
    if find_spec("btnet_lab"):
        groups = {**GROUPS, "": {name: f"btnet_lab.cli.{name.replace('-', '_')}" for name in _MOVED}}
    elif argv and argv[0] in _MOVED:
        show(f"btnet: error: `{argv[0]}` needs the laboratory: pip install -e lab", error=True)
        return 2
    return run_program("btnet", "Multi-resolution face recognition that keeps your gallery.", groups, argv)
