"""Face images by the name a list gives them: a file below a root, or a member of a zip archive there."""

import os
import zipfile
from pathlib import Path

__all__ = ["FaceFiles"]


class FaceFiles:
    """Reads `archive/identity/image.jpg` from ROOT/archive/identity/image.jpg or from ROOT/archive.zip.

    A context manager: archives stay open until it ends.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        """Read names relative to `root`.

        Raises:
            NotADirectoryError: if there is no such folder.
        """
        self.root = Path(root)
        if not self.root.is_dir():
            raise NotADirectoryError(f"{self.root}: not a folder; --root is the folder the names start from")
        self._archives: dict[str, zipfile.ZipFile | None] = {}

    def read(self, name: str, where: str) -> bytes:
        """The bytes of one image.

        Args:
            name: path below the root, separated by slashes.
            where: who asks for it (list file and line), for the error text.

        Raises:
            FileNotFoundError: naming both places that were looked at.
        """
        path = self.root / name
        if path.is_file():
            return path.read_bytes()
        folder, _, member = name.partition("/")
        archive = self._archive(folder)
        if archive is not None:
            try:
                return archive.read(member)
            except KeyError:
                pass
        raise FileNotFoundError(
            f"{where}: {name!r} is neither a file {path} nor a member {member!r} of "
            f"{self.root / folder}.zip; check --root and the list"
        )

    def _archive(self, name: str) -> zipfile.ZipFile | None:
        if name not in self._archives:
            path = self.root / f"{name}.zip"
            self._archives[name] = zipfile.ZipFile(path) if path.is_file() else None
        return self._archives[name]

    def __enter__(self) -> "FaceFiles":
        return self

    def __exit__(self, *exception: object) -> None:
        for archive in self._archives.values():
            if archive is not None:
                archive.close()
        self._archives.clear()
