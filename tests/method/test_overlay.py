from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from btnet.backbones.iresnet import IResNet
from btnet.backbones.trunk_file import load_trunk
from btnet.method.btnet import BTNet
from btnet.method.overlay import Overlay


def make(seed: int = 0, branches: tuple[int, ...] = (14, 7)) -> BTNet:
    torch.manual_seed(seed)
    model = BTNet(IResNet([1, 1, 1, 1], widths=[4, 8, 8, 8], embedding_size=16), branches).eval()
    with torch.no_grad():
        for r in branches:
            for tensor in model.learnt_parameters(r).values():
                tensor.add_(0.01)
    return model


def faces(size: int) -> torch.Tensor:
    return torch.rand(2, 3, size, size) * 2 - 1


def test_a_folder_comes_back_with_the_same_embeddings(tmp_path: Path) -> None:
    model = make()
    model.save(tmp_path)
    loaded = BTNet.load(tmp_path)
    for size in (112, 14, 7):
        x = faces(size)
        assert torch.equal(loaded(x), model(x))
    assert {p.name for p in tmp_path.iterdir()} == {
        "model.pt",
        "btnet.json",
        "overlay_r14.safetensors",
        "overlay_r7.safetensors",
    }


def test_merged_state_loads_strictly_into_an_ordinary_network() -> None:
    model = make()
    overlay = model.overlay(14)
    merged = overlay.merge(model.trunk.state_dict())
    plain = model.trunk.rebuild(14)
    plain.load_state_dict(merged)
    x = faces(14)
    assert torch.equal(plain.eval()(x), model(x))
    assert overlay.dropped_keys
    assert merged.keys() == model.full_state_dict(14).keys()


def test_the_overlay_of_another_trunk_is_refused(tmp_path: Path) -> None:
    make(0).overlay(14).save(tmp_path / "o.safetensors")
    overlay = Overlay.load(tmp_path / "o.safetensors")
    other = make(1)
    with pytest.raises(ValueError, match=r"trained on trunk [0-9a-f]{12}, this trunk is"):
        other.load_overlay(overlay)
    with pytest.raises(ValueError, match="trained on trunk"):
        overlay.merge(other.trunk.state_dict())


def test_a_tail_or_interpolation_of_another_model_is_refused() -> None:
    overlay = make().overlay(14)
    torch.manual_seed(0)
    trunk = IResNet([1, 1, 1, 1], widths=[4, 8, 8, 8], embedding_size=16)
    with pytest.raises(ValueError, match=r"tail_from='layer4\.0', this model has 'layer1\.0'"):
        BTNet(trunk, [14], tail_from="layer1.0").load_overlay(overlay)
    with pytest.raises(ValueError, match="bicubic"):
        BTNet(trunk, [14], interpolation="bicubic").load_overlay(overlay)
    with pytest.raises(ValueError, match="no branch for 14 px"):
        BTNet(trunk, [7]).load_overlay(overlay)


@pytest.mark.parametrize(
    "section", [[{"kind": "low-rank", "rank": 2}], [{"kind": "other"}], {}, None, 0, "", [[]]]
)
@pytest.mark.parametrize("version", [1, 2])
def test_a_file_with_adapters_is_refused_in_one_sentence_and_the_section_stays_reserved(
    tmp_path: Path, section: object, version: int
) -> None:
    path = tmp_path / "o.safetensors"
    make().overlay(14).save(path)
    with safe_open(path, "pt") as file:
        metadata = json.loads(file.metadata()["btnet"])
    assert metadata["adapters"] == []
    changed = json.dumps(metadata | {"adapters": section, "format_version": version})
    save_file(load_file(path), path, {"btnet": changed})
    with pytest.raises(
        ValueError, match="a branch with adapters in its tail, which this version does not have"
    ):
        Overlay.load(path)


def rewritten(path: Path, change: str) -> None:
    """The same file with a key less, a key more, another shape; its digest is that of the new tensors."""
    from dataclasses import replace

    overlay = Overlay.load(path)
    tensors = dict(overlay.tensors)
    if change == "missing":
        del tensors["bn1.weight"]
    elif change == "more":
        tensors["bn9.weight"] = torch.zeros(4)
    else:
        tensors["bn1.weight"] = torch.zeros(5)
    replace(overlay, tensors=tensors).save(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", r"missing bn1\.weight"),
        ("more", r"unexpected bn9\.weight"),
        ("shape", r"bn1\.weight has shape \[5\] instead of \[4\]"),
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path: Path, change: str, message: str) -> None:
    model = make()
    path = tmp_path / "o.safetensors"
    model.overlay(14).save(path)
    rewritten(path, change)
    before = {k: v.clone() for k, v in model.owned(14).items()}
    with pytest.raises(ValueError, match=message):
        model.load_overlay(Overlay.load(path))
    assert all(torch.equal(v, before[k]) for k, v in model.owned(14).items())


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "o.safetensors"
    make().overlay(14).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        Overlay.load(path)
    path.write_bytes(whole[:-4] + bytes(4))
    with pytest.raises(ValueError, match="checksum"):
        Overlay.load(path)
    save_file({"x": torch.zeros(1)}, str(path))
    with pytest.raises(ValueError, match="not an overlay"):
        Overlay.load(path)
    with pytest.raises(FileNotFoundError, match="no such overlay"):
        Overlay.load(tmp_path / "none.safetensors")


def test_a_trunk_file_tells_its_architecture(tmp_path: Path) -> None:
    model = make()
    torch.save({f"module.{k}": v for k, v in model.trunk.state_dict().items()}, tmp_path / "t.pt")
    trunk = load_trunk(tmp_path / "t.pt")
    x = faces(112)
    assert torch.equal(trunk(x), model.trunk(x))
    torch.save({"state_dict_backbone": model.trunk.state_dict(), "epoch": 3}, tmp_path / "c.pt")
    assert load_trunk(tmp_path / "c.pt").arch == model.trunk.arch


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": torch.zeros(1)}, "of no backbone that is known"),
        ([1, 2], "not a state dict"),
        (None, "not a state dict"),
    ],
)
def test_files_that_hold_no_trunk_are_refused(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "t.pt")
    with pytest.raises(ValueError, match=message):
        load_trunk(tmp_path / "t.pt")


def test_a_truncated_or_branch_file_is_no_trunk(tmp_path: Path) -> None:
    (tmp_path / "t.pt").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="torch cannot read"):
        load_trunk(tmp_path / "t.pt")
    torch.save(make().full_state_dict(14), tmp_path / "b.pt")
    with pytest.raises(ValueError, match="network of a branch"):
        load_trunk(tmp_path / "b.pt")
