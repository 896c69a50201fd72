"""RecordIO against files written by MXNet 1.9.1 (tests/assets/recordio), properties, damage."""

import hashlib
import json
import multiprocessing
import pickle
import struct
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from btnet.data.record_index import rebuild_index
from btnet.data.recordio import Header, RecordReader, RecordWriter

ASSETS = Path(__file__).parents[1] / "assets" / "recordio"
META = json.loads((ASSETS / "meta.json").read_text())
SAMPLES = ["scalar", "vector", "noheader", "plain"]
MAGIC = struct.pack("<I", 0xCED7230A)

# Payloads in which the magic is likely, aligned and not.
payloads = st.lists(st.sampled_from([MAGIC, MAGIC[:2], b"\0", b"abc", b"12345678"]), max_size=12).map(
    b"".join
)


def copy_sample(name: str, folder: Path) -> Path:
    for ending in (".rec", ".idx"):
        (folder / f"x{ending}").write_bytes((ASSETS / f"{name}{ending}").read_bytes())
    return folder / "x.rec"


def replace_bytes(path: Path, offset: int, data: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[offset : offset + len(data)] = data
    path.write_bytes(content)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_record_mxnet_wrote_reads_back(name: str) -> None:
    with RecordReader(ASSETS / f"{name}.rec") as reader:
        assert reader.keys.tolist() == [entry[0] for entry in META[name]]
        assert len(reader) == len(META[name])
        for key, _, label, digest in META[name]:
            header, payload = reader.read(key)
            assert hashlib.sha256(payload).hexdigest() == (digest or hashlib.sha256(b"").hexdigest())
            assert header.id == key
            assert header.id2 == 0
            if isinstance(label, list) or name == "vector":
                expected = label if isinstance(label, list) else [label, key / 2]
                assert header.flag == 2
                assert isinstance(header.label, np.ndarray)
                assert header.label.dtype == np.float32
                assert header.label.tolist() == expected
            else:
                assert header.flag == 0
                assert header.label == label


@pytest.mark.parametrize("name", SAMPLES)
def test_writer_is_byte_identical_to_mxnet(name: str, tmp_path: Path) -> None:
    reader = RecordReader(ASSETS / f"{name}.rec")
    with RecordWriter(tmp_path / "raw.rec") as raw, RecordWriter(tmp_path / "packed.rec") as packed:
        for key in reader.keys.tolist():
            raw.write_raw(key, reader.read_raw(key))
            packed.write(key, *reader.read(key))
    for written in ("raw", "packed"):
        for ending in (".rec", ".idx"):
            ours = (tmp_path / f"{written}{ending}").read_bytes()
            assert ours == (ASSETS / f"{name}{ending}").read_bytes()


@given(st.lists(payloads, min_size=1, max_size=5))
@settings(max_examples=60)
def test_any_payload_survives_a_round_trip(
    tmp_path_factory: pytest.TempPathFactory, records: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("records") / "x.rec"
    with RecordWriter(path) as writer:
        for key, record in enumerate(records):
            writer.write_raw(key, record)
    with RecordReader(path) as reader:
        assert [reader.read_raw(key) for key in range(len(records))] == records
    # What the cutting is for: an aligned magic is the start of a part and nothing else.
    words = np.frombuffer(path.read_bytes(), "<u4")
    offset, starts = 0, []
    while offset < len(words):
        starts.append(offset)
        offset += 2 + (int(words[offset + 1] & 0x1FFFFFFF) + 3) // 4
    assert np.flatnonzero(words == 0xCED7230A).tolist() == starts


@given(
    label=st.one_of(
        st.floats(width=32, allow_nan=False),
        st.just(struct.unpack("<f", MAGIC)[0]),
        st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=4),
    ),
    record_id=st.sampled_from([0, 7, 0xCED7230A, 0xCED7230A << 32, 2**64 - 1]),
    payload=payloads,
)
@settings(max_examples=60)
def test_headers_survive_a_round_trip_even_if_they_hold_the_magic(
    tmp_path_factory: pytest.TempPathFactory, label: float | list[float], record_id: int, payload: bytes
) -> None:
    path = tmp_path_factory.mktemp("headers") / "x.rec"
    expected = np.array(label, np.float32)
    with RecordWriter(path) as writer:
        writer.write(3, Header(0, label if isinstance(label, float) else expected, record_id, 5), payload)
        writer.write(9, Header(0, 1.0), b"so that the record above is not the last one of the file")
    with RecordReader(path) as reader:
        header, read = reader.read(3)
        first = reader.read_first_labels(np.array([9, 3]))
    assert read == payload
    assert (header.flag, header.id, header.id2) == (expected.size if expected.ndim else 0, record_id, 5)
    np.testing.assert_array_equal(header.label, expected)
    np.testing.assert_array_equal(first, [1.0, expected.flat[0]])


@pytest.mark.parametrize("name", SAMPLES)
def test_first_labels_equal_those_of_single_reads(name: str) -> None:
    reader = RecordReader(ASSETS / f"{name}.rec")
    keys = np.random.default_rng(0).permutation(reader.keys)
    expected = [np.ravel(reader.read(key)[0].label)[0] for key in keys.tolist()]
    assert reader.read_first_labels(keys).tolist() == expected


def test_forked_and_spawned_processes_read_what_the_parent_reads() -> None:
    reader = RecordReader(ASSETS / "scalar.rec")
    keys = reader.keys.tolist() * 8
    expected = [reader.read_raw(key) for key in keys]
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        # A bound method carries the reader: it is pickled, and opened again over there.
        assert list(pool.map(reader.read_raw, keys)) == expected
    fork = multiprocessing.get_context("fork")
    queue = fork.SimpleQueue()

    def read_inherited(order: list[int]) -> None:
        queue.put([hashlib.sha256(reader.read_raw(key)).digest() for key in order] == digests)

    digests = [hashlib.sha256(record).digest() for record in expected]
    children = [fork.Process(target=read_inherited, args=(keys,)) for _ in range(2)]
    for child in children:
        child.start()
    # Read here at the same time: a shared file position would mix up all three.
    assert [reader.read_raw(key) for key in keys] == expected
    assert [queue.get() for _ in children] == [True, True]
    for child in children:
        child.join()


def test_a_pickled_reader_holds_its_path_only() -> None:
    reader = RecordReader(ASSETS / "scalar.rec")
    pickled = pickle.dumps(reader)
    assert len(pickled) < 1000
    assert pickle.loads(pickled).read(3)[1] == reader.read(3)[1]


def test_a_closed_reader_says_so() -> None:
    with RecordReader(ASSETS / "scalar.rec") as reader:
        pass
    reader.close()
    with pytest.raises(ValueError, match=r"scalar.rec: this reader is closed"):
        reader.read(1)


def test_an_absent_key_is_named() -> None:
    reader = RecordReader(ASSETS / "noheader.rec")
    for key in (0, 21):
        with pytest.raises(ValueError, match=rf"noheader.idx: no record {key}; .*between 1 and 20"):
            reader.read(key)
    with pytest.raises(ValueError, match="no record 77"):
        reader.offsets_of(np.array([3, 77]))


def cut_short(path: Path, num_bytes: int = 8) -> None:
    path.write_bytes(path.read_bytes()[:-num_bytes])


@pytest.mark.parametrize(
    ("damage", "key", "message"),
    [
        (cut_short, 25, r"x.rec: record 25 at offset \d+: .*end of the file at 88180.*copy it again"),
        (lambda path: cut_short(path, 36), 25, "record 25 at offset 88148: the file ends at 88152 inside"),
        (lambda path: replace_bytes(path, 4668, b"JUNK"), 2, "record 2 at offset 4668: starts with 4a554e4b"),
        (
            lambda path: replace_bytes(path, 4672, struct.pack("<I", 2 << 29 | 4)),
            2,
            "record 2 at offset 4668: part flag 2 after None",
        ),
        (
            lambda path: replace_bytes(path, 4672, struct.pack("<I", 1 << 29 | 4712)),
            2,
            "record 2 at offset 9388: part flag 1 after 1",
        ),
        (lambda path: replace_bytes(path, 4676, b"\xff\xff\xff\x0f"), 2, "announces 268435455 labels"),
        (lambda path: replace_bytes(path, 4672, struct.pack("<I", 8)), 2, "8 bytes, expected a header of 24"),
    ],
)
def test_a_damaged_record_is_named(
    damage: Callable[[Path], None], key: int, message: str, tmp_path: Path
) -> None:
    path = copy_sample("scalar", tmp_path)
    damage(path)
    reader = RecordReader(path)
    with pytest.raises(ValueError, match=message):
        reader.read(key)
    with pytest.raises(ValueError, match=message):
        reader.read_first_labels(np.array([1, key]))
    assert reader.read(1)[0].id == 1


def test_an_index_beyond_the_file_is_refused_at_once(tmp_path: Path) -> None:
    path = copy_sample("scalar", tmp_path)
    path.write_bytes(path.read_bytes()[:50000])
    with pytest.raises(
        ValueError, match=r"x.idx: key 13 starts at offset 51032, but x.rec ends at 50000 \(13 such"
    ):
        RecordReader(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"0\t0\n1 40\n", ":2: b'1 40'"),
        (b"0\t0\n1\t40\tx\n", r":2: b'1\\t40\\tx'"),
        (b"0\t0\n1\t40\n2\t4668\nthree\t9388\n", r"x\.idx:4: "),
        (b"0\t0\n1\t\n", r":2: b'1\\t'"),
        (b"-1\t0\n", r"x\.idx:1: "),
        (b"0\t0\n1.5\t40\n", r"x\.idx:2: "),
        (b"0\t99999999999999999999\n", r"x\.idx:1: "),
        (b"\xff\xfe0\t0\n", r"x\.idx:1: "),
        (b"0\t0\n1\t40\n1\t4668\n", "key 1 stands 2 times"),
    ],
)
def test_a_malformed_index_is_refused(text: bytes, message: str, tmp_path: Path) -> None:
    path = copy_sample("scalar", tmp_path)
    path.with_suffix(".idx").write_bytes(text)
    with pytest.raises(ValueError, match=message) as caught:
        RecordReader(path)
    assert "x.idx:" in str(caught.value)
    assert "make_rec.py --index" in str(caught.value)


def test_an_index_may_be_unsorted_have_gaps_and_windows_lines(tmp_path: Path) -> None:
    path = copy_sample("scalar", tmp_path)
    path.with_suffix(".idx").write_bytes(b"8\t27980\r\n3\t9388\r\n1\t40")
    reader = RecordReader(path)
    assert reader.keys.tolist() == [1, 3, 8]
    assert [reader.read(key)[0].id for key in (8, 1, 3)] == [8, 1, 3]
    for absent in (0, 2, 9):
        with pytest.raises(ValueError, match=f"no record {absent}; its 3 keys"):
            reader.read(absent)


def test_a_missing_index_is_named_with_its_remedy(tmp_path: Path) -> None:
    path = copy_sample("scalar", tmp_path)
    path.with_suffix(".idx").unlink()
    with pytest.raises(FileNotFoundError, match=r"x.idx: not found; .*tools/make_rec.py --index .*x.rec"):
        RecordReader(path)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_rebuilt_index_equals_mxnets(name: str, tmp_path: Path) -> None:
    path = copy_sample(name, tmp_path)
    path.with_suffix(".idx").unlink()
    assert rebuild_index(path) == len(META[name])
    assert path.with_suffix(".idx").read_bytes() == (ASSETS / f"{name}.idx").read_bytes()


def test_records_without_distinct_ids_are_counted_from_0(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records = [b"first, long enough to look like a header", MAGIC * 9, b"", b"short"]
    with RecordWriter(tmp_path / "x.rec") as writer:
        for key, record in enumerate(records):
            writer.write_raw(key + 10, record)
    assert rebuild_index(tmp_path / "x.rec") == 4
    assert "counted from 0" in caplog.text
    reader = RecordReader(tmp_path / "x.rec")
    assert [reader.read_raw(key) for key in range(4)] == records


def test_rebuilding_from_a_damaged_file_leaves_the_old_index(tmp_path: Path) -> None:
    path = copy_sample("scalar", tmp_path)
    replace_bytes(path, 9388, b"JUNK")
    with pytest.raises(ValueError, match="record number 3 at offset 9388"):
        rebuild_index(path)
    assert path.with_suffix(".idx").read_bytes() == (ASSETS / "scalar.idx").read_bytes()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["x.idx", "x.rec"]


def test_a_failed_write_leaves_the_old_files_and_nothing_else(tmp_path: Path) -> None:
    path = copy_sample("scalar", tmp_path)
    before = path.read_bytes()

    def write(keys: list[int], *, interrupted: bool = False) -> None:
        with RecordWriter(path) as writer:
            for key in keys:
                writer.write_raw(key, b"new")
            if interrupted:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write([0], interrupted=True)
    with pytest.raises(ValueError, match="key 4 stands 2 times"):
        write([4, 4])
    with pytest.raises(ValueError, match="key -1, expected 0 or more"):
        write([0, -1])
    assert path.read_bytes() == before
    assert sorted(item.name for item in tmp_path.iterdir()) == ["x.idx", "x.rec"]


def test_the_writer_wants_a_rec_ending(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected '\.rec'"):
        RecordWriter(tmp_path / "x.bin")
    assert not list(tmp_path.iterdir())


def test_an_empty_record_file_has_no_records(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "x.rec"):
        pass
    reader = RecordReader(tmp_path / "x.rec")
    assert len(reader) == 0
    assert reader.keys.tolist() == []
    with pytest.raises(ValueError, match="no record 0; the index is empty"):
        reader.read(0)
    assert rebuild_index(tmp_path / "x.rec") == 0
