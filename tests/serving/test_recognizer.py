"""The recogniser against the networks themselves, on both backends and a bundle, in threads and inside insightface."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from btnet.data.views import normalise
from btnet.images.resize import resize
from btnet.inference import Recognizer
from btnet.interop.face_analysis import RecognitionModel
from btnet.interop.onnx import export_onnx
from btnet.interop.onnx_bundle import TRUNK_DATA, export_bundle
from btnet.method.btnet import BTNet
from btnet.serving.alignment import TEMPLATE, align_face
from btnet.serving.face_model import FaceModel
from btnet.serving.selection import INDICATORS, RULES
from tiny_models import CANONICAL, crops_of, tiny_btnet, tiny_trunk

SIZES = [
    (4, 4),
    (112, 90),
    (13, 14),
    (7, 5),
    (29, 3 * 29),
    (8, 8),
    (28, 28),
    (250, 200),
    (7, 7),
    (14, 9),
    (14, 14),
]
EXPECTED = [7, 112, 14, 7, 112, 14, 28, 112, 7, 14, 14]


@pytest.fixture(scope="module")
def model() -> BTNet:
    return tiny_btnet(interpolation="area")


@pytest.fixture(scope="module")
def folder(model: BTNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run")
    model.save(path)
    (path / "onnx").mkdir()
    for resolution in (CANONICAL, *model.resolutions):
        export_onnx(model, path / "onnx" / f"embed_r{resolution}.onnx", resolution=resolution)
    return path


@pytest.fixture(scope="module")
def bundle(model: BTNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    export_bundle(model, folder)
    return folder


@pytest.fixture(scope="module", params=["torch", "onnxruntime", "bundle"])
def recognizer(request: pytest.FixtureRequest, folder: Path, bundle: Path) -> Recognizer:
    if request.param == "bundle":
        return Recognizer.load(bundle, backend="onnxruntime", batch_size=3)
    return Recognizer.load(folder, backend=request.param, device="cpu", batch_size=3)


def unit(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(embeddings / np.linalg.norm(embeddings, axis=-1, keepdims=True), np.float32)


def one_by_one(
    model: BTNet, crops: list[NDArray[np.uint8]], resolutions: list[int], *, mirror: bool = False
) -> NDArray[np.float32]:
    rows = []
    for crop, resolution in zip(crops, resolutions, strict=True):
        view = resize(torch.from_numpy(crop).permute(2, 0, 1)[None], resolution, model.interpolation)
        x = normalise(view)
        with torch.no_grad():
            network = model.network(resolution)
            rows.append(network(x) + network(x.flip(-1)) if mirror else network(x))
    return np.asarray(torch.cat(rows).numpy(), np.float32)


def test_each_crop_is_embedded_by_the_network_of_its_size_and_order_is_kept(
    recognizer: Recognizer, model: BTNet
) -> None:
    crops = crops_of(SIZES)
    done: list[int] = []
    found = recognizer.embed(crops, progress=done.append)
    assert found.dtype == np.float32
    assert [recognizer.resolution_of(*size) for size in SIZES] == EXPECTED
    np.testing.assert_allclose(unit(found), unit(one_by_one(model, crops, EXPECTED)), atol=1e-5)
    # Three crops a batch: 3 + 1 at 14 px, 3 at 7 and at 112 px, 1 at 28.
    assert sorted(done) == [1, 1, 3, 3, 3]


def test_both_backends_agree_and_know_their_trunk(folder: Path, bundle: Path, model: BTNet) -> None:
    crops = crops_of(SIZES, seed=1)
    one = Recognizer.load(folder, device="cpu")
    # A folder of ONNX files alone will do.
    for path in (folder, folder / "onnx", bundle):
        other = Recognizer.load(path, "onnxruntime")
        np.testing.assert_allclose(unit(one.embed(crops)), unit(other.embed(crops)), atol=1e-5)
        assert one.trunk_fingerprint == other.trunk_fingerprint == model.trunk_fingerprint()
        assert one.resolutions == other.resolutions == (112, 28, 14, 7)
        assert one.model.views == other.model.views == "area"
        assert one.embedding_size == other.embedding_size == 16


def test_a_bundle_whose_shared_weights_were_damaged_is_refused(bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    content = bytearray((copy / TRUNK_DATA).read_bytes())
    content[len(content) // 2] ^= 64
    (copy / TRUNK_DATA).write_bytes(content)
    with pytest.raises(ValueError, match=r"trunk\.data: is not the file that btnet\.json lists"):
        Recognizer.load(copy, "onnxruntime")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("indicator", INDICATORS)
def test_indicator_and_rule_are_the_users(model: BTNet, indicator: str, rule: str) -> None:
    recognizer = Recognizer(FaceModel.of(model, "phi_bt"), indicator=indicator, rule=rule)
    crops = crops_of([(10, 25)])
    size = {"max": 25, "min": 10, "avg": 17}[indicator]
    expected = {
        "floor": max(r for r in (112, 28, 14, 7) if r <= size),
        "ceil": min(r for r in (112, 28, 14, 7) if r >= size),
        "near": min((112, 28, 14, 7), key=lambda r: (abs(r - size), r)),
    }[rule]
    assert recognizer.resolution_of(10, 25) == expected
    np.testing.assert_allclose(recognizer.embed(crops), one_by_one(model, crops, [expected]), atol=1e-5)


def test_mirroring_adds_the_mirror_images_embedding(folder: Path, model: BTNet) -> None:
    crops = crops_of(SIZES)
    expected = one_by_one(model, crops, EXPECTED, mirror=True)
    for backend in ("torch", "onnxruntime"):
        found = Recognizer.load(folder, backend, device="cpu", mirror=True).embed(crops)
        np.testing.assert_allclose(unit(found), unit(expected), atol=1e-5)
    mirrored = Recognizer.load(folder, mirror=True).embed([crop[:, ::-1] for crop in crops])
    np.testing.assert_allclose(unit(mirrored), unit(expected), atol=1e-5)


def test_grey_and_rgba_crops_are_taken_as_image_files_are(recognizer: Recognizer) -> None:
    [crop] = crops_of([(14, 14)])
    grey = crop[:, :, 0]
    alpha = np.dstack([crop, np.full((14, 14), 7, np.uint8)])
    found = recognizer.embed([grey, grey[:, :, None], np.dstack([grey] * 3)])
    np.testing.assert_allclose(found[0], found[2], rtol=1e-5)
    np.testing.assert_allclose(found[1], found[2], rtol=1e-5)
    np.testing.assert_allclose(recognizer.embed([alpha]), recognizer.embed([crop]), rtol=1e-5)


def test_no_crop_and_no_face_give_no_embedding(recognizer: Recognizer) -> None:
    frame = np.zeros((50, 60, 3), np.uint8)
    for found in (
        recognizer.embed([]),
        recognizer.embed(np.empty((0, 9, 9, 3), np.uint8)),
        recognizer.embed_faces(frame, []),
        recognizer.embed_faces(frame, np.empty((0, 5, 2), np.float32)),
    ):
        assert found.shape == (0, 16)
        assert found.dtype == np.float32


BAD_CROPS: dict[str, Any] = {
    "face 1 is 2 x 2 px, expected at least 4 x 4": np.zeros((2, 2, 3), np.uint8),
    "face 1 is 9 x 3 px": np.zeros((3, 9, 3), np.uint8),
    r"uint16 \[9, 9, 3\], expected uint8 .* >> 8": np.zeros((9, 9, 3), np.uint16),
    r"float32 \[9, 9, 3\], expected uint8 .* 255": np.zeros((9, 9, 3), np.float32),
    r"face 1 is uint8 \[9, 9, 2\], expected RGB": np.zeros((9, 9, 2), np.uint8),
    r"face 1 is uint8 \[3\]": np.zeros(3, np.uint8),
    "face 1 is a NoneType": None,
}


@pytest.mark.parametrize("message", BAD_CROPS)
def test_what_is_no_crop_is_named_and_refused(recognizer: Recognizer, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recognizer.embed([*crops_of([(9, 9)]), BAD_CROPS[message]])


def test_a_single_crop_without_its_list_is_not_taken_for_many(recognizer: Recognizer) -> None:
    with pytest.raises(ValueError, match=r"one ndarray \[9, 9, 3\]; give a list"):
        recognizer.embed(crops_of([(9, 9)])[0])


def test_faces_of_a_frame_are_cut_at_the_size_of_their_network(recognizer: Recognizer, model: BTNet) -> None:
    frame = crops_of([(300, 240)])[0]
    scales = [6.5 / 112, 2.0, 14.3 / 112, 27 / 112, 1.2 / 4]
    landmarks = np.stack([TEMPLATE * scale + 20 for scale in scales])
    expected = [7, 112, 14, 28, 112]  # 33.6 px is above the largest branch: the trunk
    # The trunk's crops are insightface's; branches' are sampled as their training views were.
    crops = [
        align_face(frame, points, size, "bilinear" if size == CANONICAL else "area")
        for points, size in zip(landmarks, expected, strict=True)
    ]
    assert [crop.shape[0] for crop in recognizer.align(frame, landmarks)] == expected
    found = recognizer.embed_faces(frame, landmarks)
    np.testing.assert_allclose(unit(found), unit(one_by_one(model, crops, expected)), atol=1e-5)


def test_a_face_without_landmarks_is_named(recognizer: Recognizer) -> None:
    frame = np.zeros((200, 200, 3), np.uint8)
    with pytest.raises(ValueError, match=r"face 1: landmarks .* not finite"):
        recognizer.embed_faces(frame, np.stack([TEMPLATE, np.full((5, 2), np.nan)]))
    with pytest.raises(ValueError, match="frame is float64"):
        recognizer.embed_faces(np.zeros((200, 200, 3)), [TEMPLATE])  # type: ignore[arg-type]


def test_landmarks_in_a_wrong_order_are_named_at_every_entry(recognizer: Recognizer) -> None:
    frame = np.zeros((200, 200, 3), np.uint8)
    mixed = TEMPLATE[[1, 0, 2, 3, 4]]
    for entry in (recognizer.align, recognizer.embed_faces):
        with pytest.raises(ValueError, match=r"face 1: landmarks .* look like eyes exchanged"):
            entry(frame, [TEMPLATE, mixed])
    with pytest.raises(ValueError, match="look like eyes exchanged"):
        RecognitionModel(recognizer).get(frame, SimpleNamespace(kps=mixed))


def test_threads_share_one_recogniser(recognizer: Recognizer) -> None:
    batches = [crops_of(SIZES[start:] + SIZES[:start], seed=start) for start in range(8)]
    alone = [recognizer.embed(crops) for crops in batches]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(recognizer.embed, batches * 3))
    for found, expected in zip(together, alone * 3, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_trunk_alone_embeds_every_size(tmp_path: Path) -> None:
    trunk = tiny_trunk()
    torch.save(trunk.state_dict(), tmp_path / "trunk.pt")
    recognizer = Recognizer.load(tmp_path / "trunk.pt", device="cpu")
    crops = crops_of([(7, 7), (112, 112)])
    with torch.no_grad():
        views = torch.from_numpy(np.stack([resize(crop, CANONICAL) for crop in crops])).permute(0, 3, 1, 2)
        expected = trunk(normalise(views)).numpy()
    np.testing.assert_allclose(recognizer.embed(crops), expected, rtol=1e-4, atol=1e-5)


def test_networks_of_different_trunks_are_refused(folder: Path, tmp_path: Path) -> None:
    other = tiny_btnet(seed=1, resolutions=(14,), interpolation="area")
    mixed = tmp_path / "onnx"
    mixed.mkdir()
    (mixed / "embed_r112.onnx").write_bytes((folder / "onnx" / "embed_r112.onnx").read_bytes())
    export_onnx(other, mixed / "embed_r14.onnx", resolution=14)
    with pytest.raises(ValueError, match=r"embed_r14.onnx has trunk_fingerprint .* export all networks"):
        Recognizer.load(mixed, "onnxruntime")
    run = tmp_path / "run"
    tiny_btnet(resolutions=(14,)).save(run)
    other.overlay(14).save(run / "overlay_r14.safetensors")
    with pytest.raises(ValueError, match=r"r14.*trained on trunk"):
        Recognizer.load(run)


def test_onnx_files_of_a_trunk_that_has_been_replaced_are_refused(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    tiny_btnet(seed=1).save(run)
    (run / "onnx").mkdir()
    for path in (folder / "onnx").iterdir():
        (run / "onnx" / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match=r"of trunk .* the folder's manifest names .* export"):
        Recognizer.load(run, "onnxruntime")


def test_a_corrupt_onnx_file_and_one_of_another_origin_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no embed_rX\.onnx; write them with `btnet export-onnx`"):
        Recognizer.load(tmp_path, "onnxruntime")
    (tmp_path / "embed_r14.onnx").write_bytes((folder / "onnx" / "embed_r14.onnx").read_bytes()[:500])
    with pytest.raises(ValueError, match=r"embed_r14\.onnx: not a whole ONNX file"):
        Recognizer.load(tmp_path, "onnxruntime")
    (tmp_path / "embed_r14.onnx").write_bytes((folder / "onnx" / "embed_r28.onnx").read_bytes())
    with pytest.raises(ValueError, match=r"expected data \[N, 3, 14, 14\]"):
        Recognizer.load(tmp_path, "onnxruntime")
    (tmp_path / "embed_r14.onnx").unlink()
    (tmp_path / "embed_r28.onnx").write_bytes((folder / "onnx" / "embed_r28.onnx").read_bytes())
    with pytest.raises(ValueError, match=r"no network for the trunk's 112 px"):
        Recognizer.load(tmp_path, "onnxruntime")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "tensorrt"}, "backend 'tensorrt' is unknown; choose one of torch, onnxruntime"),
        ({"device": "gpu"}, "device 'gpu' is unknown to torch"),
        ({"backend": "onnxruntime", "device": "cuda"}, "runs on the CPU"),
        ({"rule": "round"}, "selection rule 'round' is unknown"),
        ({"indicator": "area"}, "indicator 'area' is unknown"),
        ({"batch_size": 0}, "batch size 0"),
    ],
)
def test_options_that_do_not_exist_are_refused(folder: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recognizer.load(folder, **options)


def test_a_network_of_one_low_resolution_is_no_recogniser() -> None:
    network = tiny_btnet(resolutions=(14,)).detached(14)
    with pytest.raises(ValueError, match="phi_14 takes 14 px faces only; a recogniser needs a trunk"):
        Recognizer(FaceModel.of(network, "phi_14"))


def test_inside_insightfaces_own_face_analysis(model: BTNet) -> None:
    """The real `FaceAnalysis.get`, with a detector that knows where the faces are: it ships none."""
    face_analysis = pytest.importorskip("insightface.app.face_analysis")
    recognizer = Recognizer(FaceModel.of(model, "phi_bt"))
    frame = crops_of([(300, 240)])[0]
    landmarks = np.stack([TEMPLATE * scale + 20 for scale in (6.5 / 112, 1.5)]).astype(np.float32)

    class Detector:
        def detect(self, img: Any, **_: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            boxes = [[*points.min(axis=0), *points.max(axis=0), 0.9] for points in landmarks]
            return np.array(boxes, np.float32), landmarks

        def prepare(self, *_: Any, **__: Any) -> None:
            pass

    app = face_analysis.FaceAnalysis.__new__(face_analysis.FaceAnalysis)
    app.addons = {}
    app.det_model = Detector()
    app.models = {"detection": app.det_model, "recognition": RecognitionModel(recognizer)}
    app.prepare(ctx_id=-1)
    faces = app.get(np.ascontiguousarray(frame[:, :, ::-1]))
    expected = recognizer.embed_faces(frame, landmarks)
    assert len(faces) == 2
    for face, embedding in zip(faces, expected, strict=True):
        np.testing.assert_allclose(face.embedding, embedding, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(face.normed_embedding, unit(embedding), rtol=1e-3, atol=1e-5)
    recognition = app.models["recognition"]
    first, second = faces
    assert recognition.compute_sim(first.embedding, second.embedding) == pytest.approx(
        float(unit(expected[0]) @ unit(expected[1])), abs=1e-4
    )
    crops = crops_of([(14, 14), (50, 60)])
    found = recognition.get_feat([crop[:, :, ::-1] for crop in crops])
    np.testing.assert_allclose(found, recognizer.embed(crops), rtol=1e-4, atol=1e-5)
    face = face_analysis.Face(bbox=np.zeros(4), kps=None)
    with pytest.raises(ValueError, match=r"the face has no landmarks \(kps\)"):
        recognition.get(frame, face)
    landmarks = landmarks[:0]
    assert app.get(frame) == []
