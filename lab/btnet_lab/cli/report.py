"""Collect results into one HTML page and Markdown tables, the paper's numbers beside ours."""

from __future__ import annotations

import argparse
from pathlib import Path

from btnet.cli import options
from btnet.console import show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet-lab report`."""
    parser.add_argument(
        "results",
        nargs="+",
        metavar="RUN",
        help="run folders (their results/*.json), or result files (.json)",
    )
    options.add_output(
        parser,
        "X.html",
        "page to write; the tables go to X.md (default: %(default)s)",
        default=Path("runs/report.html"),
    )
    parser.add_argument("--title", default="Multi-resolution face recognition: results", help="of the page")
    parser.add_argument(
        "--pictures", nargs="+", type=Path, default=[], metavar="P.png", help="PNG or SVG files to show too"
    )


def run(args: argparse.Namespace) -> None:
    """Read, lay out, write."""
    # Matplotlib and torch take seconds to import: --help need not wait.
    from btnet.files.atomic import replacing
    from btnet_lab.report.build import read_picture, report_sections
    from btnet_lab.report.page import html_page, markdown_page
    from btnet_lab.report.results import find_results, read_results

    if args.output.suffix != ".html":
        raise ValueError(f"{args.output}: the report is a page; give a name that ends in .html")
    files = [read_results(path) for path in find_results(args.results)]
    sections = report_sections(files, [read_picture(path) for path in args.pictures])
    lead = f"From {len(files)} result file{'s' if len(files) != 1 else ''}: " + ", ".join(
        dict.fromkeys(file.task for file in files)
    )
    made = {
        args.output: html_page(args.title, f"{lead}.", sections, "Made by btnet-lab report."),
        args.output.with_suffix(".md"): markdown_page(args.title, f"{lead}.", sections),
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    for path, text in made.items():
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
        show(path)
