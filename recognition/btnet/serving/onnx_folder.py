"""The ONNX files of a folder: one per resolution, all of one model, alone or in a bundle that shares the weights."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from btnet.backbones.state import fingerprint
from btnet.backbones.trunk_file import read_weights
from btnet.files.digest import is_entry
from btnet.files.text import naming
from btnet.method.overlay import Overlay
from btnet.model_folder.manifest import NAME, leads_bundle, read_manifest
from btnet.model_folder.model_files import is_listed, overlay_file
from btnet.serving.embedding import OnnxNetwork
from btnet.serving.face_model import FaceModel

__all__ = ["FOLDER", "bundle_networks", "load_onnx", "network_file"]

FOLDER: Final = "onnx"
"""Where a run folder has its ONNX files."""

_PRECISIONS: Final = ("fp32", "fp16")  # the first that is there is served


def network_file(resolution: int | str, *, input_size: int | None = None, precision: str = "fp32") -> str:
    """File name of one network; `input_size` where it takes faces of another size than its own."""
    source = "" if input_size in (None, resolution) else f"_from{input_size}"
    return f"embed_r{resolution}{source}{'' if precision == 'fp32' else f'_{precision}'}.onnx"


def load_onnx(path: Path) -> FaceModel:
    """Open `embed_rX.onnx` (else `embed_rX_fp16.onnx`) of a run's onnx/ folder, or of the folder itself.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a file is damaged, not of `btnet export-onnx`, of another trunk than the rest, or not the
            network that the run has now.
    """
    from btnet.serving.onnx_session import check_operators, open_session

    folder, files = _find_networks(path)
    sessions: dict[int, Any] = {}
    facts: dict[int, dict[str, str]] = {}
    for resolution, file in files.items():
        check_operators(file)
        sessions[resolution] = open_session(file)
        facts[resolution] = _facts(file, sessions[resolution], resolution)
    run = _model_folder_of(path, folder)
    served = sorted(files if run is None else _check_belonging(run, files, facts), reverse=True)
    size = served[0]
    first = facts[size]
    if first["network_fingerprint"] != first["trunk_fingerprint"]:
        raise ValueError(
            f"{folder}: no network for the trunk's {_canonical_size(first)} px, only for "
            f"{', '.join(map(str, served))} px; larger faces need it: export it too"
        )
    for resolution in served:
        for key in ("trunk_fingerprint", "interpolation"):
            found, expected = (facts[r].get(key, "none") for r in (resolution, size))
            if found != expected:
                raise ValueError(
                    f"{folder}: embed_r{resolution}.onnx has {key} {found[:12]}, embed_r{size}.onnx {expected[:12]}; "
                    "export all networks of one model again"
                )
    length = _embedding_size(folder, sessions[size])
    return FaceModel(
        name=path.resolve().name,
        networks={
            r: OnnxNetwork(str(files[r]), sessions[r], r, length, facts[r]["network_fingerprint"])
            for r in served
        },
        canonical_size=size,
        interpolation=first.get("interpolation"),
    )


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


def _find_networks(path: Path) -> tuple[Path, dict[int, Path]]:
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


def _model_folder_of(path: Path, folder: Path) -> Path | None:
    """The run folder that the files of `folder` were exported from; None where they lie alone."""
    lies = folder.resolve()
    places = (path, lies.parent) if lies.name == FOLDER else (path,)
    return next((place for place in places if (place / NAME).is_file() and not leads_bundle(place)), None)


def _check_belonging(
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
    served = [resolution for resolution in networks if resolution in sizes]
    if not served:
        raise ValueError(f"{run}: none of its networks has an ONNX file; run `btnet export-onnx` again")
    return served


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=4)


def _canonical_size(props: dict[str, str]) -> str:
    try:
        return str(json.loads(props["arch"])["canonical_size"])[:10]
    except (ValueError, LookupError, TypeError):  # only for a message
        return "canonical"


def _facts(path: Path, session: Any, resolution: int) -> dict[str, str]:
    # Texts of the file are decoded when they are asked for.
    with naming(path):
        props: dict[str, str] = session.get_modelmeta().custom_metadata_map
        faces = [(face.name, face.shape) for face in session.get_inputs()]
    needed = {"trunk_fingerprint", "network_fingerprint"}
    if (
        len(faces) != 1
        or faces[0][0] != "data"
        or faces[0][1][1:] != [3, resolution, resolution]
        or needed - set(props)
    ):
        raise ValueError(
            f"{path}: takes {str(faces)[:200]} of a trunk {props.get('trunk_fingerprint', 'not named')[:12]}, "
            f"expected data [N, 3, {resolution}, {resolution}] of a trunk named in the metadata; "
            "write it with `btnet export-onnx` from the folder with trunk and branches"
        )
    return props


def _embedding_size(folder: Path, session: Any) -> int:
    shapes = [output.shape for output in session.get_outputs()]
    if len(shapes) != 1 or len(shapes[0]) != 2 or not isinstance(shapes[0][1], int):
        raise ValueError(
            f"{folder}: gives {str(shapes)[:200]}, expected embeddings [N, D]; export the files again"
        )
    return shapes[0][1]
