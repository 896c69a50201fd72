"""Lists of pairs in the formats of the sets that have them, names of all kinds, and lines of two meanings."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from btnet.data.pair_list import PairList, read_pairs_of_list
from btnet.public_sets.image_sets import read_lfw_pairs


def read(folder: Path, text: str | bytes, root: Path | None = None) -> PairList:
    content = text if isinstance(text, bytes) else text.encode()
    (folder / "pairs.txt").write_bytes(content)
    return read_pairs_of_list(folder / "pairs.txt", root)


def touch(root: Path, *names: str | bytes) -> Path:
    for name in names:
        path = root / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def person(name: str, *numbers: int) -> list[str]:
    return [f"{name}/{name}_{number:04d}.jpg" for number in numbers]


LFW = "2\t1\nAnn_Lee\t1\t2\nAnn_Lee\t1\tBo\t3\nBo\t1\t10\nBo\t2\tAnn_Lee\t4\n"
LFW_NAMES = [
    *person("Ann_Lee", 1, 2), *person("Ann_Lee", 1), *person("Bo", 3), *person("Bo", 1, 10), *person("Bo", 2),
    *person("Ann_Lee", 4),
]  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: text.replace("\t", " "),
        lambda text: text.replace("\t", "  "),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: f"\n{text}\n \n\n",
        lambda text: f"\ufeff{text}",
        lambda text: text.rstrip(),
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("utf-16-be"),
    ],
)
def test_lfws_pairs_are_read_however_they_were_saved(change: object, tmp_path: Path) -> None:
    assert callable(change)
    assert read(tmp_path, change(LFW)) == (LFW_NAMES, [True, False, True, False], 2)


def test_four_fields_of_one_name_are_one_person(tmp_path: Path) -> None:
    composed, parted = (unicodedata.normalize(form, "Zoë") for form in ("NFC", "NFD"))
    text = f"1 3\nP 1 P 2\n{composed} 1 {parted} 2\nP 1 3\nP 1 Q 2\nQ 1 P 3\nP 2 p 1\n"
    assert read(tmp_path, text).issame == [True, True, True, False, False, False]


def test_pairs_of_view_1_are_taken_in_turns(tmp_path: Path) -> None:
    found = read(tmp_path, "2\nA\t1\t2\nB\t1\t2\nA\t1\tB\t2\nB\t3\tA\t4\n")
    assert found.issame == [True, False, True, False]
    assert found.num_folds == 10
    assert found.names[:4] == [*person("A", 1, 2), *person("A", 1), *person("B", 2)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2\nA 1 2\nA 1 B 2\nP 1 P 2\nB 1 2\n", r"pairs\.txt:2: 3 of the 4 pairs .* show one person, expected 2"),
        ("2 1\nA 1 2\nA 1 B 2\n\nA 1 B 3\nA 2 B 2\n", r"pairs\.txt:5: 0 of the 2 pairs"),
        ("1711\nAJ_Cook\t1\n", r"pairs\.txt:1: 1 pairs follow, but this line announces 1 folds of twice 1711"),
        ("1\nAJ_Cook\t1\nB\t2\n", r"pairs\.txt:2: 'AJ_Cook\\t1', expected `NAME i j`"),
        ("\n1 1\nA 1 2\nA 1 B x\n", r"pairs\.txt:4: 'A 1 B x', expected `NAME i j` or `NAME i OTHER j`"),
        ("1 1\nA 1 2\nA 1 B 2 3 4\n", r"pairs\.txt:3: .* read in 3 ways: part the fields by tabs"),
        ("1 1\nA 1 2\nA\t1\tB\t2\t3\n", r"pairs\.txt:3: "),
        ("0 0\n", r"pairs\.txt:1: 0 pairs follow"),
        ("", r"pairs\.txt: no line in it"),
        ("a.jpg b.jpg 1\na.jpg b.jpg 2\n", r"pairs\.txt:2: .*expected `face face same` with same 1 or 0"),
        ("A 1 2\nA 1 B 2\n", r"pairs\.txt:1: .*expected `face face same`"),
        ("a/1.jpg a/2.jpg\n", r"pairs\.txt:1: .*expected `face face same`"),
        ("a b c 1\n", r"pairs\.txt:1: .*can be read in 2 ways"),
        ("A/A_0001.jpg\nA/A_0002.jpg\nB/B_0001.jpg\n", r"pairs\.txt:3: .*the second of its pair is missing"),
        ("A/A_0001.jpg\nA/0002.jpg\n", r"pairs\.txt:2: 'A/0002\.jpg', expected `NAME/NAME_0001\.jpg`"),
        ("A/A_0001.jpg A/A_0002.jpg\nA/A_0001.jpg\n", r"pairs\.txt:2: "),
        ("A_0001.jpg 1\nA_0002.jpg 2\n", r"pairs\.txt:2: .*two lines a pair with one fold"),
        ("A_0001.jpg 1\nA_0002.jpg one\n", r"pairs\.txt:2: "),
    ],
)  # fmt: skip
def test_what_fits_no_format_is_refused_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text)


@pytest.mark.parametrize("gap", ["\n", " ", "\t"])
def test_sllfws_paths_are_one_person_in_one_folder(gap: str, tmp_path: Path) -> None:
    pairs = [("Ann Lee", 1, "Ann Lee", 4), ("Ann Lee", 1, "Bo", 12)]
    text = "".join(f"{person(a, i)[0]}{gap}{person(b, j)[0]}\n" for a, i, b, j in pairs)
    names = [*person("Ann Lee", 1, 4), *person("Ann Lee", 1), *person("Bo", 12)]
    assert read(tmp_path, text) == (names, [True, False], 10)


def test_calfws_two_lines_are_one_person_unless_their_fold_is_0(tmp_path: Path) -> None:
    text = (
        "Ann_0001.jpg 1\nAnn_0002.jpg 1\n\nAnn_0001.jpg 0\nBo_0007.JPG 0\nBo_0001.jpg\t10\nBo_0002.jpg\t10\n"
    )
    found = read(tmp_path, text)
    assert found.issame == [True, False, True]
    assert found.names == [
        "Ann_0001.jpg", "Ann_0002.jpg", "Ann_0001.jpg", "Bo_0007.JPG", "Bo_0001.jpg", "Bo_0002.jpg"
    ]  # fmt: skip


def test_names_with_spaces_are_read_where_they_have_one_meaning(tmp_path: Path) -> None:
    text = "1 1\nname with spaces 1 2\nname with spaces 1 of other 2\n"
    expected = [*person("name with spaces", 1, 2), *person("name with spaces", 1), *person("of other", 2)]
    assert read(tmp_path, text) == (expected, [True, False], 1)
    assert read(tmp_path, "a b/1.jpg c d/2.jpg 0\n").names == ["a b/1.jpg", "c d/2.jpg"]
    assert read(tmp_path, "a b\tc d e\t1\n").names == ["a b", "c d e"]


def test_a_line_of_two_meanings_is_read_by_the_files_that_are_there(tmp_path: Path) -> None:
    text = "1 1\nAgent 007 1 2\nBo 1 Al 1\n"
    with pytest.raises(ValueError, match=r"pairs\.txt:2: 'Agent 007 1 2', .*read in 2 ways"):
        read(tmp_path, text)
    root = touch(tmp_path / "one", *person("Agent 007", 1, 2))
    assert read(tmp_path, text, root).names[:2] == person("Agent 007", 1, 2)
    other = touch(tmp_path / "two", *person("Agent", 7), *person("1", 2))
    with pytest.raises(ValueError, match="0 of the 2 pairs"):  # two people where the header wants one
        read(tmp_path, text, other)
    touch(root, *person("Agent", 7), *person("1", 2))
    with pytest.raises(ValueError, match=r"pairs\.txt:2: .*read in 2 ways"):
        read(tmp_path, text, root)
    root = touch(tmp_path / "three", "a b", "c", "d")
    assert read(tmp_path, "a b c 1\n", root).names == ["a b", "c"]


def test_a_list_and_a_folder_may_differ_in_normal_form_encoding_and_ending(tmp_path: Path) -> None:
    composed, parted = (unicodedata.normalize(form, "Zoë") for form in ("NFC", "NFD"))
    latin = f"{composed}/{composed}_0003.jpg".encode("latin-1")
    root = touch(tmp_path / "faces", f"{parted}/{parted}_0001.png", f"{parted}/{parted}_0002.jpg")
    touch(root, b"Jos\xe9/Jos\xe9_0003.jpg")
    found = read(tmp_path, f"1 1\n{composed} 1 2\n{composed} 2 José 3\n", root)
    stored = [f"{parted}/{parted}_0001.png", f"{parted}/{parted}_0002.jpg"]
    jose = os.fsdecode(b"Jos\xe9/Jos\xe9_0003.jpg")
    assert found.names == [*stored, stored[1], jose]
    assert found.issame == [True, False]
    # The list in Latin-1, as its folder.
    assert read(tmp_path, b"Jos\xe9/Jos\xe9_0003.jpg a.jpg 0\n", root).names[0] == jose
    with pytest.raises(ValueError, match=r"pairs\.txt:1: .*utf-8"):
        read(tmp_path, latin + b" a.jpg 0\n", root)
    with pytest.raises(ValueError, match=r"pairs\.txt:1: .*utf-8"):
        read(tmp_path, latin + b" a.jpg 0\n")


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    forms = [unicodedata.normalize(form, "ḝ") for form in ("NFC", "NFD")]
    root = touch(tmp_path / "faces", *(f"{form}/1.jpg" for form in forms))
    assert read(tmp_path, f"{forms[0]}/1.jpg {forms[1]}/1.jpg 1\n", root).names == [
        f"{f}/1.jpg" for f in forms
    ]
    with pytest.raises(ValueError, match="one name in two encodings"):
        read(tmp_path, "\u0229\u0306/1.jpg a.jpg 1\n", root)


def test_every_format_becomes_a_set_of_image_files(tmp_path: Path) -> None:
    root = touch(tmp_path / "faces", *person("A", 1, 2), *person("B", 1), "A_1.jpg", "A_2.jpg")
    lists = {
        "lfw.txt": "1 1\nA 1 2\nA 1 B 1\n",
        "sllfw.txt": "A/A_0001.jpg\nA/A_0002.jpg\nA/A_0001.jpg\nB/B_0001.jpg\n",
        "own.txt": "A/A_0001.jpg A/A_0002.jpg 1\nA/A_0001.jpg B/B_0001.jpg 0\n",
        "calfw.txt": "A_1.jpg 3\nA_2.jpg 3\nA_1.jpg 0\nA_2.jpg 0\n",
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
        pairs = read_lfw_pairs(tmp_path / name, root)
        assert pairs.issame.tolist() == [True, False]
        assert (pairs.first.tolist(), pairs.second.tolist()[0]) == ([0, 0], 1)
        assert read_pairs_of_list(tmp_path / name, root).names[::2] == [pairs.images.names[0]] * 2
