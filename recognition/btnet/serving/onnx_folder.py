"""The ONNX files of a folder that are served: one for each resolution, all of the model they lie with."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from btnet.backbones.state import fingerprint
from btnet.backbones.trunk_file import read_weights
from btnet.files.text import naming
from btnet.method.overlay import Overlay
from btnet.model_folder.manifest import NAME, leads_bundle, read_manifest
from btnet.model_folder.model_files import is_listed, overlay_file
from btnet.serving.onnx_bundle import OnnxBundle

__all__ = ["FOLDER", "check_belonging", "find_networks", "model_folder_of", "network_file"]

FOLDER: Final = "onnx"
"""Where a run folder has its ONNX files."""

# In the order of preference, where a folder has several for a resolution.
_PRECISIONS: Final = ("fp32", "fp16")


def network_file(resolution: int | str, *, input_size: int | None = None, precision: str = "fp32") -> str:
    """Name of the file of one network; it takes faces of another size than its own where `input_size` says so."""
    source = "" if input_size in (None, resolution) else f"_from{input_size}"
    return f"embed_r{resolution}{source}{'' if precision == 'fp32' else f'_{precision}'}.onnx"


def find_networks(path: Path) -> tuple[Path, dict[int, Path]]:
    """The folder of the files, and the file of each resolution that is there, in px; a bundle is checked as a whole.

    Args:
        path: a run folder, or the folder of the files itself.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: if a bundle is damaged.
    """
    folder = path / FOLDER if (path / FOLDER).is_dir() else path
    if leads_bundle(folder):
        # onnxruntime does not see whether data files are the right ones
        return folder, OnnxBundle.load(folder).networks
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
    """The run folder whose networks the files of `folder` should be; None where they lie alone."""
    lies = folder.resolve()
    places = (path, lies.parent) if lies.name == FOLDER else (path,)
    return next((place for place in places if (place / NAME).is_file() and not leads_bundle(place)), None)


def check_belonging(
    run: Path, networks: Mapping[int, Path], facts: Mapping[int, Mapping[str, str]]
) -> list[int]:
    """Compare files with the model they lie with: its trunk, and each of its branches as they are now.

    A file that the model's manifest lists is known by its digest. Of others the fingerprint in their metadata is
    compared with that of the network, which is put together for it.

    Args:
        run: folder with trunk and branches.
        networks: file by resolution in px.
        facts: metadata by resolution.

    Returns:
        The resolutions to be served. Files for others are left out, with a warning, and one says which are missing.

    Raises:
        ValueError: if a file is not the network that the model has now.
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
            f"{run}: no ONNX file for {', '.join(missing)} px, larger networks take such faces; export them too"
        )
    return [resolution for resolution in networks if resolution in sizes]


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=4)
