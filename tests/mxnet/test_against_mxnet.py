"""Both directions against MXNet itself; runs in the environment of requirements-mxnet.txt."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from btnet.data.record_faces import RecordFaces, write_record_faces
from btnet.data.record_index import rebuild_index
from btnet.data.recordio import Header, RecordReader, RecordWriter
from btnet.images.codec import encode_jpeg

mxnet_recordio: Any = pytest.importorskip(
    "mxnet.recordio", reason="needs MXNet 1.9.1: make test-mxnet builds its environment"
)

MAGIC = bytes.fromhex("0a23d7ce")
MAGIC_LABEL = float(np.frombuffer(MAGIC, "<f4")[0])

payloads = st.lists(
    st.sampled_from([MAGIC, MAGIC, MAGIC[:2], b"\0", b"abc", b"\xff\xd8\xff\xe0", b"0123456789"]), max_size=16
).map(b"".join)
floats = st.one_of(st.floats(width=32, allow_nan=False), st.just(MAGIC_LABEL))
labels = st.one_of(floats, st.lists(floats, min_size=1, max_size=5))
ids = st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0xCED7230A, 0xCED7230A << 32]))
records = st.lists(st.tuples(labels, ids, ids, payloads), min_size=1, max_size=6)
many = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])

Record = tuple[float | list[float], int, int, bytes]


def label_array(label: float | list[float]) -> Any:
    return label if isinstance(label, float) else np.array(label, np.float32)


def write_with_mxnet(path: Path, keys: list[int], content: list[Record]) -> None:
    writer = mxnet_recordio.MXIndexedRecordIO(str(path.with_suffix(".idx")), str(path), "w")
    for key, (label, id_, id2, payload) in zip(keys, content, strict=True):
        header = mxnet_recordio.IRHeader(0, label_array(label), id_, id2)
        writer.write_idx(key, mxnet_recordio.pack(header, payload))
    writer.close()


@many
@given(content=records, data=st.data())
def test_both_write_the_same_bytes_and_read_each_others_files(
    tmp_path: Path, content: list[Record], data: st.DataObject
) -> None:
    keys = data.draw(
        st.lists(st.integers(0, 10**9), min_size=len(content), max_size=len(content), unique=True)
    )
    ours, theirs = tmp_path / "ours.rec", tmp_path / "theirs.rec"
    write_with_mxnet(theirs, keys, content)
    with RecordWriter(ours) as writer:
        for key, (label, id_, id2, payload) in zip(keys, content, strict=True):
            writer.write(key, Header(0, label_array(label), id_, id2), payload)
    assert ours.read_bytes() == theirs.read_bytes()
    assert ours.with_suffix(".idx").read_bytes() == theirs.with_suffix(".idx").read_bytes()

    mxnet_reader = mxnet_recordio.MXIndexedRecordIO(str(ours.with_suffix(".idx")), str(ours), "r")
    with RecordReader(theirs) as reader:
        first_labels = reader.read_first_labels(np.array(keys))
        for position, (key, (label, id_, id2, payload)) in enumerate(zip(keys, content, strict=True)):
            header, read = reader.read(key)
            mxnet_header, mxnet_read = mxnet_recordio.unpack(mxnet_reader.read_idx(key))
            assert read == mxnet_read == payload
            assert (header.id, header.id2) == (mxnet_header.id, mxnet_header.id2) == (id_, id2)
            assert header.flag == mxnet_header.flag
            np.testing.assert_array_equal(header.label, mxnet_header.label)
            np.testing.assert_array_equal(header.label, np.array(label, np.float32))
            assert first_labels[position] == np.ravel(mxnet_header.label)[0]
    mxnet_reader.close()


@many
@given(raw=st.lists(payloads, min_size=1, max_size=6))
def test_records_without_a_header_agree_too(tmp_path: Path, raw: list[bytes]) -> None:
    ours, theirs = tmp_path / "ours.rec", tmp_path / "theirs.rec"
    writer = mxnet_recordio.MXIndexedRecordIO(str(theirs.with_suffix(".idx")), str(theirs), "w")
    for key, record in enumerate(raw):
        writer.write_idx(key, record)
    writer.close()
    with RecordWriter(ours) as our_writer:
        for key, record in enumerate(raw):
            our_writer.write_raw(key, record)
    assert ours.read_bytes() == theirs.read_bytes()
    theirs.with_suffix(".idx").unlink()
    assert rebuild_index(theirs) == len(raw)
    with RecordReader(theirs) as reader:
        assert [reader.read_raw(key) for key in reader.keys.tolist()] == raw


def test_a_training_set_of_ours_reads_as_arcface_torch_reads_it(tmp_path: Path) -> None:
    """The steps of arcface_torch's MXFaceDataset, in its words."""
    images = [np.full((112, 112, 3), 20 * shade, np.uint8) for shade in range(5)]
    write_record_faces(tmp_path / "train.rec", [0, 0, 1, 2, 2], [encode_jpeg(image) for image in images])
    imgrec = mxnet_recordio.MXIndexedRecordIO(str(tmp_path / "train.idx"), str(tmp_path / "train.rec"), "r")
    header, _ = mxnet_recordio.unpack(imgrec.read_idx(0))
    assert header.flag > 0
    imgidx = np.array(range(1, int(header.label[0])))
    assert len(imgidx) == 5
    faces = RecordFaces(tmp_path / "train.rec")
    for index, key in enumerate(imgidx):
        header, image = mxnet_recordio.unpack_img(imgrec.read_idx(int(key)))
        assert header.label == faces[index][1]
        np.testing.assert_array_equal(image[:, :, ::-1], faces[index][0])
    imgrec.close()
