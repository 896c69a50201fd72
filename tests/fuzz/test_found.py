"""Inputs that once ended a process, filled its memory, ran for ever or were taken for something else."""

from __future__ import annotations

import io
import json
import os
import re
import struct
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from btnet.backbones.trunk_file import load_trunk, write_weights
from btnet.data.bin_sets import read_bin
from btnet.data.record_faces import RecordFaces
from btnet.data.record_index import index_path
from btnet.data.recordio import Header, RecordWriter
from btnet.data.shard_index import write_index
from btnet.images.codec import CorruptImageError, decode_image, encode_jpeg, encode_png
from btnet.interop.onnx_trunk import import_onnx
from btnet.loss.classifier_file import load_classifier, save_classifier
from btnet.method.btnet import BTNet
from btnet.public_sets.mat_lists import read_names_and_ids
from btnet.serving.gallery import Gallery
from btnet.serving.loading import load_model
from btnet.training.config_file import load_config
from fuzzing.arrays import bomb as gallery_bomb
from fuzzing.arrays import hostile_galleries
from fuzzing.documents import CONFIGS
from fuzzing.graphs import graph_of, hostile_graphs
from fuzzing.pickles import hostile_pickles
from fuzzing.weights import bomb as archive_bomb
from fuzzing.weights import hostile_archives, tiny_trunk

FACE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", hostile_pickles())
def test_a_hostile_pickle_is_refused_and_runs_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set.bin").write_bytes(hostile_pickles()[name])
    with pytest.raises(ValueError, match=r"set\.bin: "):
        read_bin(tmp_path / "set.bin")
    assert os.listdir(tmp_path) == ["set.bin"]


@pytest.mark.parametrize("name", [*hostile_archives(), "bomb"])
def test_a_hostile_archive_of_weights_is_refused_and_runs_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.pt").write_bytes(archive_bomb() if name == "bomb" else hostile_archives()[name])
    with pytest.raises(ValueError, match=r"model\.pt: "):
        load_trunk(tmp_path / "model.pt")
    assert os.listdir(tmp_path) == ["model.pt"]


def test_a_flipped_bit_in_a_trunks_weights_is_noticed(tmp_path: Path) -> None:
    write_weights(tmp_path / "model.pt", tiny_trunk().state_dict())
    content = bytearray((tmp_path / "model.pt").read_bytes())
    weight = tiny_trunk().fc.weight.detach().numpy().tobytes()
    content[content.index(weight) + 3] ^= 1
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.pt: .*does not match its checksum"):
        load_trunk(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("key", "tensor"),
    [
        ("fc.weight", torch.zeros(1).expand(1 << 20, 64)),  # no bytes, any size
        ("layer1.0.conv1.weight", torch.zeros(1 << 20, 1, 1, 1)),  # a stage of a million channels
        ("layer1.99999999.conv1.weight", torch.zeros(1)),  # a stage of so many units
        ("fc.weight", torch.zeros(4, 0)),
        ("layer4.0.conv1.weight", torch.zeros(0, 3, 3, 3)),
        ("fc.weight", torch.zeros(4)),
    ],
)
def test_shapes_that_announce_another_network_build_none(key: str, tensor: Any, tmp_path: Path) -> None:
    torch.save({**tiny_trunk().state_dict(), key: tensor}, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"model\.pt"):
        load_trunk(tmp_path / "model.pt")


def test_an_image_that_announces_gigabytes_is_not_begun() -> None:
    png = bytearray(encode_png(FACE))
    png[16:24] = struct.pack(">II", 50_000, 50_000)
    png[29:33] = struct.pack(">I", zlib.crc32(png[12:29]))
    jpeg = bytearray(encode_jpeg(FACE))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = b"\x40\0\x40\0"
    for data in (png, jpeg):
        with pytest.raises(CorruptImageError, match=r"here: .*announces \d+ x \d+ px"):
            decode_image(bytes(data), "here")


@pytest.mark.parametrize("encode", [encode_jpeg, encode_png])
def test_an_image_that_was_cut_short_is_not_filled_with_grey(encode: Any) -> None:
    data = encode(np.kron(FACE, np.ones((4, 4, 1), np.uint8)))
    assert decode_image(data, "here").shape == (64, 64, 3)
    for end in (len(data) - 2, len(data) // 2):
        with pytest.raises(CorruptImageError, match=r"cut short|[Pp]remature end"):
            decode_image(data[:end], "here")


@pytest.mark.parametrize("header", [b"GIF89a", b"II*\0", b"#?RADIANCE", b"P6 1 1 255 "])
def test_kinds_no_face_comes_in_reach_no_decoder(header: bytes) -> None:
    with pytest.raises(CorruptImageError, match="expected JPEG, PNG, BMP or WebP"):
        decode_image(header + bytes(100), "here")


def test_a_set_that_names_one_image_many_times_is_not_unfolded(tmp_path: Path) -> None:
    (tmp_path / "set.bin").write_bytes(hostile_pickles()["bytes by memo"])
    with pytest.raises(ValueError, match="names the same image many times"):
        read_bin(tmp_path / "set.bin")


@pytest.mark.parametrize("label", [float("nan"), 2.0**24, 1e30, -1.0, 0.5])
def test_a_label_that_float32_cannot_hold_makes_no_classes(label: float, tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "x.rec") as writer:
        writer.write(1, Header(0, label, 1), encode_png(FACE))
    with pytest.raises(ValueError, match=r"x\.rec: record 1: label"):
        RecordFaces(tmp_path / "x.rec")


def test_a_first_record_of_no_numbers_is_refused(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "x.rec") as writer:
        writer.write(0, Header(2, np.array([np.nan, np.inf], np.float32)), b"")
    with pytest.raises(ValueError, match=r"x\.rec: record 0 announces"):
        RecordFaces(tmp_path / "x.rec")


def test_an_index_cannot_point_between_records(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "x.rec") as writer:
        writer.write(0, Header(0, 0.0), encode_png(FACE))
    index_path(tmp_path / "x.rec").write_text("0\t2\n")
    with pytest.raises(ValueError, match="multiples of 4"):
        RecordFaces(tmp_path / "x.rec")


def test_a_label_file_of_any_size_is_read_for_a_few_bytes(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, data in (("a.png", encode_png(FACE)), ("a.cls", b"0" * (1 << 20))):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    with pytest.raises(ValueError, match=r"a\.cls: b'0+', expected the label in at most 9 digits"):
        write_index(tmp_path / "x.json", [str(tmp_path / "x.tar")])


@pytest.mark.parametrize("kind", ["announces", "pickled", "bomb"])
def test_a_gallery_takes_no_more_than_its_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "g.npz"
    Gallery(np.ones((2, 4), np.float32), ("a", "b"), np.array([7, 7]), "t").save(path)
    whole = path.read_bytes()
    path.write_bytes(gallery_bomb(whole) if kind == "bomb" else hostile_galleries(whole)[kind])
    with pytest.raises(
        ValueError, match=r"g\.npz: not a whole gallery file .*embeddings (announces|is compressed)"
    ):
        Gallery.load(path)


def test_a_member_cannot_claim_more_stored_bytes_than_the_archive_has(tmp_path: Path) -> None:
    path = tmp_path / "g.npz"
    Gallery(np.ones((2, 4), np.float32), ("a", "b"), np.array([7, 7]), "t").save(path)
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 20 : entry + 24] = b"\xf0\xff\xff\xff"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"g\.npz: .*is compressed or larger than the file"):
        Gallery.load(path)


@pytest.mark.parametrize(
    "value",
    [
        "[" * 100_000,
        "-" * 100_000 + "1",
        "9" * 6000,
        "0x" + "f" * 5000,
        "1e999",
        "{[]: 1}",
        "(" * 3000 + "1" + ",)" * 3000,
    ],
)
def test_a_setting_is_data_however_it_is_written(value: str) -> None:
    with pytest.raises(ValueError, match=r"--set lr="):
        load_config(CONFIGS / "demo_hr", [f"lr={value}"])
    with pytest.raises(ValueError, match=r"--set batch_size="):
        load_config(CONFIGS / "demo_hr", [f"batch_size={value}"])


def test_a_matlab_list_reads_as_scipy_reads_it_and_damage_does_not_end_the_process(tmp_path: Path) -> None:
    from scipy.io import savemat

    path = tmp_path / "list.mat"
    names = np.array([f"größe_{i}.jpg" for i in range(4)], dtype=object)[:, None]
    for compressed in (False, True):
        savemat(
            path, {"set": names, "ids": np.arange(4)[:, None], "other": {"a": 1}}, do_compression=compressed
        )
        found, ids = read_names_and_ids(path, "set", "ids")
        assert (found, ids.tolist()) == ([str(name) for name in names[:, 0]], [0, 1, 2, 3])
    savemat(path, {"set": names, "ids": np.arange(4)[:, None]})
    content = path.read_bytes()
    for place in range(128, len(content)):
        damaged = bytearray(content)
        damaged[place] = 0xFF
        path.write_bytes(damaged)
        try:
            read_names_and_ids(path, "set", "ids")
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017 (some bytes are letters of a name)


def test_nodes_beside_the_network_are_not_run_when_a_trunk_is_imported(tmp_path: Path) -> None:
    trunk = tiny_trunk()
    for name, model in hostile_graphs(graph_of(trunk)).items():
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(model.SerializeToString())
        if name in ("outside", "absolute", "absent"):
            with pytest.raises(ValueError, match=rf"{name}\.onnx: not a whole ONNX file"):
                import_onnx(path)
        else:
            imported = import_onnx(path, colour_order="RGB", input_mean=127.5, input_std=127.5)
            state = imported.trunk.state_dict()
            assert all(
                torch.equal(state[key], value)
                for key, value in trunk.state_dict().items()
                if "num_b" not in key
            )


def test_a_recogniser_runs_no_operator_that_an_export_does_not_have(tmp_path: Path) -> None:
    path = tmp_path / "embed_r16.onnx"
    for name, model in hostile_graphs(graph_of(tiny_trunk())).items():
        path.write_bytes(model.SerializeToString())
        reason = (
            "onnxruntime cannot read it" if name in ("outside", "absolute", "absent") else "has the operator"
        )
        with pytest.raises(ValueError, match=rf"embed_r16\.onnx: {reason}"):
            load_model(tmp_path, "onnxruntime")


def test_a_name_for_two_classes_is_refused_on_reading_too(tmp_path: Path) -> None:
    path = tmp_path / "classifier.safetensors"
    save_classifier(path, torch.zeros(2, 3), ["ab", "ac"], trunk_fingerprint="t", data_fingerprint="d")
    path.write_bytes(path.read_bytes().replace(b"ac", b"ab"))
    with pytest.raises(ValueError, match="occurs twice"):
        load_classifier(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("resolutions", [None]),
        ("resolutions", 4),
        ("arch", []),
        ("trunk_fingerprint", 1),
        ("resolutions", [5]),
    ],
)
def test_a_manifest_of_other_types_names_the_folder(key: str, value: Any, tmp_path: Path) -> None:
    BTNet(tiny_trunk(), (4,)).save(tmp_path)
    manifest = json.loads((tmp_path / "btnet.json").read_text())
    (tmp_path / "btnet.json").write_text(json.dumps({**manifest, key: value}))
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(str(tmp_path))):
        BTNet.load(tmp_path)
