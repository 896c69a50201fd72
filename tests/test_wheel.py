"""The wheels outside the repository, beside the environment's packages; `make wheel-test` makes fresh environments."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
SMALL = [
    "rec=synthetic:2:2", "batch_size=2", "num_epoch=1", "warmup_epoch=0", "num_workers=0", "device=cpu",
    "network_args={'blocks': [1, 1, 1, 1], 'widths': [16, 16, 16, 16]}", "embedding_size=8",
]  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy: building leaves files beside the sources."""
    pytest.importorskip("setuptools", minversion="70.1", reason="older ones need the package wheel")
    copy = tmp_path_factory.mktemp("source")
    for name in ("recognition", "configs", "lab"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    return build(source)


def build(source: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    run([*pip, "--wheel-dir", str(source / "dist"), str(source)], source)
    [built] = (source / "dist").glob("*.whl")
    return built


def run(command: list[str], folder: Path, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def held(wheel: Path) -> set[str]:
    with ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def files_of(package: Path) -> set[str]:
    files = (path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {path.relative_to(package.parent).as_posix() for path in files}


def test_the_wheel_holds_the_product_its_data_and_the_configs_and_nothing_else(wheel: Path) -> None:
    configs = {f"btnet/configs/{path.name}" for path in (ROOT / "configs").glob("*.py")}
    assert held(wheel) == files_of(ROOT / "recognition/btnet") | configs


def test_the_laboratory_has_a_wheel_of_its_own(source: Path) -> None:
    assert held(build(source / "lab")) == files_of(ROOT / "lab/btnet_lab")


@pytest.mark.nightly
def test_the_wheel_trains_outside_the_repository(wheel: Path, tmp_path: Path) -> None:
    site, folder = tmp_path / "site", tmp_path / "elsewhere"
    folder.mkdir()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    run(pip, folder)
    settings = [word for text in SMALL for word in ("--set", text)]
    command = ["-c", "import sys, btnet.cli; print(btnet.__file__); sys.exit(btnet.cli.main())"]
    out = run([sys.executable, *command, "train", "configs/demo_hr", *settings], folder, PYTHONPATH=str(site))
    assert out.startswith(str(site))
    assert (folder / "runs/demo_hr/model.pt").is_file()
