"""Say what is installed, what the machine offers, and whether a stored embedding comes out again."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator

from btnet import __version__
from btnet.console import show
from btnet.doctor.finding import Finding


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet doctor`."""
    parser.add_argument(
        "--no-self-test", action="store_true", help="leave out the embedding, the longest part"
    )


def run(args: argparse.Namespace) -> int:
    """Print a line for each finding.

    Returns:
        0, or 1 if something is wrong.
    """
    show(f"btnet {__version__}")
    num_wrong = 0
    for finding in _findings(self_test=not args.no_self_test):
        show(finding)
        num_wrong += finding.is_wrong
    show(f"{num_wrong} wrong" if num_wrong else "nothing wrong")
    return int(num_wrong > 0)


def _findings(*, self_test: bool) -> Iterator[Finding]:
    for title, look in (("packages", _packages), ("machine", _machine), ("self-test", _selftest)):
        if look is _selftest and not self_test:
            continue
        try:
            yield from look()
        except Exception as error:  # a doctor's patient may be broken in any way: name it, and look further
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            yield Finding(title, f"stopped by {reason}", "put right what is said above, then try again")


def _packages() -> Iterable[Finding]:
    from btnet.doctor.packages import installed_packages

    return installed_packages()


def _machine() -> Iterable[Finding]:
    from btnet.doctor.machine import machine

    return machine()


def _selftest() -> Iterable[Finding]:
    from btnet.doctor.selftest import selftest

    return selftest()
