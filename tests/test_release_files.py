"""The files around the package agree with it, and with each other."""

from __future__ import annotations

import re
from pathlib import Path

from btnet import __version__
from btnet.cli import COMMANDS
from btnet_lab.cli import COMMANDS as LAB_COMMANDS

ROOT = Path(__file__).parents[1]


def test_version_is_one_everywhere() -> None:
    assert f'version = "{__version__}"' in (ROOT / "pyproject.toml").read_text().splitlines()
    assert f"version: {__version__}" in (ROOT / "CITATION.cff").read_text().splitlines()
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_changelog_names_commands_that_exist() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert set(re.findall(r"`btnet ([\w-]+)`", text)) <= set(COMMANDS)
    assert set(re.findall(r"`btnet-lab ([\w-]+)`", text)) <= set(LAB_COMMANDS)


def test_the_source_distribution_names_what_is_there() -> None:
    for line in (ROOT / "MANIFEST.in").read_text().splitlines():
        kind, *names = line.split()
        for name in names:
            if kind == "graft" or (kind == "include" and "*" not in name):
                assert (ROOT / name).exists(), line


def test_issue_forms_ask_something_and_each_question_has_a_name_of_its_own() -> None:
    forms = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))
    asked = {form.stem: re.findall(r"^    id: (\w+)$", form.read_text(), re.MULTILINE) for form in forms}
    assert asked.pop("config") == []
    assert asked
    assert all(ids and len(ids) == len(set(ids)) for ids in asked.values())
