"""A kind of file that is read from outside: seeds of our own making, its reader, and what an answer may be."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from fuzzing.mutators import Mutator, damage

ERRORS: Final = (ValueError, FileNotFoundError, NotADirectoryError)
"""What a reader may raise: one clear error."""

_LONGEST_MESSAGE = 1500
_SIGNS_OF_MEMORY = ("bad_alloc", "allocate", "out of memory", "insufficient memory", "failed to alloc")


class WrongAnswerError(AssertionError):
    """A reader gave an answer that its format gave it the means to refuse."""


@dataclass(frozen=True)
class Change:
    """What a case does: one file of a seed with other contents."""

    seed: str
    file: str
    before: bytes
    after: bytes


def refuse_other(original: Any, found: Any, change: Change) -> None:
    """Judge of formats with a checksum: nothing but the original may be read.

    Raises:
        WrongAnswerError: always.
    """
    raise WrongAnswerError(f"{change.file} of {change.seed} was changed and read as {str(found)[:200]}")


@dataclass(frozen=True)
class Target:
    """One reader under test.

    Attributes:
        name: in the table.
        make: writes seeds into a folder, each a folder of its own; the same ones whenever it is called.
        read: reads a seed; the answer is compared by `==`, so it is made of plain values.
        files: which files of a seed are changed, as patterns.
        limit: what a reader of this format cannot notice, for the table; empty where it must notice everything.
        judge: called as (original, found, change) for an answer other than the original; raises WrongAnswerError where
            the format gives the means to notice. `original` is None for a seed that is refused as it is.
        mutators: one is drawn for each case.
        names: what every error must name; empty for the seed's folder.
        memory_mib: what one case may take beyond what the process holds before.
    """

    name: str
    make: Callable[[Path], None]
    read: Callable[[Path], Any]
    files: tuple[str, ...] = ("*",)
    limit: str = ""
    judge: Callable[[Any, Any, Change], None] = refuse_other
    mutators: tuple[Mutator, ...] = (damage,)
    names: str = ""
    memory_mib: int = 256


@dataclass
class Seeds:
    """The seeds of a target as they lie in a folder, and what they read as."""

    target: Target
    folder: Path
    contents: dict[tuple[str, str], bytes] = field(default_factory=dict)
    originals: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, target: Target, folder: Path) -> Seeds:
        """Read all seeds undamaged."""
        seeds = cls(target, folder)
        for seed in sorted(path for path in folder.iterdir() if path.is_dir()):
            for pattern in target.files:
                for path in sorted(seed.glob(pattern)):
                    if path.is_file():
                        seeds.contents[seed.name, path.name] = path.read_bytes()
            try:
                seeds.originals[seed.name] = target.read(seed)
            except Exception:  # a seed made to do harm; the cases of it are judged one by one
                seeds.originals[seed.name] = None
        if all(original is None for original in seeds.originals.values()):
            raise RuntimeError(f"{target.name}: no seed reads, the reader refuses what it should take")
        return seeds

    def change(self, number: int) -> Change:
        """The case of this number."""
        chance = Random(f"{self.target.name} {number}")
        # Half of the cases from seeds that read, however many of the others there are.
        benign = chance.randrange(2) == 0
        choice = [
            item for item in self.contents.items() if not benign or self.originals[item[0][0]] is not None
        ]
        (seed, file), before = chance.choice(choice)
        after = before
        while after == before:
            after = chance.choice(self.target.mutators)(before, chance)
        return Change(seed, file, before, after)


def judge_error(target: Target, folder: Path, error: BaseException) -> tuple[str, str]:
    """Outcome and detail of a reader that raised."""
    chain = list(_chain(error))
    text = str(error)
    detail = f"{type(error).__name__}: {text[:400]}"
    for link in chain:
        if isinstance(link, MemoryError) or any(sign in str(link).lower() for sign in _SIGNS_OF_MEMORY):
            return "memory", f"{detail} (from {link!r:.200})"
    if not isinstance(error, ERRORS):
        return "other error", detail
    if (target.names or str(folder)) not in text or len(text) > _LONGEST_MESSAGE:
        return "other error", f"unclear: {detail}"
    return "clear error", ""


def _chain(error: BaseException | None) -> Iterable[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def plain(value: Any) -> Any:
    """Arrays and tensors as bytes with type and shape, so that answers compare by `==`, NaN included."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(plain(item) for item in value)
    if hasattr(value, "detach"):
        value = value.detach().numpy()
    if hasattr(value, "tobytes"):
        return str(value.dtype), tuple(value.shape), value.tobytes()
    return value if isinstance(value, (bytes, str, int, type(None))) else json.dumps(value)
