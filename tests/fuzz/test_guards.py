"""docs/SECURITY.md, kept true: which readers exist, and that no other does."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator
from pathlib import Path

from btnet.cli import demo_page

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "recognition" / "btnet"
SOURCES = sorted(
    path for name in ("recognition", "tools", "eval", "benchmarks") for path in (ROOT / name).rglob("*.py")
)


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Dotted names of what a file calls, and the calls."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{name.name}" for name in node.names)


def users(*modules: str) -> set[str]:
    """Files of the package and its doors that import one of these."""
    return {
        str(path.relative_to(ROOT))
        for path in SOURCES
        for name in imports(path)
        if any(name == module or name.startswith(f"{module}.") for module in modules)
    }


def test_pickles_are_read_by_the_restricted_reader_alone() -> None:
    assert users("pickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve") == {
        "recognition/btnet/files/safe_pickle.py",
        "recognition/btnet/data/bin_sets.py",
    }
    found = {name for name, _ in calls(PACKAGE / "data/bin_sets.py") if name.startswith("pickle.")}
    assert found == {"pickle.dump"}
    assert not users("yaml", "scipy.io", "h5py", "pandas")


def test_torch_reads_weights_only_and_in_one_place() -> None:
    files = set()
    for path in SOURCES:
        for name, call in calls(path):
            if name in ("torch.load", "torch.jit.load", "torch.hub.load"):
                files.add(path)
                assert name == "torch.load", path
                given = {each.arg: ast.unparse(each.value) for each in call.keywords}
                assert given.get("weights_only") == "True", f"{path}:{call.lineno}"
    assert {path for path in files if PACKAGE in path.parents} == {PACKAGE / "backbones/weights_file.py"}


def test_numpy_reads_no_pickle() -> None:
    for path in SOURCES:
        for name, call in calls(path):
            given = {each.arg: ast.unparse(each.value) for each in call.keywords}
            assert given.get("allow_pickle", "False") == "False", f"{path}:{call.lineno} {name}"


def test_nothing_is_evaluated_but_the_users_own_config_files() -> None:
    runners = {"eval", "exec", "compile", "__import__", "runpy.run_path", "os.system"}
    found = {
        (str(path.relative_to(PACKAGE)), name) for path in PACKAGE.rglob("*.py") for name, _ in calls(path)
    }
    assert {item for item in found if item[1] in runners} == {("training/config_file.py", "runpy.run_path")}
    shells = [
        call for path in SOURCES for _, call in calls(path) for each in call.keywords if each.arg == "shell"
    ]
    assert not shells


def test_images_are_decoded_in_one_place_behind_one_check() -> None:
    decoders = ("cv2.imdecode", "cv2.imread", "Image.open", "simplejpeg.decode_jpeg")
    found = {path for path in PACKAGE.rglob("*.py") for name, _ in calls(path) if name in decoders}
    assert found == {PACKAGE / "images/codec.py"}


def test_trusted_checkpoints_are_read_by_the_resuming_run_alone_and_say_so() -> None:
    resuming, reader = (
        f"recognition/btnet/training/{name}.py" for name in ("checkpoint", "checkpoint_reader")
    )
    assert users("torch.distributed.checkpoint") == {resuming, reader}
    assert users("btnet.training.checkpoint_reader") == {resuming}
    text = (PACKAGE / "training/checkpoint.py").read_text(encoding="utf-8")
    assert "Our own state: trusted, and never exchanged." in text
    assert "`checkpoints/`" in (ROOT / "docs/SECURITY.md").read_text(encoding="utf-8")


def test_the_page_is_served_to_this_computer_unless_told_otherwise() -> None:
    parser = argparse.ArgumentParser()
    demo_page.add_arguments(parser)
    assert parser.parse_args(["--model", "x"]).host == "127.0.0.1"


def test_every_reader_the_page_names_is_there() -> None:
    words = (ROOT / "docs/SECURITY.md").read_text(encoding="utf-8").split("`")
    named = {word for word in words if word.endswith(".py") and "/" in word and not word.startswith("tests/")}
    assert len(named) > 10
    assert not [name for name in named if not (PACKAGE / name).is_file()]
