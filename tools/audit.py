"""Looks the locked packages up in a database of vulnerabilities: `make audit`, for those who keep this repository."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

_NOT_AUDITED = 3


def main(pip_audit: str, requirements: str) -> int:
    """Run pip-audit; 0 without findings, 1 with, 3 where packages could not be looked up."""
    # Only what is pinned: the last line installs this package itself.
    pinned = [line for line in Path(requirements).read_text(encoding="utf-8").splitlines() if "==" in line]
    command = [
        pip_audit,
        "--disable-pip",
        "--no-deps",
        "--format=json",
        "--progress-spinner=off",
        "-r",
        "/dev/stdin",
    ]
    ran = subprocess.run(command, input="\n".join(pinned), capture_output=True, text=True, timeout=600)
    try:
        packages = json.loads(ran.stdout)["dependencies"]
    except (ValueError, LookupError):
        print(
            f"audit: nothing was audited, pip-audit ended with: {ran.stderr.strip()[-500:]}", file=sys.stderr
        )
        return _NOT_AUDITED
    found = [(each["name"], flaw["id"]) for each in packages for flaw in each.get("vulns", [])]
    skipped = [each["name"] for each in packages if "skip_reason" in each]
    for name, flaw in found:
        print(f"audit: {name}: {flaw}")
    print(
        f"audit: {len(packages) - len(skipped)} of {len(packages)} packages looked up, {len(found)} findings"
    )
    if skipped:
        print(f"audit: not in the database that is reached from here: {', '.join(skipped)}", file=sys.stderr)
    return 1 if found else _NOT_AUDITED if skipped else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
