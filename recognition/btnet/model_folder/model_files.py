"""The files of a model folder: the manifest lists what belongs to the model, by size and digest.

A listed file that is not the one written with the manifest is refused. Folders of early versions list nothing; there
the fingerprints of trunk and network decide.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Final

from btnet.files.atomic import refuse_existing, replacing_together
from btnet.files.digest import entry_of, is_entry
from btnet.model_folder.manifest import NAME, put_manifest, read_manifest

MODEL: Final = "model.pt"
"""The trunk's file in the folder of a run."""
RESULTS: Final = "results"
"""Where a run folder has what training measured."""


def overlay_file(resolution: int | str) -> str:
    """Name of a branch's file in the folder of a run; "*" for those of all."""
    return f"overlay_r{resolution}.safetensors"


@contextmanager
def model_draft(folder: Path) -> Iterator[Path]:
    """A folder to write a model to, manifest included; behind the block it replaces the model in `folder` as a whole.

    The manifest then lists all files of the draft. Branches and results that only the former model had are removed;
    other files stay, and are no longer listed.

    Raises:
        ValueError: if an ONNX bundle lies in `folder`.
    """
    former = _found(folder)
    if "onnx" in former:
        raise ValueError(f"{folder}: holds an ONNX bundle, which a model would replace; take another folder")
    with replacing_together(folder, NAME) as draft:
        yield draft
        record_files(draft, (path for path in draft.rglob("*") if path.is_file()))
        kept = read_manifest(draft)["files"]
    branches = {overlay_file(resolution) for resolution in former.get("resolutions", ())}
    results = {
        name for name in former.get("files", {}) if PurePosixPath(name).parent == PurePosixPath(RESULTS)
    }
    for name in (branches | results).difference(kept):
        (folder / name).unlink(missing_ok=True)


def record_files(folder: Path, paths: Iterable[Path]) -> None:
    """Add files below a model's folder to its manifest's list, or what they are now."""
    manifest = read_manifest(folder)
    listed = {_name(folder, path): entry_of(path) for path in sorted(paths) if path != folder / NAME}
    put_manifest(folder, {**manifest, "files": {**manifest.get("files", {}), **listed}})


def is_listed(folder: Path, path: Path) -> bool:
    """Whether a file belongs to the model of a folder; False as well where there is no manifest.

    Raises:
        ValueError: if the manifest lists another file of this name, or is damaged.
        FileNotFoundError: if it lists the file, which is not there.
    """
    manifest = read_manifest(folder) if (folder / NAME).is_file() else {}
    entry = manifest.get("files", {}).get(_name(folder, path))
    if entry is None:
        return False
    if not path.is_file():
        raise FileNotFoundError(f"{path}: {NAME} lists it, and it is not there; copy the whole folder again")
    if not is_entry(path, entry):
        raise ValueError(
            f"{path}: not the file that {NAME} lists, damaged or of another model; copy or write it again"
        )
    return True


def warn_of_orphans(folder: Path, resolutions: Iterable[int]) -> None:
    """Warn of overlays in a folder whose model does not have these branches."""
    known = {folder / overlay_file(resolution) for resolution in resolutions}
    for path in sorted(set(folder.glob(overlay_file("*"))) - known):
        warnings.warn(
            f"{path}: no branch of the model that {NAME} describes, left out; remove it", stacklevel=3
        )


def refuse_model(folder: Path, *, overwrite: bool, option: str = "--overwrite") -> None:
    """Refuse to write a model over another, see `btnet.files.atomic.refuse_existing`."""
    refuse_existing(folder / NAME, folder / MODEL, overwrite=overwrite, option=option)


def _found(folder: Path) -> dict[str, Any]:
    """The manifest that a new one will replace; empty where none can be read."""
    try:
        return read_manifest(folder)
    except (ValueError, FileNotFoundError):
        return {}


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()
