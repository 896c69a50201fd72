"""Models on the Hugging Face Hub, through `huggingface_hub`: fetched into its cache, published with their card."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from btnet.files.atomic import refuse_existing, replacing_together
from btnet.model_folder.manifest import NAME, read_manifest
from btnet.optional import MissingExtraError, extra

__all__ = ["local_folder", "push_folder", "save_folder"]

_HUB_NAME: Final = re.compile(r"[\w.-]+/[\w.-]+")


def local_folder(name: str | Path) -> Path:
    """Where a model lies: a path that is there, else the Hub's `org/name`, fetched if the cache lacks it.

    Raises:
        FileNotFoundError: if it is neither.
        MissingExtraError: for a name of the Hub's form where `huggingface_hub` is not installed.
    """
    path = Path(name)
    if path.exists() or not _HUB_NAME.fullmatch(str(name)):
        return path  # whoever reads it says what is wrong with it
    try:
        with extra("hub"):
            from huggingface_hub import snapshot_download
    except MissingExtraError as error:
        raise MissingExtraError(
            f"{name}: no such folder; as a name of the Hub: {error}", name=error.name
        ) from error
    try:
        return Path(snapshot_download(str(name)))
    except (OSError, ValueError) as error:  # the library's errors, offline ones too, are of these kinds
        reason = str(error).strip().splitlines()[0]
        raise FileNotFoundError(
            f"{name}: no such folder here, and not fetched from the Hub: {reason}"
        ) from error


def package_files(folder: Path | None) -> list[Path]:
    """The manifest and all files that it lists.

    Raises:
        ValueError, FileNotFoundError: as `read_manifest`; or if it lists none, as those of early versions do.
    """
    if folder is None or not folder.is_dir():
        raise ValueError("this model was not loaded from a folder; save it with BTNet.save first")
    listed = read_manifest(folder).get("files")
    if not listed:
        raise ValueError(f"{folder}: its {NAME} lists no files; write the model again with this version")
    return [folder / NAME, *(folder / name for name in sorted(listed))]


def save_folder(folder: Path | None, output: Path, *, overwrite: bool) -> None:
    """Copy a model's listed files, whole or not at all.

    Raises:
        FileExistsError: if `output` is there and may not be replaced.
        ValueError, FileNotFoundError: as `package_files`.
    """
    refuse_existing(output, overwrite=overwrite)
    manifest, *others = package_files(folder)
    with replacing_together(output, NAME) as draft:
        for file in (manifest, *others):
            target = draft / file.relative_to(manifest.parent)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())


def push_folder(folder: Path | None, repo: str, *, private: bool = True) -> str:
    """Upload a model's listed files; returns the commit's address.

    Raises:
        MissingExtraError: without `huggingface_hub`.
        ValueError, FileNotFoundError: as `package_files`; OSError for what the Hub refuses.
    """
    with extra("hub"):
        from huggingface_hub import HfApi

    manifest, *others = package_files(folder)
    names = [file.relative_to(manifest.parent).as_posix() for file in (manifest, *others)]
    api = HfApi()
    api.create_repo(repo, private=private, exist_ok=True)
    return str(api.upload_folder(repo_id=repo, folder_path=manifest.parent, allow_patterns=names).commit_url)
