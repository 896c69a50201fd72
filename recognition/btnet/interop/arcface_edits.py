"""What btnet changes in a checkout of arcface_torch, found in the syntax tree: two hooks, and what packages dropped."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import numpy as np
import torch

__all__ = ["HOOKS", "Edit", "Installed", "UnfamiliarError", "compatibility", "installed"]

_ALIASES: Final = ("bool", "complex", "float", "int", "object", "str")  # builtins that numpy once had as well


class UnfamiliarError(Exception):
    """The file does not read as arcface_torch's does; what is missing is the message."""


class Edit(NamedTuple):
    """Text in place of `columns` (in UTF-8 bytes) of line `line` (from 1); where these are None, a line before it."""

    line: int
    text: str
    why: str
    columns: tuple[int, int] | None = None


class Installed(NamedTuple):
    """What of upstream's code the installed packages no longer run.

    Attributes:
        numpy_removed: of the names numpy once had for builtins, those that are gone.
        scheduler_verbose: whether torch's learning rate schedulers take `verbose`.
        repeated_x: whether `scipy.interpolate.interp1d` takes an x that holds a value twice.
        mxnet: whether MXNet imports.
        dynamo_export: whether `torch.onnx.export` uses its newer exporter unless told otherwise.
    """

    numpy_removed: frozenset[str]
    scheduler_verbose: bool
    repeated_x: bool
    mxnet: bool
    dynamo_export: bool


def installed() -> Installed:
    """Try out what the installed packages run."""
    from scipy.interpolate import interp1d  # takes a second to import

    try:
        interp1d([0, 0, 1], [0, 1, 2], kind="slinear")
        repeated_x = True
    except ValueError:
        repeated_x = False
    # In a process of its own: an MXNet that does not fit the other packages may crash on import.
    mxnet = subprocess.run([sys.executable, "-c", "import mxnet"], capture_output=True, check=False)
    dynamo = inspect.signature(torch.onnx.export).parameters.get("dynamo")
    return Installed(
        numpy_removed=frozenset(name for name in _ALIASES if name not in vars(np)),
        scheduler_verbose="verbose" in inspect.signature(torch.optim.lr_scheduler.LRScheduler).parameters,
        repeated_x=repeated_x,
        mxnet=mxnet.returncode == 0,
        dynamo_export=dynamo is not None and dynamo.default is True,
    )


def compatibility(tree: ast.Module, packages: Installed) -> Iterator[Edit]:
    """Edits that make a file run with the installed packages.

    Raises:
        UnfamiliarError: if something that does not run is written in a way that cannot be edited by rule.
    """
    imports = [alias for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    numpy = {alias.asname or alias.name for alias in imports if alias.name == "numpy"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in numpy and node.attr in packages.numpy_removed:
                yield _replace(node, node.attr, f"numpy {np.__version__} has no np.{node.attr}")
        elif isinstance(node, ast.ClassDef) and not packages.scheduler_verbose:
            if any(ast.unparse(base).endswith("LRScheduler") for base in node.bases):
                yield from _without_verbose(node)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if not packages.repeated_x and name.rpartition(".")[2] == "interp1d":
                yield _interpolation(node, numpy)
            elif packages.dynamo_export and name in ("torch.onnx.export", "onnx.export"):
                yield from _with_older_exporter(node)
        elif isinstance(node, (ast.Import, ast.ImportFrom)) and not packages.mxnet:
            yield from _mxnet_import(node)


def _without_verbose(scheduler: ast.ClassDef) -> Iterator[Edit]:
    for call in ast.walk(scheduler):
        if not (isinstance(call, ast.Call) and ast.unparse(call.func) == "super().__init__"):
            continue
        arguments = _arguments(call)
        for before, found in zip([None, *arguments], arguments, strict=False):
            if isinstance(found, ast.keyword) and found.arg == "verbose":
                if before is None:
                    raise UnfamiliarError("`verbose` is the first argument of super().__init__")
                why = "torch's schedulers take no verbose since 2.7"
                if before.end_lineno == found.lineno:
                    yield _replace(found, "", why, start=_end(before))
                else:
                    yield _replace(found, "**{}", why)


def _interpolation(call: ast.Call, numpy: set[str]) -> Edit:
    kinds = [k.value.value for k in call.keywords if k.arg == "kind" and isinstance(k.value, ast.Constant)]
    if len(call.args) != 2 or kinds not in ([], ["slinear"], ["linear"]) or not numpy:
        raise UnfamiliarError("interp1d is not called as interp1d(x, y, kind='slinear')")
    # Between the last of the lower values and the first of the higher ones, as interp1d did.
    text = f"(lambda x, y, kind='linear': lambda at: {min(numpy)}.interp(at, x, y))"
    return _replace(call.func, text, "scipy's interp1d refuses an x that holds a value twice")


def _with_older_exporter(call: ast.Call) -> Iterator[Edit]:
    if all(keyword.arg != "dynamo" for keyword in call.keywords):
        last = _arguments(call)[-1]
        why = "torch's newer exporter writes opset 18 and a batch of one"
        yield _replace(last, ", dynamo=False", why, start=_end(last))


def _mxnet_import(node: ast.Import | ast.ImportFrom) -> Iterator[Edit]:
    module = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
    names = [f"{module}{alias.name}" for alias in node.names]
    if not any(name == "mxnet" or name.startswith("mxnet.") for name in names):
        return
    if len(names) != 1 or node.lineno != node.end_lineno:
        raise UnfamiliarError(f"line {node.lineno} imports MXNet together with something else")
    from btnet.interop import mxnet

    package, _, name = f"btnet.interop.{names[0]}".rpartition(".")
    if package == "btnet.interop.mxnet" and name not in mxnet.__all__:
        raise UnfamiliarError(f"line {node.lineno} imports {names[0]}, which btnet has nothing for")
    alias = node.names[0].asname
    text = f"from {package} import {name}" + (f" as {alias}" if alias else "")
    yield _replace(node, text, "MXNet does not import here; btnet reads its formats")


def _backbones(tree: ast.Module) -> Iterator[Edit]:
    """`get_model` also knows btnet's names."""
    why = "get_model knows btnet_r50_14 and the like"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == "get_model":
            line = min([node.lineno, *(part.lineno for part in node.decorator_list)])
            yield Edit(line, "from btnet.interop.arcface_torch import with_btnet", why)
            yield Edit(line, "@with_btnet", why)
            return
    raise UnfamiliarError("no function get_model")


def _loop(tree: ast.Module) -> Iterator[Edit]:
    """Branch training where the configuration names a resolution."""
    imported = [node for node in tree.body if isinstance(node, ast.Import)]
    config = _assigned(tree, lambda call: call.endswith("get_config"))
    wrapped = _assigned(tree, lambda call: call.endswith("DistributedDataParallel"))
    heads = _assigned(tree, lambda call: call.endswith("PartialFC_V2"))
    losses = _assigned(tree, lambda call: call in {name for name, _ in heads})
    for what, found in (("get_config", config), ("DistributedDataParallel", wrapped), ("PartialFC_V2", heads),
                        ("the head's loss", losses), ("import", imported)):  # fmt: skip
        if not found:
            raise UnfamiliarError(f"nothing is assigned from {what}")
    (cfg, _), (backbone, wrap), (head, _), (loss, step) = config[0], wrapped[0], heads[0], losses[0]
    loops = [
        n for n in ast.walk(tree) if isinstance(n, ast.For) and n.lineno < step.lineno <= (n.end_lineno or 0)
    ]
    if not loops:
        raise UnfamiliarError("the head's loss is in no loop")
    epochs = min(loops, key=lambda loop: loop.lineno)
    for line, beside, text in (
        ((imported[0].end_lineno or 0) + 1, imported[0], "from btnet.interop import branch_training"),
        (wrap.lineno, wrap, f"{backbone} = branch_training.branch_or({backbone}, {cfg})"),
        (epochs.lineno, epochs, f"branch_training.freeze_classifier({backbone}, {head}, {cfg})"),
        ((step.end_lineno or 0) + 1, step, f"{loss} = {loss} + branch_training.distillation({backbone})"),
    ):
        yield Edit(
            line, " " * beside.col_offset + text, "trains a branch where the config names a resolution"
        )


def _assigned(tree: ast.Module, wanted: Callable[[str], bool]) -> list[tuple[str, ast.stmt]]:
    """Names that are given the answer of a call, and the statements, in order of lines."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Call):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and wanted(ast.unparse(node.value.func)):
                found.append((target.id, node))
    return sorted(found, key=lambda pair: pair[1].lineno)


def _arguments(call: ast.Call) -> list[ast.expr | ast.keyword]:
    return sorted([*call.args, *call.keywords], key=lambda node: (node.lineno, node.col_offset))


def _end(node: ast.expr | ast.stmt | ast.keyword) -> int:
    assert node.end_col_offset is not None
    return node.end_col_offset


def _replace(
    node: ast.expr | ast.stmt | ast.keyword, text: str, why: str, *, start: int | None = None
) -> Edit:
    assert node.end_lineno is not None
    column = node.col_offset if start is None else start
    if node.lineno != node.end_lineno and column != _end(node):
        raise UnfamiliarError(f"line {node.lineno} goes on below")
    return Edit(node.end_lineno, text, why, (column, _end(node)))


HOOKS: Final[dict[str, Callable[[ast.Module], Iterator[Edit]]]] = {
    "backbones/__init__.py": _backbones,
    "train_v2.py": _loop,
}
"""Files of arcface_torch that btnet is hooked into, and how."""
