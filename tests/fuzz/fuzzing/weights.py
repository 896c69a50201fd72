"""Targets: model folders, trunks, classifiers, shards of arcface_torch."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from btnet.backbones.iresnet import IResNet
from btnet.backbones.mobilefacenet import MobileFaceNet
from btnet.backbones.trunk_file import load_trunk, write_weights
from btnet.interop.arcface_torch import merge_classifier_shards, write_classifier_shards
from btnet.loss.classifier_file import load_classifier, save_classifier
from btnet.method.btnet import BTNet
from fuzzing.mutators import damage, damage_json, damage_pickle, damage_safetensors, in_archive
from fuzzing.pickles import hostile_pickles
from fuzzing.target import Change, Target, WrongAnswerError, plain

_RESOLUTION: Final = 4


def tiny_trunk() -> IResNet:
    """Some kilobytes: damage reaches keys and shapes more often."""
    torch.manual_seed(0)
    return IResNet((1, 1, 1, 1), widths=(2, 2, 3, 4), canonical_size=16, embedding_size=4).eval()


def _make_folder(folder: Path) -> None:
    BTNet(tiny_trunk(), (_RESOLUTION,)).save(folder / "model")


def _read_folder(folder: Path) -> Any:
    model = BTNet.load(folder)
    size = model.resolutions[0] if model.resolutions else model.trunk.canonical_size
    answer = model.network(size)(torch.zeros(1, 3, size, size))
    if answer.shape != (1, model.trunk.embedding_size):
        raise WrongAnswerError(f"embeddings of shape {list(answer.shape)}")
    branches = {r: plain(model.full_state_dict(r)) for r in model.resolutions}
    return plain(model.trunk.state_dict()), branches, model.interpolation


def _judge_folder(original: Any, found: Any, change: Change) -> None:
    """Weights have a checksum, in the overlay or the manifest; counts of batches seen are no weights."""
    pairs = [(original[0], found[0])]
    if _RESOLUTION in found[1]:  # a manifest may name fewer branches
        pairs.append((original[1][_RESOLUTION], found[1][_RESOLUTION]))
    for before, after in pairs:
        for key, value in before.items():
            if not key.endswith("num_batches_tracked") and after.get(key) != value:
                raise WrongAnswerError(f"{key} is {after.get(key)!r:.80}")
    if found[2] != original[2] and change.file != "btnet.json":
        raise WrongAnswerError(f"the overlay's interpolation {found[2]} went through")


def _make_trunks(folder: Path) -> None:
    for name in ("iresnet", "mobilefacenet", "legacy", "checkpoint", *hostile_archives()):
        (folder / name).mkdir(exist_ok=True)
    state = tiny_trunk().state_dict()
    write_weights(folder / "iresnet" / "model.pt", state)
    torch.manual_seed(0)
    small = MobileFaceNet(blocks=(1, 1, 1, 1), scale=1, canonical_size=16, embedding_size=4)
    # The embedding's width is fixed at 512: a quarter of a megabyte. One seed of four.
    write_weights(
        folder / "mobilefacenet" / "model.pt",
        {k: v.half() if v.is_floating_point() else v for k, v in small.state_dict().items()},
    )
    torch.save(dict(state), folder / "legacy" / "model.pt", _use_new_zipfile_serialization=False)
    content = {
        "epoch": 1,
        "global_step": 10,
        "state_dict_backbone": dict(state),
        "state_optimizer": {"lr": 0.1},
    }
    torch.save(content, folder / "checkpoint" / "model.pt")
    for name, body in hostile_archives().items():
        (folder / name / "model.pt").write_bytes(body)


def hostile_archives() -> dict[str, bytes]:
    """Files of `torch.save` with harmful pickles in them."""
    whole = io.BytesIO()
    torch.save({"weight": torch.zeros(3)}, whole)
    found = {}
    for name in ("system 2", "nested 2", "getattr 2", "binbytes8", "long4", "laughs", "memo", "deep"):
        found[f"hostile {name}"] = _with_member(whole.getvalue(), "data.pkl", hostile_pickles()[name])
    return found


def bomb() -> bytes:
    """An archive of half a megabyte with a tensor of half a gigabyte in it."""
    whole = io.BytesIO()
    torch.save({"weight": torch.zeros(3)}, whole)
    return _with_member(whole.getvalue(), "data/0", bytes(512 << 20), zipfile.ZIP_DEFLATED)


def _with_member(archive: bytes, ending: str, content: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(changed, "w", method) as new:
        for info in old.infolist():
            new.writestr(
                zipfile.ZipInfo(info.filename),
                content if info.filename.endswith(ending) else old.read(info),
                method,
            )
    return changed.getvalue()


def _read_trunk(folder: Path) -> Any:
    trunk = load_trunk(folder / "model.pt")
    with torch.no_grad():
        answer = trunk(torch.zeros(1, 3, trunk.input_size, trunk.input_size))
    if answer.shape != (1, trunk.embedding_size):
        raise WrongAnswerError(f"embeddings of shape {list(answer.shape)}")
    return plain(trunk.state_dict())


def _judge_trunk(original: Any, found: Any, change: Change) -> None:
    """Anything well formed: a zip's checksums are checked, but an archive can be made anew with right ones."""
    if set(found) != set(original or found):
        raise WrongAnswerError("other keys make the same network")


def _classifier() -> Tensor:
    return torch.arange(24.0).reshape(6, 4).sin()


def _make_classifier(folder: Path) -> None:
    (folder / "classifier").mkdir(exist_ok=True)
    names = [f"person {i}" for i in range(6)]
    save_classifier(
        folder / "classifier" / "classifier.safetensors", _classifier(), names, trunk_fingerprint="t" * 8,
        data_fingerprint="d" * 8,
    )  # fmt: skip


def _read_classifier(folder: Path) -> Any:
    path = folder / "classifier.safetensors"
    found = load_classifier(path, expected_trunk="t" * 8)
    part = load_classifier(path, expected_trunk="t" * 8, rows=(0, len(found.class_names) // 2))
    if plain(part.weight) != plain(found.weight[: len(part.weight)]) or len(found.weight) != len(
        found.class_names
    ):
        raise WrongAnswerError("a part is not the part of the whole")
    return plain(found.weight), found.class_names, found.trunk_fingerprint, found.data_fingerprint


def _judge_classifier(original: Any, found: Any, change: Change) -> None:
    if len(set(found[1])) != len(found[1]):
        raise WrongAnswerError(f"one name for two classes: {found[1]}")
    if not found[0][0].startswith(("float", "bfloat")):
        raise WrongAnswerError(f"class centres of type {found[0][0]}")


def _make_shards(folder: Path) -> None:
    import shutil

    for name in ("arcface", "authors"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir()
    write_classifier_shards(_classifier(), folder / "arcface", world_size=2)
    for rank, shard in enumerate(torch.split(_classifier(), 3)):
        torch.save({"weight_activated": shard.clone()}, folder / "authors" / f"softmax_fc_gpu_{rank}.pt")


def _read_shards(folder: Path) -> Any:
    return plain(merge_classifier_shards(folder, num_classes=6))


def _judge_shards(original: Any, found: Any, change: Change) -> None:
    if found[:2] != original[:2]:
        raise WrongAnswerError(f"centres of {found[:2]}")


_TORCH = (damage, damage, in_archive(damage), in_archive(damage_pickle))
TARGETS = (
    Target(
        "model folder", _make_folder, _read_folder, ("*.safetensors", "btnet.json", "model.pt"),
        limit="counts of seen batches, texts of the manifest that decide nothing", judge=_judge_folder,
        mutators=(damage, damage_json, damage_safetensors, in_archive(damage_pickle)),
    ),
    Target(
        "trunk model.pt", _make_trunks, _read_trunk, ("model.pt",),
        limit="weights of a trunk without overlay, in an archive with right checksums, or in torch's older format",
        judge=_judge_trunk, mutators=_TORCH,
    ),
    Target(
        "classifier", _make_classifier, _read_classifier,
        limit="values of the centres and letters of names (compared with the set's when it is used)",
        judge=_judge_classifier, mutators=(damage, damage_safetensors),
    ),
    Target(
        "classifier shards", _make_shards, _read_shards,
        limit="values of the centres, in an archive with right checksums", judge=_judge_shards, mutators=_TORCH,
    ),
)  # fmt: skip
