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

ROWS = (
    {"torch": "2.5.1", "numpy": "1.23.5", "scipy": "1.10.1", "mxnet": "1.9.1", "opencv-python": "4.9.0.80"},
    {"torch": "2.13.0", "numpy": "1.23.5", "scipy": "1.15.3", "mxnet": "1.9.1", "opencv-python": "4.11.0.86"},
    {"torch": "2.13.0", "numpy": "2.4.6", "scipy": "1.17.1", "opencv-python": "5.0.0.93"},
)
OTHERS = (
    "easydict", "hypothesis", "insightface>=2.1", "matplotlib", "onnx", "onnxruntime", "onnxscript", "packaging",
    "pillow", "ptflops", "pytest", "pytest-xdist", "rich", "safetensors", "scikit-image", "scikit-learn", "tensorboard",
)  # fmt: skip
REPOSITORY = Path(__file__).resolve().parents[1]


def main() -> None:
    """Print a table of the rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkout", type=Path, help="folder recognition/arcface_torch of a checkout")
    parser.add_argument("--folder", type=Path, required=True, help="where the environments are made")
    args = parser.parse_args()
    shown = ("torch", "numpy", "scipy", "mxnet")
    print(
        f"| {' | '.join(shown)} | hooks alone | after arcface-setup |\n|{'---|' * (len(shown) + 2)}",
        flush=True,
    )
    for row in ROWS:
        python = environment(args.folder / "-".join(row.values()), row)
        results = [outcome(python, args.checkout, hooks_alone=alone) for alone in (True, False)]
        print(f"| {' | '.join(row.get(name, '-') for name in shown)} | {' | '.join(results)} |", flush=True)


def environment(folder: Path, row: dict[str, str]) -> Path:
    """Its interpreter, with the row's versions and whatever the others resolve to."""
    python = folder / "bin" / "python"
    if not (folder / "ready").is_file():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        versions = [f"{name}=={version}" for name, version in row.items()]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *versions, *OTHERS], check=True)
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
