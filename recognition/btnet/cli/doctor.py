"""Check the installation: packages, the machine, and whether a stored embedding is reproduced."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from btnet import __version__
from btnet.cli import options
from btnet.console import show
from btnet.doctor.checks import Finding, installed_packages, machine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet doctor`."""
    parser.add_argument("--no-self-test", action="store_true", help="skip the embedding, the longest part")
    options.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print a line for each finding; 1 if something is wrong."""
    found = []
    if not args.json:
        show(f"btnet {__version__}")
    for finding in _findings(self_test=not args.no_self_test):
        found.append(finding)
        if not args.json:
            show(finding)
    num_wrong = sum(finding.is_wrong for finding in found)
    if args.json:
        options.print_json({"btnet": __version__, "findings": [asdict(each) for each in found]})
    else:
        show(f"{num_wrong} wrong" if num_wrong else "nothing wrong")
    return int(num_wrong > 0)


def _findings(*, self_test: bool) -> Iterator[Finding]:
    for title, look in (("packages", installed_packages), ("machine", machine), ("self-test", _selftest)):
        if look is _selftest and not self_test:
            continue
        try:
            yield from look()
        except Exception as error:  # a doctor's patient may be broken in any way: name it, and look further
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            yield Finding(title, f"stopped by {reason}", "put right what is said above, then try again")


def _selftest() -> Iterable[Finding]:
    from btnet.doctor.selftest import selftest

    return selftest()
