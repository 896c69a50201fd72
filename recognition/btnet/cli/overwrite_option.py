"""The option by which a user says that what was made before may be replaced."""

from __future__ import annotations

import argparse

__all__ = ["add_overwrite_argument"]


def add_overwrite_argument(parser: argparse.ArgumentParser) -> None:
    """Declare it; what writes a model or a gallery asks `btnet.files.atomic.refuse_existing` first."""
    parser.add_argument(
        "--overwrite", action="store_true", help="replace what is there (default: refuse to write over it)"
    )
