"""The ONNX files of a folder: one per resolution, all of one model, alone or in a bundle that shares the weights."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from btnet.backbones.state import fingerprint
from btnet.backbones.trunk_file import read_weights
from btnet.files.digest import is_entry
from btnet.files.text import naming
from btnet.method.overlay import Overlay
from btnet.model_folder.manifest import NAME, leads_bundle, read_manifest
from btnet.model_folder.model_files import is_listed, overlay_file

__all__ = [
    "FOLDER",
    "bundle_networks",
    "check_belonging",
    "find_networks",
    "model_folder_of",
    "network_file",
]

FOLDER: Final = "onnx"
"""Where a run folder has its ONNX files."""

_PRECISIONS: Final = ("fp32", "fp16")  # the first that is there is served


def network_file(resolution: int | str, *, input_size: int | None = None, precision: str = "fp32") -> str:
    """File name of one network; `input_size` where it takes faces of another size than its own."""
    source = "" if input_size in (None, resolution) else f"_from{input_size}"
    return f"embed_r{resolution}{source}{'' if precision == 'fp32' else f'_{precision}'}.onnx"


def bundle_networks(folder: str | Path) -> dict[int, Path]:
    """The file of each resolution in px of a bundle, the canonical size first; all files match the manifest's digests.

    onnxruntime itself does not see whether a data file is the right one.

    Raises:
        FileNotFoundError: if the manifest or a file is missing.
        ValueError: if the folder is no bundle, or a file is not the one the manifest lists.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    try:
        section = manifest["onnx"]
        networks = {int(size): folder / entry["file"] for size, entry in section["networks"].items()}
        files = {
            folder / name: {key: entry[key] for key in ("bytes", "sha256")}
            for name, entry in section["files"].items()
        }
        if not networks or not files.keys() >= set(networks.values()):
            raise ValueError(f"{len(networks)} networks, of which some are no files of the bundle")
        if any(path.parent != folder for path in files):
            raise ValueError("a file of another folder")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{folder / NAME}: leads no ONNX bundle ({str(error)[:200]}); write one with `btnet export-onnx --bundle`"
        ) from error
    for path, entry in files.items():
        if not path.is_file():
            raise FileNotFoundError(f"{path}: missing from the bundle; copy the whole folder")
        if not is_entry(path, entry):
            raise ValueError(
                f"{path}: is not the file that {NAME} lists, damaged or of another bundle; copy the whole folder again"
            )
    return networks


def find_networks(path: Path) -> tuple[Path, dict[int, Path]]:
    """The folder of the ONNX files, and the file of each resolution in px; a bundle is checked.

    Args:
        path: a run folder, or the folder of the files itself.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: if a bundle is damaged.
    """
    folder = path / FOLDER if (path / FOLDER).is_dir() else path
    if leads_bundle(folder):
        return folder, bundle_networks(folder)
    found: dict[int, Path] = {}
    for precision in _PRECISIONS:
        start, end = network_file("*", precision=precision).split("*")
        for file in sorted(folder.glob(f"{start}*{end}")):
            size = file.name.removeprefix(start).removesuffix(end)
            if size.isdecimal():
                found.setdefault(int(size), file)
    if not found:
        raise FileNotFoundError(f"{folder}: no embed_rX.onnx; write them with `btnet export-onnx`")
    return folder, found


def model_folder_of(path: Path, folder: Path) -> Path | None:
    """The run folder that the files of `folder` were exported from; None where they lie alone."""
    lies = folder.resolve()
    places = (path, lies.parent) if lies.name == FOLDER else (path,)
    return next((place for place in places if (place / NAME).is_file() and not leads_bundle(place)), None)


def check_belonging(
    run: Path, networks: Mapping[int, Path], facts: Mapping[int, Mapping[str, str]]
) -> list[int]:
    """Compare files with the trunk and branches of the run they lie with.

    A file that the run's manifest lists is known by its digest, others by the network fingerprint in their metadata.

    Args:
        run: folder with trunk and branches.
        networks: file by resolution in px.
        facts: metadata by resolution.

    Returns:
        The resolutions to serve; warnings name files for other resolutions and those that are missing.

    Raises:
        ValueError: if a file is not the network that the run has now.
    """
    manifest = read_manifest(run)
    canonical, trunk = manifest["arch"].get("canonical_size"), manifest["trunk_fingerprint"]
    sizes = [canonical, *manifest["resolutions"]]
    for resolution, path in networks.items():
        found = facts[resolution]
        if found["trunk_fingerprint"] != trunk:
            raise ValueError(
                f"{path.parent}: files of trunk {found['trunk_fingerprint'][:12]}, the folder's manifest names "
                f"{trunk[:12]}; run `btnet export-onnx` again, with --overwrite"
            )
        if resolution not in sizes:
            _warn(f"{path}: {run} has no branch for {resolution} px, left out; remove the file")
            continue
        leader = path.parent / NAME if leads_bundle(path.parent) else path
        if run.resolve() in leader.resolve().parents and is_listed(run.resolve(), leader.resolve()):
            continue
        expected = trunk
        if resolution != canonical:
            with naming(run):
                overlay = Overlay.load(run / overlay_file(resolution))
                expected = fingerprint(overlay.merge(read_weights(run)))
        if found["network_fingerprint"] != expected:
            raise ValueError(
                f"{path}: of another training than {run / overlay_file(resolution)}; run `btnet export-onnx` again, "
                "with --overwrite"
            )
    missing = [str(size) for size in sizes if size not in networks]
    if missing:
        _warn(
            f"{run}: no ONNX file for {', '.join(missing)} px, larger networks take such faces; export them"
        )
    return [resolution for resolution in networks if resolution in sizes]


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=4)
