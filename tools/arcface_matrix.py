"""Which versions arcface_torch runs with: its scripts with our hooks alone, and as `btnet arcface-setup` leaves them.

    python tools/arcface_matrix.py insightface/recognition/arcface_torch --folder ENVIRONMENTS

Makes an environment per row (some GB each, kept in the folder) and runs
tests/interop/test_arcface_checkout.py in it, twice. Prints the table of docs/insightface.md.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

# The lock file that a row starts from, and the versions in which it differs.
ROWS: tuple[tuple[str, dict[str, str]], ...] = (
    ("requirements-mxnet.txt", {"torch": "2.5.1", "scipy": "1.10.1"}),
    ("requirements-mxnet.txt", {}),
    ("requirements.txt", {}),
)
SHOWN = ("torch", "numpy", "scipy", "mxnet")
REPOSITORY = Path(__file__).resolve().parents[1]


def main() -> None:
    """Print a table of the rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkout", type=Path, help="folder recognition/arcface_torch of a checkout")
    parser.add_argument("--folder", type=Path, required=True, help="where the environments are made")
    args = parser.parse_args()
    print(
        f"| {' | '.join(SHOWN)} | hooks alone | after arcface-setup |\n|{'---|' * (len(SHOWN) + 2)}",
        flush=True,
    )
    for lock, others in ROWS:
        versions = locked(lock) | others
        name = "-".join(versions.get(package, "none") for package in SHOWN)
        python = environment(args.folder / name, versions)
        results = [outcome(python, args.checkout, hooks_alone=alone) for alone in (True, False)]
        print(
            f"| {' | '.join(versions.get(package, '-') for package in SHOWN)} | {' | '.join(results)} |",
            flush=True,
        )


def locked(name: str) -> dict[str, str]:
    """Versions by package of a lock file; of what it states for several Pythons, this one's."""
    found = re.findall(
        r"^([\w-]+)==([\w.]+)(?:; *python_version *(\S+) *\"([\d.]+)\")?",
        (REPOSITORY / name).read_text(),
        re.M,
    )
    newer = sys.version_info >= (3, 11)
    return {package: version for package, version, sign, _ in found if not sign or (sign == ">=") == newer}


def environment(folder: Path, versions: dict[str, str]) -> Path:
    """Its interpreter."""
    python = folder / "bin" / "python"
    if not (folder / "ready").is_file():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        packages = [f"{package}=={version}" for package, version in versions.items()]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", "-e", REPOSITORY], check=True)
        (folder / "ready").touch()
    return python


def outcome(python: Path, checkout: Path, *, hooks_alone: bool) -> str:
    """How many of the tests pass, and the first error of those that do not."""
    found = subprocess.run(
        [
            python,
            "-m",
            "pytest",
            "-o",
            "addopts=--import-mode=importlib",
            "tests/interop/test_arcface_checkout.py",
        ],
        cwd=REPOSITORY,
        env=os.environ
        | {"ARCFACE_TORCH": str(checkout.resolve()), "ARCFACE_HOOKS_ALONE": "1" if hooks_alone else ""},
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    last = found.rstrip().rpartition("\n")[2]
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|error)", last)}
    total, passed = sum(counts.values()), counts.get("passed", 0)
    errors = re.findall(r"^E +(?:\[rank0\]: *)?(\w*(?:Error|Exception)): (.*)", found, re.MULTILINE)
    reasons = dict.fromkeys(
        f"{kind}: {text}"[:100].replace("|", "/") for kind, text in errors if kind != "AssertionError"
    )
    return f"{passed} of {total}" + "".join(f"; `{reason}`" for reason in list(reasons)[:3])


if __name__ == "__main__":
    main()
