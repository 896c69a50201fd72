from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
STRUCTURE: dict[str, Any] = runpy.run_path(str(ROOT / "tools" / "structure.py"))


def cycles(**modules: str) -> list[list[str]]:
    source = {f"recognition/p/{name}.py": text for name, text in modules.items()}
    found: list[list[str]] = STRUCTURE["import_cycles"](source)
    return found


def test_a_cycle_over_three_modules_is_found_and_what_hangs_on_it_is_not_part_of_it() -> None:
    found = cycles(a="from p import b", b="import p.c", c="from p.a import x", d="from p.a import x", e="")
    assert found == [["p.a", "p.b", "p.c"]]


def test_imports_that_run_later_or_never_make_no_cycle() -> None:
    later = "def f():\n    from p.a import x\n"
    never = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.a import x\n"
    tried = "try:\n    from p.a import x\nexcept ImportError:\n    pass\n"
    assert cycles(a="from p.b import y", b=later) == []
    assert cycles(a="from p.b import y", b=never) == []
    assert cycles(a="from p.b import y", b=tried) == [["p.a", "p.b"]]


def test_a_package_and_a_module_in_it_are_a_cycle_unless_only_a_constant_set_before_is_taken() -> None:
    assert cycles(__init__="__version__ = 1\nfrom p.a import x", a="from p import __version__") == []
    assert cycles(__init__="from p.a import x\ny = 1", a="from p import y") == [["p", "p.a"]]


def test_a_longer_repeated_run_is_told_once_and_texts_do_not_count() -> None:
    lines = [f"x{i} = {i}" for i in range(6)]
    one = "\n".join(['"""Text."""', "import os", *lines])
    other = "\n".join(["z = 0", *lines[:3], "# a comment", "", *lines[3:], "z = 1"])
    find = STRUCTURE["duplicates"]
    assert find({"a.py": one, "b.py": other}, 4) == [[("a.py", 3), ("b.py", 2)]]
    assert find({"a.py": one, "b.py": other}, 7) == []


def test_packages_that_need_each_other_are_found_wherever_the_import_stands() -> None:
    source = {
        "recognition/p/a/one.py": "from p.b.two import x",
        "recognition/p/b/two.py": "def f():\n    from p.a.one import y\n",
        "recognition/p/c/three.py": "from p.a.one import y",
    }
    assert STRUCTURE["import_cycles"](source) == []
    assert STRUCTURE["package_cycles"](source) == [["p.a", "p.b"]]


@pytest.mark.parametrize("root", STRUCTURE["ROOTS"])
def test_neither_distribution_has_a_cycle_of_modules_or_of_packages(root: str) -> None:
    source = STRUCTURE["read"]("", root)
    assert STRUCTURE["import_cycles"](source) == []
    assert STRUCTURE["package_cycles"](source) == []


def test_the_product_does_not_know_the_laboratory() -> None:
    """Its command line alone does, by name: old commands lead there where it is installed."""
    for path, text in STRUCTURE["read"]("", "recognition").items():
        assert "btnet_lab" not in text or path == "recognition/btnet/cli/__init__.py", path


def test_packages_import_those_that_the_documented_layers_put_above_them() -> None:
    text = (ROOT / "docs" / "structure.md").read_text(encoding="utf-8")
    table = text.partition("## Layers")[2].partition("The laboratory")[0]
    rows = re.findall(r"^\| (`.*`) \|", table, flags=re.MULTILINE)
    layer = {name: i for i, row in enumerate(rows) for name in re.findall(r"`([\w.]+)`", row)}
    folders = {path.parent.name for path in (ROOT / "recognition/btnet").glob("*/__init__.py")}
    assert layer.keys() - {"method.coupling"} == folders
    imports = STRUCTURE["package_imports"](STRUCTURE["read"]("", "recognition"))
    for name in layer:
        needed = {other.removeprefix("btnet.") for other in imports[f"btnet.{name}"]} & layer.keys()
        assert all(layer[other] < layer[name] for other in needed), (name, needed)
