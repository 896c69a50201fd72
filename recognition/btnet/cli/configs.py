"""List the configs that come with the package, or write copies of them to a folder to edit."""

from __future__ import annotations

import argparse
import ast
from pathlib import Path

from btnet.console import show
from btnet.files.atomic import replacing
from btnet.training.config_file import packaged_configs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet configs`."""
    parser.add_argument(
        "folder", nargs="?", type=Path, help="write them here; without it, they are listed", metavar="FOLDER"
    )


def run(args: argparse.Namespace) -> None:
    """List or copy.

    Raises:
        FileExistsError: if a file to be written is there already; then none is written.
    """
    sources = sorted(packaged_configs().glob("*.py"))
    if args.folder is None:
        for source in sources:
            show(f"configs/{source.stem:24} {_summary(source)}")
        return
    taken = [args.folder / source.name for source in sources if (args.folder / source.name).exists()]
    if taken:
        raise FileExistsError(f"{taken[0]}: is there already; give a folder without it")
    args.folder.mkdir(parents=True, exist_ok=True)
    for source in sources:
        with replacing(args.folder / source.name) as temporary:
            temporary.write_bytes(source.read_bytes())
    show(f"{args.folder}: {len(sources)} configs; base.py lists every key")


def _summary(source: Path) -> str:
    docstring = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]
