"""List the configs that come with the package, or copy them to a folder to edit."""

from __future__ import annotations

import argparse
import ast
from pathlib import Path

from btnet.cli import options
from btnet.console import show
from btnet.files.atomic import replacing
from btnet.training.config_file import packaged_configs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet configs`."""
    options.add_output(parser, "FOLDER", "copy them here (default: list them)", required=False)
    parser.add_argument("folder", nargs="?", type=Path, help=argparse.SUPPRESS)  # as -o was given before


def run(args: argparse.Namespace) -> None:
    """List, or copy all of them; none where one of them is there already."""
    sources = sorted(packaged_configs().glob("*.py"))
    folder: Path | None = args.output or args.folder
    if folder is None:
        for source in sources:
            show(f"{source.stem:32} {_summary(source)}")
        return
    taken = [folder / source.name for source in sources if (folder / source.name).exists()]
    if taken:
        raise FileExistsError(f"{taken[0]}: exists; give a folder without it")
    folder.mkdir(parents=True, exist_ok=True)
    for source in sources:
        with replacing(folder / source.name) as temporary:
            temporary.write_bytes(source.read_bytes())
    show(f"{folder}: {len(sources)} configs; base.py lists every key")


def _summary(source: Path) -> str:
    docstring = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]
