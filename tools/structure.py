"""Print the structure of the package: files, lines, longest file, import cycles, duplicate blocks.

    python tools/structure.py                      the working tree
    python tools/structure.py --root lab           the laboratory instead of the product
    python tools/structure.py --rev v0.1 HEAD      before and after: two commits side by side

An import cycle is a set of modules that reach each other by imports at module level; those inside functions and under
TYPE_CHECKING run later or never, and do not count. A duplicate block is a run of equal lines of code in two places,
blank lines, comments, docstrings and imports left out.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOTS = ("recognition", "lab")
# What packages on both sides of it need: a layer of its own.
OWN_LAYER = "btnet.method.coupling"
Source = Mapping[str, str]  # path below the repository -> text


def main(argv: list[str] | None = None) -> None:
    """Print a table with a column per revision, then every cycle and duplicate of the last."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rev", nargs="+", default=[""], metavar="COMMIT", help="default: the working tree")
    parser.add_argument(
        "--block", type=int, default=8, help="lines of a duplicate, at least (default: %(default)s)"
    )
    parser.add_argument("--root", choices=ROOTS, default=ROOTS[0], help="default: %(default)s")
    args = parser.parse_args(argv)
    columns = [_figures(read(rev, args.root), args.block) for rev in args.rev]
    print("| " + " | ".join(["package", *(rev or "working tree" for rev in args.rev)]) + " |")
    print("|---|" + "---|" * len(columns))
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(column[name] for column in columns) + " |")
    last = read(args.rev[-1], args.root)
    for cycle in import_cycles(last):
        print("cycle:", " ".join(cycle))
    for cycle in package_cycles(last):
        print("packages:", " ".join(cycle))
    for places in duplicates(last, args.block):
        print("duplicate:", " ".join(f"{path}:{line}" for path, line in places))


def read(rev: str, root: str) -> dict[str, str]:
    """Python sources below a root, of a commit or, for "", of the working tree."""
    if not rev:
        found = sorted((ROOT / root).rglob("*.py"))
        return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in found}
    listed = _git("ls-tree", "-r", "--name-only", rev, root).splitlines()
    return {path: _git("show", f"{rev}:{path}") for path in listed if path.endswith(".py")}


def import_cycles(source: Source) -> list[list[str]]:
    """Sets of two or more modules that import each other, directly or not (Tarjan's strongly connected components).

    Importing `a.b.c` runs `a` and `a.b` first; a package is one node with what its `__init__` imports, and that a
    module lies in a package does not count as an import of it.
    """
    modules = {_module(path): ast.parse(text) for path, text in source.items()}
    graph = {name: sorted(set(_imports(name, tree, modules))) for name, tree in modules.items()}
    return sorted(sorted(part) for part in _components(graph) if len(part) > 1 or part[0] in graph[part[0]])


def package_imports(source: Source) -> dict[str, list[str]]:
    """What each package (`btnet.data`, ...) imports of the others, inside functions too."""
    graph: dict[str, set[str]] = defaultdict(set)
    for path, text in source.items():
        name = _package(_module(path))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.module and "." in node.module:
                graph[name] |= {_package(f"{node.module}.{alias.name}") for alias in node.names}
        graph[name].discard(name)
    return {name: sorted(graph[name] & graph.keys()) for name in graph}


def package_cycles(source: Source) -> list[list[str]]:
    """Sets of packages that need each other."""
    return sorted(sorted(part) for part in _components(package_imports(source)) if len(part) > 1)


def duplicates(source: Source, block: int) -> list[list[tuple[str, int]]]:
    """Places of equal code of `block` lines or more, each as (path, first line); one entry for each run."""
    seen: dict[tuple[str, ...], list[tuple[str, int]]] = defaultdict(list)
    code = {path: _code_lines(text) for path, text in source.items()}
    for path, lines in code.items():
        for i in range(len(lines) - block + 1):
            seen[tuple(text for _, text in lines[i : i + block])].append((path, i))
    repeated = {tuple(places) for places in seen.values() if len(places) > 1}
    # A longer run repeats in each of its windows: it is told by its first.
    first = [p for p in repeated if tuple((path, i - 1) for path, i in p) not in repeated]
    return sorted([(path, code[path][i][0]) for path, i in places] for places in first)


def _figures(source: Source, block: int) -> dict[str, str]:
    lengths = {path: len(text.splitlines()) for path, text in source.items()}
    longest = max(lengths, key=lambda path: lengths[path])
    return {
        "files": str(len(source)),
        "lines": str(sum(lengths.values())),
        "longest file": f"{lengths[longest]} ({longest.partition('/')[2]})",
        "files over 300 lines": str(sum(length > 300 for length in lengths.values())),
        "import cycles": str(len(import_cycles(source))),
        "cycles of packages": str(len(package_cycles(source))),
        f"duplicate blocks ({block} lines)": str(len(duplicates(source, block))),
    }


def _module(path: str) -> str:
    return path.partition("/")[2].removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _package(module: str) -> str:
    return OWN_LAYER if f"{module}.".startswith(f"{OWN_LAYER}.") else ".".join(module.split(".")[:2])


def _imports(name: str, tree: ast.Module, modules: Mapping[str, ast.Module]) -> Iterator[str]:
    for node in _at_import(tree.body):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found = inner if inner in modules else node.module
                # `from btnet import __version__` is served by a package that has begun to run.
                if found in modules and not (
                    name.startswith(f"{found}.") and _is_constant(modules[found], alias.name)
                ):
                    yield found


def _at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run when a module is imported."""
    for node in body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        if isinstance(node, (ast.If, ast.Try, ast.With)):
            for part in ("body", "orelse", "finalbody"):
                yield from _at_import(getattr(node, part, []))


def _is_constant(package: ast.Module, name: str) -> bool:
    """Whether a package sets the name before it imports anything."""
    for node in package.body:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            continue
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            return False
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == name for t in node.targets
        ):
            return True
    return False


def _components(graph: Mapping[str, list[str]]) -> Iterator[list[str]]:
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []

    def visit(node: str) -> Iterator[list[str]]:
        order[node] = low[node] = len(order)
        stack.append(node)
        for other in graph[node]:
            if other not in order:
                yield from visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == order[node]:
            start = stack.index(node)
            yield stack[start:]
            del stack[start:]

    for node in graph:
        if node not in order:
            yield from visit(node)


def _code_lines(text: str) -> list[tuple[int, str]]:
    """(line number, stripped text) of code."""
    tree = ast.parse(text)
    left_out: set[int] = set()
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_text or isinstance(node, (ast.Import, ast.ImportFrom)):
            assert isinstance(node, ast.stmt)
            left_out.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    numbered = ((i, line.strip()) for i, line in enumerate(text.splitlines(), 1))
    return [(i, line) for i, line in numbered if line and not line.startswith("#") and i not in left_out]


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    main()
