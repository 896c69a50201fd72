"""What Containerfile names exists; it is built by nobody here, where no engine runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", (ROOT / "Containerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(words[0], words[1]) for line in lines if line.strip() and (words := line.split(maxsplit=1))]


def test_every_instruction_is_one_and_the_first_names_ci_s_python() -> None:
    found = instructions()
    assert {name for name, _ in found} <= {"FROM", "RUN", "WORKDIR", "COPY", "ENV", "CMD"}
    makefile = (ROOT / "Makefile").read_text()
    [first] = re.findall(r"^PYTHON \?= \$\(shell for v in (3\.\d+) ", makefile, re.MULTILINE)
    python = f"python{first}"
    assert found[0][0] == "FROM"
    assert found[0][1].startswith(python.replace("python", "python:"))
    assert any(name == "RUN" and f"{python} -m venv" in text for name, text in found)


def test_what_is_copied_is_there_and_not_left_out_of_the_context() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    for name, text in instructions():
        if name == "COPY":
            *sources, _ = shlex.split(text)
            for source in sources:
                assert (ROOT / source).exists(), f"COPY {source}"
                assert source not in ignored


def test_targets_of_make_and_the_pinned_torch_are_the_repository_s() -> None:
    text = (ROOT / "Containerfile").read_text()
    makefile = (ROOT / "Makefile").read_text()
    called = re.findall(r"\bmake ([\w./]+)", text) + re.findall(r'\["make", "(\w+)"\]', text)
    assert {".venv/ready", "demo", "test"} <= set(called)
    for target in called:
        assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), target
    [torch] = re.findall(r"torch==[\d.]+", text)
    assert torch in (ROOT / "requirements.txt").read_text().split()


def test_what_is_installed_before_the_rest_is_copied_is_all_that_it_needs() -> None:
    texts = [text for name, text in instructions() if name in ("COPY", "RUN")]
    before = " ".join(texts[: next(i for i, text in enumerate(texts) if "make .venv/ready" in text)]).split()
    pyproject = (ROOT / "pyproject.toml").read_text()
    [readme] = re.findall(r'^readme = "(.*)"', pyproject, re.MULTILINE)
    assert {"pyproject.toml", "setup.py", "requirements.txt", "Makefile", "recognition", readme} <= set(
        before
    )
