"""A bundle of `btnet.interop.onnx_bundle`, checked and opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from btnet.files.digest import is_entry
from btnet.model_folder.manifest import NAME, read_manifest
from btnet.serving.onnx_session import open_session

__all__ = ["OnnxBundle"]


@dataclass(frozen=True)
class OnnxBundle:
    """A folder of `export_bundle`.

    Attributes:
        folder: where it lies.
        networks: ONNX file by resolution in px, the canonical size first.
        num_bytes: size of every file by name, the manifest left out.
        trunk_fingerprint: of the trunk all networks share, see `btnet.backbones.state.fingerprint`.
        interpolation: how low-resolution faces are made.
    """

    folder: Path
    networks: dict[int, Path]
    num_bytes: dict[str, int]
    trunk_fingerprint: str
    interpolation: str

    @classmethod
    def load(cls, folder: str | Path) -> OnnxBundle:
        """Read the manifest and check every file against it.

        Raises:
            FileNotFoundError: if the manifest or a file is missing.
            ValueError: if the folder is no bundle, a file is damaged, or an ONNX file is of another trunk.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        try:
            section = manifest["onnx"]
            networks = {int(size): folder / entry["file"] for size, entry in section["networks"].items()}
            files = {
                name: {key: entry[key] for key in ("bytes", "sha256")}
                for name, entry in section["files"].items()
            }
            _check_names(networks, files)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{folder / NAME}: leads no ONNX bundle ({str(error)[:200]}); write one with "
                "`btnet export-onnx --bundle`"
            ) from error
        for path in (folder / name for name in files):
            if not path.is_file():
                raise FileNotFoundError(f"{path}: missing from the bundle; copy the whole folder")
        for size, path in networks.items():
            _check_trunk(path, size, manifest["trunk_fingerprint"])
        for name, entry in files.items():
            path = folder / name
            if not is_entry(path, entry):
                raise ValueError(
                    f"{path}: is not the file {NAME} describes, it is damaged or of another bundle; copy the "
                    "whole folder again"
                )
        return cls(
            folder=folder,
            networks=networks,
            num_bytes={name: entry["bytes"] for name, entry in files.items()},
            trunk_fingerprint=manifest["trunk_fingerprint"],
            interpolation=manifest["interpolation"],
        )

    def separate_bytes(self) -> int:
        """Size of the same networks as files that share nothing: each with all tensors it refers to."""
        return sum(
            path.stat().st_size
            + sum(
                int(entry.value)
                for tensor in onnx.load(path, load_external_data=False).graph.initializer
                for entry in tensor.external_data
                if entry.key == "length"
            )
            for path in self.networks.values()
        )

    def open(self, resolution: int) -> Any:
        """An onnxruntime session for one resolution, on the CPU.

        Raises:
            ValueError: if the bundle has no network for it.
        """
        if resolution not in self.networks:
            sizes = ", ".join(map(str, self.networks))
            raise ValueError(f"{self.folder}: no network for {resolution} px; the bundle has {sizes} px")
        return open_session(self.networks[resolution])


def _check_names(networks: Mapping[int, Path], files: Mapping[str, Any]) -> None:
    """Only files of the folder itself, and a checksum for each network."""
    outside = [name for name in files if Path(name).name != name]
    unknown = [path.name for path in networks.values() if path.name not in files]
    if outside or unknown or not networks:
        raise ValueError(f"{(outside + unknown)[:3]} of {len(networks)} networks are no files of the bundle")


def _check_trunk(path: Path, resolution: int, expected: str) -> None:
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's own errors
        raise ValueError(f"{path}: not a whole ONNX file ({error}); copy the bundle again") from error
    props = {entry.key: entry.value for entry in model.metadata_props}
    if props.get("trunk_fingerprint") != expected or props.get("resolution") != str(resolution):
        raise ValueError(
            f"{path}: is for {props.get('resolution')} px and trunk {props.get('trunk_fingerprint', '')[:12]}, the "
            f"bundle for {resolution} px and trunk {expected[:12]}; export the branch with its own trunk"
        )
