"""`embed_images` against the same path written out with OpenCV, and what a caller relies on."""

from __future__ import annotations

import warnings

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from btnet.backbones.iresnet import IResNet
from btnet.method.btnet import BTNet
from btnet.serving.embedding import embed_images

CANONICAL = 112


@pytest.fixture(scope="module")
def trunk() -> IResNet:
    torch.manual_seed(0)
    network = IResNet((1, 1, 1, 1), widths=(8, 8, 16, 16), canonical_size=CANONICAL, embedding_size=16)
    return network.eval()


@pytest.fixture(scope="module")
def faces() -> NDArray[np.uint8]:
    coarse = np.random.default_rng(0).integers(0, 256, (5, 9, 9, 3), dtype=np.uint8)
    return np.stack([cv2.resize(face, (CANONICAL, CANONICAL)) for face in coarse]).astype(np.uint8)


def by_hand(network: IResNet, views: list[NDArray[np.uint8]], mirror: bool) -> NDArray[np.float32]:
    x = torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        embedding = network(x) + network(x.flip(3)) if mirror else network(x)
    return np.asarray(embedding.numpy(), dtype=np.float32)


@pytest.mark.parametrize("mirror", [True, False])
def test_the_trunk_sees_a_small_face_shrunk_and_enlarged_as_opencv_does_it(
    trunk: IResNet, faces: NDArray[np.uint8], mirror: bool
) -> None:
    views = []
    for face in faces:
        small = cv2.resize(face, (14, 14), interpolation=cv2.INTER_LINEAR)
        large = cv2.resize(small, (CANONICAL, CANONICAL), interpolation=cv2.INTER_LINEAR)
        views.append(large.astype(np.uint8))
    found = embed_images(trunk, faces, view_size=14, mirror=mirror)
    assert found.dtype == np.float32
    # Enlarging may differ from OpenCV by one grey level.
    np.testing.assert_allclose(found, by_hand(trunk, views, mirror), atol=0.02)


def test_a_branch_sees_the_small_face_itself(trunk: IResNet, faces: NDArray[np.uint8]) -> None:
    network = BTNet(trunk, (14,)).eval().network(14)
    assert isinstance(network, IResNet)
    views = [cv2.resize(face, (14, 14), interpolation=cv2.INTER_LINEAR).astype(np.uint8) for face in faces]
    found = embed_images(network, faces, view_size=14, mirror=True)
    np.testing.assert_allclose(found, by_hand(network, views, mirror=True), atol=1e-5)


def test_images_without_view_size_are_taken_as_they_are(trunk: IResNet, faces: NDArray[np.uint8]) -> None:
    found = embed_images(trunk, faces, mirror=True)
    np.testing.assert_allclose(found, by_hand(trunk, list(faces), mirror=True), atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 4, 64])
def test_the_batch_size_does_not_matter(trunk: IResNet, faces: NDArray[np.uint8], batch_size: int) -> None:
    whole = embed_images(trunk, faces, view_size=28, batch_size=5, channels_last=False, mirror=True)
    np.testing.assert_allclose(
        embed_images(trunk, faces, view_size=28, batch_size=batch_size, mirror=True), whole, atol=1e-5
    )


def test_the_mirrored_face_has_the_same_embedding(trunk: IResNet, faces: NDArray[np.uint8]) -> None:
    mirrored = embed_images(trunk, faces[:, :, ::-1], view_size=14, mirror=True)
    np.testing.assert_allclose(mirrored, embed_images(trunk, faces, view_size=14, mirror=True), atol=1e-5)


def test_modes_and_statistics_are_those_from_before(trunk: IResNet, faces: NDArray[np.uint8]) -> None:
    model = BTNet(trunk, (14,)).train()
    modes = [module.training for module in model.modules()]
    state = {key: value.clone() for key, value in model.network(14).state_dict().items()}
    embed_images(model.network(14), faces, view_size=14, mirror=True)
    assert [module.training for module in model.modules()] == modes
    assert any(modes)
    for key, value in model.network(14).state_dict().items():
        assert torch.equal(value, state[key]), key


def test_no_image_gives_no_embedding_and_read_only_memory_no_warning(
    trunk: IResNet, faces: NDArray[np.uint8]
) -> None:
    assert embed_images(trunk, faces[:0], view_size=14, mirror=True).shape == (0, 16)
    locked = faces.copy()
    locked.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embed_images(trunk, locked, view_size=14, mirror=True)


def test_images_that_are_no_images_are_refused(trunk: IResNet, faces: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"float32 of shape \[5, 112, 112, 3\], expected uint8 RGB"):
        embed_images(trunk, faces.astype(np.float32), mirror=True)
    with pytest.raises(ValueError, match=r"expected uint8 RGB \[N, H, W, 3\]"):
        embed_images(trunk, faces.transpose(0, 3, 1, 2), mirror=True)
    with pytest.raises(ValueError, match="interpolation 'bilinaer' is unknown; choose one of bilinear"):
        embed_images(trunk, faces, interpolation="bilinaer", mirror=True)
    with pytest.raises(ValueError, match="batch size 0"):
        embed_images(trunk, faces, batch_size=0, mirror=True)
