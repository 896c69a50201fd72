"""The names that others rely on keep their signatures; arguments may be added by keyword, with a default."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest

import btnet

_TRUNK = "(*, input_size=112, embedding_size=512, dropout=0.0)"
_PAIR = "(embeddings1, embeddings2, issame, num_folds=10)"
SIGNATURES = {
    **{f"btnet.iresnet{depth}": _TRUNK for depth in (18, 34, 50, 100, 200)},
    "btnet.mobilefacenet": "(*, input_size=112, embedding_size=512, blocks=(1, 4, 6, 2), scale=2)",
    "btnet.mobilefacenet_large": "(*, input_size=112, embedding_size=512)",
    "btnet.load": "(name, backend='torch')",
    "btnet.load_trunk": "(path)",
    "btnet.BTNet": "(trunk, resolutions=(28, 14, 7), *, tail_from=None)",
    "btnet.BTNet.network": "(self, resolution)",
    "btnet.BTNet.forward": "(self, images)",
    "btnet.BTNet.bn_set": "(self, resolution)",
    "btnet.BTNet.load_bn_set": "(self, resolution, bn_set)",
    "btnet.BTNet.overlay": "(self, resolution)",
    "btnet.BTNet.load_overlay": "(self, overlay)",
    "btnet.BTNet.full_state_dict": "(self, resolution)",
    "btnet.BTNet.detached": "(self, resolution)",
    "btnet.BTNet.save": "(self, folder, **sections)",
    "btnet.BTNet.load": "(folder)",
    "btnet.Overlay.save": "(self, path)",
    "btnet.Overlay.load": "(path)",
    "btnet.loss.NormFace": "(*, scale=64.0, margin=0.0)",
    "btnet.loss.SphereFace": "(*, scale=64.0, margin=4.0)",
    "btnet.loss.CosFace": "(*, scale=64.0, margin=0.35)",
    "btnet.loss.ArcFace": "(*, scale=64.0, margin=0.5)",
    "btnet.loss.CurricularFace": "(*, scale=64.0, margin=0.5)",
    "btnet.loss.AdaFace": "(*, scale=64.0, margin=0.4)",
    "btnet.loss.Margin.forward": "(self, cosine, labels, *, target=None, norms=None)",
    "btnet.loss.ShardedClassifier": "(margin, num_classes, embedding_size)",
    "btnet.loss.ShardedClassifier.forward": "(self, embeddings, labels)",
    "btnet.interop.arcface_torch.as_margin_softmax": "(margin, group=None)",
    "btnet.data.RecordReader": "(path)",
    "btnet.data.RecordReader.read": "(self, key)",
    "btnet.data.RecordWriter": "(path)",
    "btnet.data.RecordWriter.write": "(self, key, header, payload)",
    "btnet.data.read_bin": "(path)",
    "btnet.data.write_bin": "(path, images, issame)",
    "btnet.data.resize": "(images, size, interpolation='bilinear')",
    "btnet.data.SyntheticFaces": "(num_identities, images_per_identity, seed=0)",
    "btnet.evaluation.verification.kfold_accuracy": _PAIR,
    "btnet.evaluation.verification.tar_at_far": "(scores, issame, far)",
    "btnet.evaluation.identification.open_set": "(gallery, gallery_ids, mated, mated_ids, unmated)",
    "btnet.inference.select": ("(width, height, resolutions=(112, 28, 14, 7), indicator='max', rule='ceil')"),
    "btnet.inference.Recognizer.load": "(folder, backend='torch')",
    "btnet.inference.Recognizer.embed": "(self, faces)",
    "btnet.interop.export_onnx": "(network, path, *, input_size=None)",
}


def find(name: str) -> Any:
    module, *rest = name.split(".")
    found: Any = importlib.import_module(module)
    for part in rest:
        module = f"{module}.{part}"
        found = getattr(found, part, None) or importlib.import_module(module)
    return found


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_public_name_is_called_as_before(name: str) -> None:
    signature = inspect.signature(find(name))
    kept = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in signature.parameters.values()
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
        or parameter.default is inspect.Parameter.empty
        or f"{parameter.name}=" in SIGNATURES[name]
    ]
    assert str(inspect.Signature(kept)) == SIGNATURES[name]


def test_an_overlay_says_what_it_is() -> None:
    overlay = btnet.BTNet(btnet.mobilefacenet(embedding_size=8, scale=1), (14,)).overlay(14)
    assert overlay.resolution == 14
    assert len(overlay.trunk_fingerprint) == 64
    assert 0 < overlay.num_learnt < overlay.num_stored
