"""`.bin` verification sets of Python 2 and 3, and pickles that try more than that."""

import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from btnet.data.bin_sets import read_bin, write_bin
from btnet.files.safe_pickle import load_plain_pickle
from btnet.images.codec import encode_jpeg, encode_png

CORE = np.array(0).__reduce__()[0].__module__.removesuffix(".multiarray")  # numpy.core or numpy._core
OTHER_CORE = "numpy._core" if CORE == "numpy.core" else "numpy.core"


def pictures(count: int, size: int = 8) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, size, size, 3), np.uint8)


def write_pickle(path: Path, content: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(content, protocol))
    return path


def python2_pickle(images: list[bytes], issame: list[bool]) -> bytes:
    """What Python 2's cPickle.dump((bins, issame), protocol=2) writes: byte strings as BINSTRING."""
    strings = b"".join(b"T" + struct.pack("<i", len(image)) + image for image in images)
    flags = b"".join(b"\x88" if same else b"\x89" for same in issame)
    return b"\x80\x02](" + strings + b"e](" + flags + b"e\x86."


def test_arrays_survive_a_round_trip_exactly(tmp_path: Path) -> None:
    images, issame = pictures(6), np.array([True, False, True])
    write_bin(tmp_path / "x.bin", images, issame)
    read, same = read_bin(tmp_path / "x.bin")
    np.testing.assert_array_equal(read, images)
    assert same.tolist() == [True, False, True]
    assert (str(read.dtype), str(same.dtype)) == ("uint8", "bool")


def test_encoded_images_are_stored_as_they_are_for_any_pickle_reader(tmp_path: Path) -> None:
    encoded = [encode_jpeg(image) for image in pictures(4)]
    write_bin(tmp_path / "x.bin", encoded, [True, False])
    assert pickle.loads((tmp_path / "x.bin").read_bytes()) == (encoded, [True, False])


def test_a_set_written_by_python_2_reads(tmp_path: Path) -> None:
    images = pictures(4)
    (tmp_path / "x.bin").write_bytes(python2_pickle([encode_png(image) for image in images], [False, True]))
    read, same = read_bin(tmp_path / "x.bin")
    np.testing.assert_array_equal(read, images)
    assert same.tolist() == [False, True]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", ["bytes", "arrays", "bytearrays"])
def test_every_pickle_protocol_reads(kind: str, protocol: int, tmp_path: Path) -> None:
    images = pictures(4)
    encoded: list[Any] = [encode_png(image) for image in images]
    if kind == "arrays":
        encoded = [np.frombuffer(data, np.uint8) for data in encoded]
        encoded[1] = encoded[1].copy()
    if kind == "bytearrays":
        encoded = [bytearray(data) for data in encoded]
    flags = [np.bool_(True), False] if kind == "arrays" else [True, False]
    read, same = read_bin(write_pickle(tmp_path / "x.bin", (encoded, flags), protocol))
    np.testing.assert_array_equal(read, images)
    assert same.tolist() == [True, False]


def test_arrays_pickled_by_another_numpy_read(tmp_path: Path) -> None:
    images = pictures(2)
    arrays = [np.frombuffer(encode_png(image), np.uint8) for image in images]
    content = pickle.dumps((arrays, np.array([True])), 2)
    renamed = content.replace(f"{CORE}.multiarray".encode(), f"{OTHER_CORE}.multiarray".encode())
    assert renamed != content
    (tmp_path / "x.bin").write_bytes(renamed)
    read, same = read_bin(tmp_path / "x.bin")
    np.testing.assert_array_equal(read, images)
    assert same.tolist() == [True]


class Attack:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    ("function", "name"),
    [
        (os.mkdir, r"(posix|nt)\.mkdir"),
        (eval, r"(builtins|__builtin__)\.eval"),
        (getattr, r"(builtins|__builtin__)\.getattr"),
        (np.load, r"numpy\.load"),
    ],
)
def test_a_pickle_that_asks_for_code_is_refused_and_nothing_runs(
    function: Any, name: str, protocol: int, tmp_path: Path
) -> None:
    target = tmp_path / "made"
    path = write_pickle(tmp_path / "x.bin", ([Attack(function, str(target))] * 2, [True]), protocol)
    with pytest.raises(ValueError, match=rf"x\.bin: .*it asks for {name}, .*do not trust this file"):
        read_bin(path)
    assert not target.exists()


def test_a_pickle_cannot_reach_through_the_functions_it_is_given(tmp_path: Path) -> None:
    # A dotted name, and BUILD on a function: the usual ways around an allow list.
    path = tmp_path / "x.bin"
    path.write_bytes(b"\x80\x04\x8c\x05numpy\x8c\x17dtype.__init__.__call__\x93.")
    with pytest.raises(ValueError, match=r"it asks for numpy\.dtype\.__init__"):
        load_plain_pickle(path)
    path.write_bytes(b"c__builtin__\nbytes\nN}V__defaults__\nNs\x86b)R.")
    with pytest.raises(ValueError, match="it holds a dict"):
        load_plain_pickle(path)
    path.write_bytes(b"c__builtin__\nbytes\n)R.")
    assert load_plain_pickle(path) == b""


@pytest.mark.parametrize("items", [np.array([1, 2]), np.array([None, 1]), np.array(["a"])])
def test_arrays_of_other_types_are_refused(items: NDArray[Any], tmp_path: Path) -> None:
    path = write_pickle(tmp_path / "x.bin", ([items, items], [True]))
    with pytest.raises(ValueError, match=r"array of type '.*', expected uint8 or bool"):
        read_bin(path)


def test_a_pickle_cut_anywhere_is_a_clear_error(tmp_path: Path) -> None:
    arrays = [np.frombuffer(encode_png(image), np.uint8) for image in pictures(2)]
    content = pickle.dumps((arrays, [True]), 2)
    path = tmp_path / "x.bin"
    for end in range(0, len(content), 7):
        path.write_bytes(content[:end])
        with pytest.raises(ValueError, match=r"x\.bin: not readable as plain data"):
            read_bin(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([b"x"], r"holds a list, expected the pair"),
        (b"x", r"holds a bytes, expected the pair"),
        ((b"x", [True]), r"holds \(bytes, list\), expected \(list of encoded images, list of bool\)"),
        (([b"x"] * 3, [True]), "3 images for 1 pairs"),
        (([], []), "0 images for 0 pairs"),
        (([b"x"] * 2, [2]), "issame of pair 0 is 2"),
        ((["x"] * 2, [True]), "image 0 is a str, expected encoded bytes"),
        (([b"x"] * 2, [True]), "image 0: not a readable image"),
    ],
)
def test_content_that_is_no_verification_set_is_refused(content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"x\.bin: {message}"):
        read_bin(write_pickle(tmp_path / "x.bin", content))


def test_all_images_that_cannot_be_read_are_listed(tmp_path: Path) -> None:
    good = encode_png(pictures(1)[0])
    write_bin(tmp_path / "x.bin", [good, b"x", good, good[:40]], [True, True])
    with pytest.raises(ValueError, match=r"image 1: not a readable image.*2 of 4 images .* number 1, 3$"):
        read_bin(tmp_path / "x.bin")


def test_images_of_different_sizes_are_refused(tmp_path: Path) -> None:
    encoded = [encode_png(pictures(1, size)[0]) for size in (8, 8, 8, 9)]
    write_bin(tmp_path / "x.bin", encoded, [True, True])
    with pytest.raises(ValueError, match="image 3 is 9 x 9 px, image 0 is 8 x 8 px"):
        read_bin(tmp_path / "x.bin")


def test_a_set_that_does_not_add_up_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    with pytest.raises(ValueError, match="4 images for 1 pairs"):
        write_bin(path, pictures(4), [True])
    with pytest.raises(ValueError, match="expected uint8 RGB"):
        write_bin(path, [np.zeros((4, 4), np.uint8)] * 2, [True])
    assert not list(tmp_path.iterdir())
