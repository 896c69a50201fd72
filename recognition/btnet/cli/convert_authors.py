"""Convert the BTNet authors' files, a whole network per resolution, to trunk and overlays, or back."""

from __future__ import annotations

import argparse
from pathlib import Path

from btnet.cli import options
from btnet.console import show
from btnet.interop.checkpoints import ImportedAuthors, export_authors, import_authors
from btnet.method.btnet import BTNet
from btnet.model_folder.model_files import refuse_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet convert-authors`."""
    parser.add_argument(
        "source",
        type=Path,
        metavar="SOURCE",
        help="the authors' model.pt of the 112 px trunk; or, to write their files, a run folder of ours",
    )
    options.add_output(
        parser, "FOLDER", "run folder to write; or the place of reso112/model.pt, reso14/model.pt ..."
    )
    options.add_overwrite(parser)
    parser.add_argument(
        "--branch",
        action="append",
        default=[],
        metavar="PX=FILE",
        help="the authors' model.pt of a resolution, which the file does not say; repeat it for more",
    )
    options.add_interpolation(parser, "bilinear", "%(default)s, as the authors trained")


def run(args: argparse.Namespace) -> None:
    """Convert, either way."""
    if args.source.is_dir():
        if args.branch:
            raise ValueError(
                f"{args.source}: is a run folder, so the authors' files are written; leave --branch out, or give "
                "the authors' trunk file to read theirs"
            )
        written = export_authors(BTNet.load(args.source), args.output, overwrite=args.overwrite)
        for resolution, path in written.items():
            show(f"{path}: whole network for {resolution} px, {_megabytes(path.stat().st_size)}")
        return
    if not args.branch:
        raise ValueError(f"{args.source}: is a trunk; give the networks to convert as --branch 14=FILE")
    refuse_model(args.output, overwrite=args.overwrite)
    networks: dict[int, str | Path] = {}
    for text in args.branch:
        resolution, path = _branch(text)
        if resolution in networks:
            raise ValueError(
                f"--branch {text}: a second file for {resolution} px; give one for each resolution"
            )
        networks[resolution] = path
    imported = import_authors(args.source, networks, interpolation=args.interpolation)
    imported.model.save(args.output)
    _report(imported, args.output)


def _branch(text: str) -> tuple[int, Path]:
    resolution, separator, path = text.partition("=")
    if not separator or not resolution.isdecimal() or not path:
        raise ValueError(f"--branch {text}: expected PX=FILE, such as 14=reso14/model.pt")
    return int(resolution), Path(path)


def _report(imported: ImportedAuthors, folder: Path) -> None:
    model = imported.model
    whole = sum(value.nbytes for value in model.trunk.state_dict().values())
    show(f"{folder}: trunk of {_megabytes(whole)}")
    for resolution in model.resolutions:
        overlay, differing = model.overlay(resolution), imported.differing[resolution]
        show(
            f"{resolution} px: overlay of {_megabytes(overlay.num_bytes)} ({overlay.num_bytes / whole:.1%} of the "
            f"trunk), {overlay.num_learnt / 1e6:.2f} M learnt; "
            f"{len(differing)} tensors behind {model.trunk.coupling_layer(resolution)} are not the trunk's"
        )
        for key, difference in differing.items():
            show(f"  kept {key}: differs by up to {difference:.1e}")
        if resolution in imported.untrained:
            show(
                "  its coupling layer is the trunk's to the bit: untrained, or the file of a larger resolution?"
            )


def _megabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:.2f} MB"
