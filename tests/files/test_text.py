"""Lists as editors, spreadsheets and other systems save them, and names that are equal in any encoding."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from btnet.files.text import is_utf8, plain_name, read_lines

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
def test_every_line_is_numbered_as_an_editor_does_whatever_the_encoding(
    encoding: str, line_break: str, tmp_path: Path
) -> None:
    lines = ["", "Zoë 1 2", " \t", "a b\tc 3 ", "x\u2028y\u0085z\x0b 1", "", ""]
    (tmp_path / "list.txt").write_bytes(line_break.join(lines).encode(encoding))
    found = [tuple(line) for line in read_lines(tmp_path / "list.txt")]
    where = tmp_path / "list.txt"
    expected = [(2, "Zoë 1 2"), (4, "a b\tc 3"), (5, "x\u2028y\u0085z\x0b 1")]
    assert found == [(f"{where}:{number}", text) for number, text in expected]


def test_an_empty_list_has_no_line(tmp_path: Path) -> None:
    (tmp_path / "list.txt").touch()
    assert not list(read_lines(tmp_path / "list.txt"))


def test_a_zero_byte_is_named_by_its_line_and_a_cut_character_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"a 1\nb\0c 2\n")
    with pytest.raises(ValueError, match=r"list\.txt:2: a zero byte"):
        list(read_lines(tmp_path / "list.txt"))
    (tmp_path / "list.txt").write_bytes("a 1\n".encode("utf-16")[:-1])
    with pytest.raises(ValueError, match=r"list\.txt: .*utf-16"):
        list(read_lines(tmp_path / "list.txt"))


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_name_is_the_same_in_both_normal_forms_and_can_be_written(name: str) -> None:
    forms = {plain_name(unicodedata.normalize(form, name)) for form in ("NFC", "NFD")}
    assert len(forms) == 1
    assert forms.pop().encode().decode() == plain_name(name)


@given(st.binary().filter(lambda name: b"\0" not in name))
def test_a_name_of_any_bytes_can_be_written(name: bytes) -> None:
    text = os.fsdecode(name)
    assert plain_name(text).encode().decode() == plain_name(plain_name(text))
    assert is_utf8(text) == (text.encode("utf-8", "ignore") == name)


def test_a_latin_1_name_is_the_name_in_utf_8() -> None:
    assert plain_name(os.fsdecode("José".encode("latin-1"))) == plain_name("Jose\u0301") == "José"
