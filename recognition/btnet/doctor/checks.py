"""What is installed and what the machine offers, a line each; torch is imported late: it may be what is broken."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement

from btnet.optional import EXTRAS

__all__ = ["Finding", "installed_packages", "machine"]

NAME = "btnet"
COMPILERS = ("g++", "clang++")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True)
class Finding:
    """One line of `btnet doctor`.

    Attributes:
        what: what was looked at.
        found: what it is.
        remedy: what to do; empty if nothing is wrong.
    """

    what: str
    found: str
    remedy: str = ""

    @property
    def is_wrong(self) -> bool:
        """Whether something must be done."""
        return bool(self.remedy)

    def __str__(self) -> str:
        mark, end = ("WRONG", f": {self.remedy}") if self.is_wrong else ("ok", "")
        return f"{mark:5}  {self.what:20} {self.found}{end}"


def installed_packages(requirements: Iterable[str] | None = None) -> Iterator[Finding]:
    """Each required package, its version and its range.

    Args:
        requirements: as in pyproject.toml; None: those that the installed btnet states.
    """
    yield Finding("python", sys.version.split()[0])
    if requirements is None:
        try:
            requirements = metadata.requires(NAME) or ()
        except metadata.PackageNotFoundError:
            remedy = (
                "versions cannot be compared with the stated ranges; pip install btnet, or pip install -e ."
            )
            yield Finding(NAME, "not installed, found by the path", remedy)
            return
    for text in requirements:
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            yield Finding(text, "unreadable", f"{error}; install btnet again")
            continue
        marker = requirement.marker
        extras = [name for name in ("", *EXTRAS) if marker is None or marker.evaluate({"extra": name})]
        if extras:
            yield _installed(requirement, extras[0])


def _installed(requirement: Requirement, extra: str) -> Finding:
    name, stated = requirement.name, requirement.specifier
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        if extra:
            return Finding(name, f"not there: pip install 'btnet[{extra}]'")
        return Finding(name, "not installed", f"pip install '{name}{stated}'")
    if stated.contains(version, prereleases=True):
        return Finding(name, f"{version} ({stated})")
    return Finding(name, version, f"{stated} is needed: pip install '{name}{stated}'")


def machine() -> Iterator[Finding]:
    """What a run without further options would use, and what is there for those that ask for more."""
    import torch

    from btnet.training.distributed import distributed_context

    with distributed_context("", "auto") as context:
        device, precision = context.device, str(context.precision).removeprefix("torch.")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU that torch can use"
    yield Finding("device", f"{device} ({name})")
    yield Finding("precision auto", precision)
    said = os.environ.get("OMP_NUM_THREADS")
    reason = f"OMP_NUM_THREADS={said} says" if said else "torch chooses"
    yield Finding("threads", f"{torch.get_num_threads()} of {os.cpu_count() or 1} cores, as {reason}")
    yield _optional("compile=True", "on a CPU by {}", COMPILERS, "on a CPU not possible: neither {} is there")
    yield _optional("browser tests", "by {}", BROWSERS, "skipped: neither {} is there")


def _optional(what: str, there: str, programs: tuple[str, ...], absent: str) -> Finding:
    found = next(filter(None, map(shutil.which, programs)), None)
    return Finding(what, there.format(found) if found else absent.format(" nor ".join(programs)))
