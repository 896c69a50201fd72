"""Build the wheels, install them into fresh environments, and use them outside the repository.

First btnet alone, which trains and serves with torch; then btnet[onnx] exports; then the laboratory's wheel.

    python tools/smoke_wheel.py                                     every Python of 3.10 to 3.13 found here
    python tools/smoke_wheel.py --python 3.11 --numpy 1.23.5        one environment, with this numpy
    python tools/smoke_wheel.py --torch 2.7.0 --cuda-builds         another torch, whatever it brings

Of a torch whose build for this Python is a CUDA one, gigabytes large, it is only asked whether pip finds versions that
go together; --cuda-builds installs it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
TWO_STEPS = (
    "rec=synthetic:4:4", "batch_size=8", "num_epoch=1", "warmup_epoch=0", "num_workers=0",
    "network_args={'blocks': [1, 1, 1, 1], 'widths': [16, 16, 16, 16]}", "embedding_size=16", "device=cpu",
)  # fmt: skip
FACES = """
import numpy, os
from btnet.images.codec import encode_png
from btnet.images.resize import resize
from btnet.synthetic.faces import SyntheticFaces
os.mkdir("faces")
for i, (face, _) in enumerate(SyntheticFaces(2, 1)):
    open(f"faces/{i}.png", "wb").write(encode_png(face if i else resize(face, 14)))
"""


@dataclass(frozen=True)
class Row:
    """One line of the table: what was installed, and how it went."""

    python: str
    numpy: str
    torch: str
    result: str

    def __str__(self) -> str:
        return f"| {self.python} | {self.numpy} | {self.torch} | {self.result} |"


def main() -> int:
    """Print a line of a table for each Python; 1 if one failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--python", nargs="+", default=PYTHONS, metavar="3.X", help="default: all that are found"
    )
    parser.add_argument("--numpy", default="", help="this version; default: the newest that fits")
    parser.add_argument("--torch", default="2.13.0", help="this version (default: %(default)s)")
    parser.add_argument(
        "--cuda-builds", action="store_true", help="install gigabytes where there is no CPU build"
    )
    args = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        wheel, lab = build(Path(folder))
        print("| Python | numpy | torch | result |\n|---|---|---|---|", flush=True)
        for version in args.python:
            python = find_python(version)
            if python is None:
                row = Row(version, "", "", "no such Python here")
            else:
                row = try_one(python, wheel, lab, Path(folder, version), args)
            failed |= row.result.startswith("FAILED")
            print(row, flush=True)
    return int(failed)


def find_python(version: str) -> str | None:
    """Path of an interpreter of this version: of pyenv, or on the path."""
    pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    return str(pyenv[-1]) if pyenv else shutil.which(f"python{version}")


def build(folder: Path) -> tuple[Path, Path]:
    """Build sdist and wheel of a copy of the repository, the wheel from the sdist, and the laboratory's wheel."""
    tracked = _run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"], folder
    )
    source = folder / "source"
    for name in filter(None, tracked.split("\0")):
        if not name.startswith(".venv") and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name)
    _run([sys.executable, "-m", "venv", "builder"], folder)
    builder = str(folder / "builder/bin/python")
    _run([builder, "-m", "pip", "install", "--quiet", "build"], folder)
    _run([builder, "-m", "build", "--outdir", str(folder / "dist"), str(source)], folder)
    [wheel] = (folder / "dist").glob("*.whl")
    _run(
        [builder, "-m", "build", "--wheel", "--outdir", str(folder / "dist-lab"), str(source / "lab")], folder
    )
    [lab] = (folder / "dist-lab").glob("*.whl")
    return wheel, lab


def try_one(python: str, wheel: Path, lab: Path, folder: Path, args: argparse.Namespace) -> Row:
    """Install the wheels into a fresh environment in `folder`, which goes afterwards, and use them."""
    folder.mkdir()
    full = _run([python, "-c", "import platform; print(platform.python_version())"], folder).strip()
    shown = Row(full, args.numpy, args.torch, "")
    try:
        _run([python, "-m", "venv", "env"], folder)
        inside = str(folder / "env/bin/python")
        pip = [inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "--upgrade", "pip"], folder)
        pinned = [f"torch=={args.torch}", *([f"numpy=={args.numpy}"] if args.numpy else [])]
        wanted = [str(wheel), *pinned]
        report = json.loads(_run([*pip, "--dry-run", "--report", "-", *wanted], folder))
        found = {item["metadata"]["name"].lower(): item["metadata"]["version"] for item in report["install"]}
        shown = Row(full, found["numpy"], found["torch"], "")
        if any(name.startswith("nvidia") for name in found) and not args.cuda_builds:
            return Row(shown.python, shown.numpy, shown.torch, f"resolves ({len(found)} packages); not run")
        _run([*pip, *wanted], folder)
        versions = "import numpy, torch; print(numpy.__version__, torch.__version__)"
        numpy, torch = _run([inside, "-c", versions], folder).split()
        shown = Row(full, numpy, torch, "")
        elsewhere = folder / "elsewhere"
        use(inside, elsewhere)
        _run([*pip, f"{wheel}[onnx]", *pinned], folder)
        export(inside, elsewhere)
        _run([*pip, str(lab), f"{wheel}[onnx,plots]", *pinned], folder)
        _run([str(Path(inside).with_name("btnet-lab")), "analyse", "--help"], elsewhere)
        return Row(shown.python, shown.numpy, shown.torch, "passed")
    except subprocess.CalledProcessError as error:
        print(error.stdout, error.stderr, sep="\n", file=sys.stderr)
        last = (error.stderr.strip() or error.stdout.strip() or "no output").splitlines()[-1]
        what = " ".join(str(part) for part in error.cmd[1:5])
        return Row(shown.python, shown.numpy, shown.torch, f"FAILED: `{what}`: {last[:200]}")
    finally:
        shutil.rmtree(folder)


def use(python: str, folder: Path) -> None:
    """Train a trunk and a branch for two steps and embed, in a new folder outside the repository.

    Raises:
        subprocess.CalledProcessError: from the first command that fails.
    """
    folder.mkdir()
    btnet = [str(Path(python).with_name("btnet"))]  # as a user calls it
    settings = [word for text in TWO_STEPS for word in ("--set", text)]
    branch = [word for text in (*TWO_STEPS[:5], TWO_STEPS[-1]) for word in ("--set", text)]
    _run([*btnet, "--version"], folder)
    _run([*btnet, "doctor"], folder)
    _run([*btnet, "train", "configs/demo_hr", *settings], folder)
    _run([*btnet, "train", "configs/demo_btnet_r14", *branch, "--set", "trunk=runs/demo_hr"], folder)
    _run([python, "-c", FACES], folder)
    _run([*btnet, "embed", "faces", "--model", "runs/demo_btnet_r14", "-o", "faces.npz"], folder)


def export(python: str, folder: Path) -> None:
    """Export what `use` trained, and embed by onnxruntime.

    Raises:
        subprocess.CalledProcessError: from the first command that fails.
    """
    btnet = str(Path(python).with_name("btnet"))
    model = "runs/demo_btnet_r14"
    _run([btnet, "export-onnx", model], folder)
    embed = [btnet, "embed", "faces", "--model", model, "--backend", "onnxruntime", "-o", "onnx.npz"]
    _run(embed, folder)


def _run(command: list[str], folder: Path) -> str:
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
