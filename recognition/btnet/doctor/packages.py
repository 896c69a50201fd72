"""Installed packages against the ranges that the package states."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement

from btnet.doctor.finding import Finding
from btnet.optional import EXTRAS

NAME = "btnet"


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
        yield from _of(text)


def _of(text: str) -> Iterator[Finding]:
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        yield Finding(text, "unreadable", f"{error}; install btnet again")
        return
    marker = requirement.marker
    extras = [name for name in ("", *EXTRAS) if marker is None or marker.evaluate({"extra": name})]
    if not extras:
        return
    stated = f"{requirement.name}{requirement.specifier}"
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        if extras[0]:
            yield Finding(requirement.name, f"not there: pip install 'btnet[{extras[0]}]'")
            return
        yield Finding(requirement.name, "not installed", f"pip install '{stated}'")
        return
    fits = requirement.specifier.contains(version, prereleases=True)
    remedy = "" if fits else f"{requirement.specifier} is needed: pip install '{stated}'"
    yield Finding(requirement.name, f"{version} ({requirement.specifier})" if fits else version, remedy)
