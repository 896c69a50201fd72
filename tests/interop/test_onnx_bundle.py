"""A bundle stores the trunk once, its networks embed as torch does, and strangers in it are refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from btnet import BTNet
from btnet.interop.onnx import export_onnx
from btnet.interop.onnx_bundle import TRUNK_DATA, export_bundle
from btnet.serving.onnx_folder import bundle_networks
from btnet.serving.onnx_session import open_session
from onnx_models import iresnet, trained, with_branches


def model(seed: int = 0) -> BTNet:
    generator = torch.Generator().manual_seed(seed)
    return with_branches(trained(iresnet(), torch.rand(16, 3, 32, 32, generator=generator) * 2 - 1), 8, 4)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[BTNet, Path]:
    folder = tmp_path_factory.mktemp("bundle")
    exported = model()
    export_bundle(exported, folder)
    return exported, folder


def test_every_network_embeds_as_torch_does(written: tuple[BTNet, Path]) -> None:
    exported, folder = written
    networks = bundle_networks(folder)
    assert list(networks) == [32, 8, 4]
    for size, path in networks.items():
        images = torch.rand(3, 3, size, size) * 2 - 1
        [found] = open_session(path).run(None, {"data": images.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(found, exported(images).numpy(), rtol=1e-3, atol=1e-4)


def test_large_tensors_lie_on_disk_once(written: tuple[BTNet, Path]) -> None:
    exported, folder = written
    for size in (8, 4):
        network = exported.network(size)
        owned = exported.owned(size)
        overlay = (folder / f"overlay_r{size}.data").read_bytes()
        trunk = (folder / TRUNK_DATA).read_bytes()
        for key, tensor in network.state_dict().items():
            content = tensor.numpy().tobytes()
            if len(content) >= 1024:
                assert (content in overlay, content in trunk) == (key in owned, key not in owned), key


def test_a_branch_of_another_trunk_and_damaged_files_are_refused(
    written: tuple[BTNet, Path], tmp_path: Path
) -> None:
    _, folder = written
    strange = export_onnx(model(1), tmp_path / "embed_r8.onnx", resolution=8)

    def copy(name: str) -> Path:
        return Path(shutil.copytree(folder, tmp_path / name))

    mixed = copy("mixed")
    shutil.copy(strange, mixed / "embed_r8.onnx")
    with pytest.raises(ValueError, match=r"embed_r8\.onnx: .* of another bundle"):
        bundle_networks(mixed)
    damaged = copy("damaged")
    content = bytearray((damaged / TRUNK_DATA).read_bytes())
    content[5000] ^= 1
    (damaged / TRUNK_DATA).write_bytes(content)
    with pytest.raises(ValueError, match=r"trunk\.data: is not the file that btnet\.json lists"):
        bundle_networks(damaged)
    corrupt = copy("corrupt")
    (corrupt / "embed_r4.onnx").write_bytes(b"no model")
    with pytest.raises(ValueError, match=r"embed_r4\.onnx: .* damaged"):
        bundle_networks(corrupt)
    absent = copy("absent")
    (absent / "overlay_r8.data").unlink()
    with pytest.raises(FileNotFoundError, match=r"overlay_r8\.data: missing from the bundle"):
        bundle_networks(absent)


def test_a_run_folder_is_neither_a_bundle_nor_overwritten_by_one(tmp_path: Path) -> None:
    run = model()
    run.save(tmp_path)
    before = (tmp_path / "btnet.json").read_bytes()
    with pytest.raises(ValueError, match="leads no ONNX bundle"):
        bundle_networks(tmp_path)
    with pytest.raises(ValueError, match="holds the manifest of a run"):
        export_bundle(run, tmp_path)
    assert (tmp_path / "btnet.json").read_bytes() == before
