"""A bundle of `btnet.interop.onnx_bundle`, checked and opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from btnet.files.digest import sha256
from btnet.inference.onnx_session import open_session
from btnet.model.manifest import NAME, read_manifest

__all__ = ["OnnxBundle", "leads_bundle"]


def leads_bundle(folder: Path) -> bool:
    """Whether the folder's manifest is that of a bundle; False if it has none.

    Raises:
        ValueError: if the manifest is damaged.
    """
    return (folder / NAME).is_file() and "onnx" in read_manifest(folder)


@dataclass(frozen=True)
class OnnxBundle:
    """A folder of `export_bundle`.

    Attributes:
        folder: where it lies.
        networks: ONNX file by resolution in px, the canonical size first.
        num_bytes: size of every file by name, the manifest left out.
        trunk_fingerprint: of the trunk all networks share, see `btnet.model.overlay.fingerprint`.
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
        section = manifest.get("onnx")
        if not isinstance(section, dict) or not {"networks", "files"} <= set(section):
            raise ValueError(
                f"{folder / NAME}: leads no ONNX bundle; write one with `btnet export-onnx --bundle`"
            )
        networks = {int(size): folder / entry["file"] for size, entry in section["networks"].items()}
        for path in (folder / name for name in section["files"]):
            if not path.is_file():
                raise FileNotFoundError(f"{path}: missing from the bundle; copy the whole folder")
        for size, path in networks.items():
            _check_trunk(path, size, manifest["trunk_fingerprint"])
        for name, entry in section["files"].items():
            path = folder / name
            if path.stat().st_size != entry["bytes"] or sha256(path) != entry["sha256"]:
                raise ValueError(
                    f"{path}: is not the file {NAME} describes, it is damaged or of another bundle; copy the "
                    "whole folder again"
                )
        return cls(
            folder=folder,
            networks=networks,
            num_bytes={name: int(entry["bytes"]) for name, entry in section["files"].items()},
            trunk_fingerprint=str(manifest["trunk_fingerprint"]),
            interpolation=str(manifest["interpolation"]),
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
