"""Face images by the name a list gives them: a file below a root, or a member of a zip archive there."""

import os
import zipfile
from collections.abc import Iterable
from pathlib import Path

from btnet.files.text import Line, is_utf8, plain_name

__all__ = ["FaceFiles", "stored_name"]

_UTF8_NAMES = 0x800  # flag of a member whose name is stored in UTF-8
_ZIPS_OWN = "cp437"  # what zipfile takes for the encoding of other names


class FaceFiles:
    """Reads `archive/identity/image.jpg` from ROOT/archive/identity/image.jpg or from ROOT/archive.zip.

    A name may be written in another normal form, or another encoding, than on disk: the same letters are the same
    name. A context manager: archives stay open until it ends.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        """Read names relative to `root`; NotADirectoryError if there is no such folder."""
        self.root = Path(root)
        if not self.root.is_dir():
            raise NotADirectoryError(f"{self.root}: not a folder; give the one that the names start from")
        self._archives: dict[Path, zipfile.ZipFile] = {}
        self._members: dict[Path, dict[str, zipfile.ZipInfo]] = {}
        self._listings: dict[Path, dict[str, list[str]]] = {}

    def find(self, name: str) -> str | None:
        """The name under which an image is stored, or None.

        Raises:
            ValueError: if two are stored that differ in normal form or encoding only.
        """
        if os.path.isfile(self.root / name):
            return name
        folder, _, member = name.partition("/")
        archive = self._step(self.root, f"{folder}.zip")
        if archive is not None and (found := self._step(self.root / archive, member)) is not None:
            return f"{archive.removesuffix('.zip')}/{found}"
        place = ""
        for part in name.split("/"):
            step = self._step(self.root / place, part)
            if step is None:
                return None
            place = f"{place}/{step}" if place else step
        return place if os.path.isfile(self.root / place) else None

    def read(self, name: str, where: str) -> bytes:
        """The bytes of one image; FileNotFoundError names `where` it is listed and both places that were looked at."""
        stored = self.find(name)
        folder, _, member = (stored or name).partition("/")
        if stored is None:
            raise FileNotFoundError(
                f"{where}: {name!r} is neither a file {self.root / name} nor a member {member!r} of "
                f"{self.root / folder}.zip; check the folder and the list"
            )
        if os.path.isfile(self.root / stored):
            return (self.root / stored).read_bytes()
        archive = self.root / f"{folder}.zip"
        return self._archives[archive].read(self._members[archive][member])

    def _step(self, place: Path, name: str) -> str | None:
        """The stored form of a name in a folder or an archive."""
        if place not in self._listings:
            listing = self._listings.setdefault(place, {})
            for stored in self._list(place):
                listing.setdefault(plain_name(stored), []).append(stored)
        found = self._listings[place].get(plain_name(name), [])
        if name in found:
            return name
        if len(found) > 1:
            raise ValueError(
                f"{place}: holds {found[0]!a} and {found[1]!a}, one name in two encodings; rename one of them"
            )
        return found[0] if found else None

    def _list(self, place: Path) -> Iterable[str]:
        if place.suffix == ".zip" and place.is_file():
            archive = self._archives[place] = zipfile.ZipFile(place)
            self._members[place] = {_member_name(member): member for member in archive.infolist()}
            return self._members[place]
        return os.listdir(place) if place.is_dir() else ()

    def __enter__(self) -> "FaceFiles":
        return self

    def __exit__(self, *exception: object) -> None:
        for archive in self._archives.values():
            archive.close()
        for known in (self._archives, self._members, self._listings):
            known.clear()


def _member_name(member: zipfile.ZipInfo) -> str:
    """The name of a member, whose bytes many tools store in UTF-8 without saying so."""
    if member.flag_bits & _UTF8_NAMES:
        return member.filename
    return os.fsdecode(member.filename.encode(_ZIPS_OWN, "surrogateescape"))


def stored_name(files: FaceFiles | None, name: str, line: Line) -> str:
    """The name under which a list's image is stored, else the name itself.

    Raises:
        ValueError: for a name that is not stored and not in UTF-8: its letters cannot be told.
    """
    found = None if files is None else files.find(name)
    if found is None and not is_utf8(name):
        raise line.error("names in utf-8, or of files that are there; save the list in it")
    return found or name
