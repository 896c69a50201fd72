"""Packages that only some users need, and the extras of `pip install 'btnet[...]'` that bring them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

__all__ = ["EXTRAS", "MissingExtraError", "extra"]

EXTRAS: Final[Mapping[str, str]] = {
    "onnx": "ONNX",
    "insightface": "a detector of insightface",
    "detect": "face detection",
    "plots": "plotting",
    "hub": "the Hugging Face Hub",
    "remote": "remote storage",
}
"""What each extra is for; its packages stand in pyproject.toml."""


class MissingExtraError(ModuleNotFoundError):
    """A package that an extra of btnet brings is not installed."""


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Around imports of an extra's packages: one that is missing is answered with the command that installs it.

    Args:
        name: one of `EXTRAS`.

    Raises:
        MissingExtraError: in place of ModuleNotFoundError, also where that caused another ImportError.
    """
    try:
        yield
    except ImportError as error:
        missing = error if isinstance(error, ModuleNotFoundError) else error.__cause__
        if not isinstance(missing, ModuleNotFoundError) or isinstance(missing, MissingExtraError):
            raise
        package = (missing.name or "a package").partition(".")[0]
        raise MissingExtraError(
            f"{EXTRAS[name]} needs {package}: pip install 'btnet[{name}]'", name=missing.name
        ) from error
