"""`classifier.safetensors`: class centres for exchange, with the names and fingerprints of what they belong to.

A folder added to the data set shifts every label behind it, which a frozen classifier would not notice. So the file
names its classes in order, its trunk and its data, and the loader refuses what does not fit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from btnet.data.class_names import check_class_names
from btnet.files.atomic import replacing
from btnet.files.text import naming
from btnet.model_folder.model_files import is_listed

__all__ = ["CLASSIFIER", "ClassifierFile", "classifier_file", "load_classifier", "save_classifier"]

CLASSIFIER = "classifier.safetensors"
"""The classifier's file in the folder of a run."""

_FORMAT = "btnet-classifier"
_VERSION = "1"
_DTYPES = ("F64", "F32", "F16", "BF16")
_FIELDS = ("class_names", "trunk_fingerprint", "data_fingerprint")


def classifier_file(path: str | PathLike[str]) -> Path:
    """The classifier's file, where its run folder was given.

    Raises:
        ValueError: if it is not the one that the folder's manifest lists.
    """
    folder = Path(path)
    if not folder.is_dir():
        return folder
    is_listed(folder, folder / CLASSIFIER)
    return folder / CLASSIFIER


@dataclass(frozen=True)
class ClassifierFile:
    """What a classifier file holds.

    Attributes:
        weight: class centres, [num_classes, D], or the rows that were asked for; as saved.
        class_names: of all classes, in the order of their labels.
        trunk_fingerprint: of the trunk whose embeddings the centres classify.
        data_fingerprint: of the training set that numbered the classes.
    """

    weight: Tensor
    class_names: tuple[str, ...]
    trunk_fingerprint: str
    data_fingerprint: str


def save_classifier(
    path: str | PathLike[str],
    weight: Tensor,
    class_names: Sequence[str],
    *,
    trunk_fingerprint: str,
    data_fingerprint: str,
) -> None:
    """Write class centres [num_classes, D]; the file is whole or absent. See `ClassifierFile` for the rest.

    Raises:
        ValueError: if names and rows do not match, or a name occurs twice (in whatever normal form).
    """
    if weight.ndim != 2 or len(class_names) != len(weight):
        raise ValueError(
            f"classifier weight of shape {list(weight.shape)} with {len(class_names)} class names: expected "
            "[num_classes, D] and one name per row, in the order of the labels"
        )
    metadata = {
        "format": _FORMAT,
        "version": _VERSION,
        "class_names": json.dumps(check_class_names(class_names, str(path)), ensure_ascii=False),
        "trunk_fingerprint": trunk_fingerprint,
        "data_fingerprint": data_fingerprint,
    }
    with replacing(Path(path)) as temporary:
        save_file({"weight": weight.detach().cpu().contiguous()}, temporary, metadata)


def load_classifier(
    path: str | PathLike[str],
    *,
    expected_trunk: str | None = None,
    expected_data: str | None = None,
    expected_class_names: Sequence[str] | None = None,
    rows: tuple[int, int] | None = None,
) -> ClassifierFile:
    """Read a classifier, or refuse it with the reason.

    Args:
        path: the file, or a run folder.
        expected_trunk: fingerprint of the trunk in use; None: any.
        expected_data: fingerprint of the training set in use; None: any.
        expected_class_names: of the training set in use, in the order of its labels; None: any. What is
            left when the data may differ (more images, say) and the labels may not.
        rows: read only classes [start, stop), those of one rank; all are checked nevertheless.

    Returns:
        Centres on the CPU, names and fingerprints.

    Raises:
        ValueError: if the file is damaged, of another kind or version, or belongs to another trunk, data set
            or order of classes; or if `rows` reaches beyond it.
        FileNotFoundError: if there is none.
    """
    path = classifier_file(path)
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: no such classifier; export one from a run, or build one with tools/build_classifier.py"
        )
    with naming(path, SafetensorError, RecursionError), safe_open(path, framework="pt") as file:
        found = _fields(file.metadata() or {}, str(path))
        view = file.get_slice("weight")
        shape = view.get_shape()
        if len(shape) != 2 or shape[0] != len(found["class_names"]):
            raise ValueError(f"weight of shape {shape} with {len(found['class_names'])} class names")
        if view.get_dtype() not in _DTYPES:
            raise ValueError(f"weight of type {view.get_dtype()}, expected {', '.join(_DTYPES)}")
        start, stop = rows or (0, shape[0])
        if not 0 <= start <= stop <= shape[0]:
            raise ValueError(
                f"{path}: rows {start} to {stop} were asked for, it has classes 0 to {shape[0] - 1}"
            )
        # an empty slice is refused by some releases of safetensors
        weight = view[start:stop] if start < stop else torch.empty(0, shape[1])
    for what, of, expected in (("trunk", "trunk", expected_trunk), ("data set", "data", expected_data)):
        if expected not in (None, fingerprint := found[f"{of}_fingerprint"]):
            raise ValueError(
                f"{path}: classifier belongs to {what} {fingerprint[:80]}, this {what} is {expected}; use that {what}, "
                "or rebuild the classifier"
            )
    if expected_class_names is not None:
        _check_names(path, found["class_names"], check_class_names(expected_class_names, str(path)))
    return ClassifierFile(weight, **found)


def _fields(metadata: Mapping[str, str], where: str) -> dict[str, Any]:
    """What a classifier file says beside its weight, checked."""
    if metadata.get("format") != _FORMAT:
        raise ValueError(
            f"{where}: format {metadata.get('format')!r:.40}, expected {_FORMAT!r}; this is no classifier of "
            "btnet. Shards of arcface_torch are converted by tools/convert_classifier.py"
        )
    if metadata.get("version") != _VERSION:
        raise ValueError(
            f"{where}: version {metadata.get('version')!r:.40}, this btnet reads {_VERSION}; update btnet"
        )
    missing = [field for field in _FIELDS if field not in metadata]
    if missing:
        raise ValueError(f"lacks {', '.join(missing)} in its metadata")
    found: dict[str, Any] = {field: metadata[field] for field in _FIELDS}
    names = json.loads(found["class_names"])
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ValueError("class_names is no list of strings")
    return {**found, "class_names": tuple(check_class_names(names, where))}


def _check_names(path: Path, found: tuple[str, ...], expected: Sequence[str]) -> None:
    if found == tuple(expected):
        return
    counts = f"the classifier has {len(found)} classes, the data set {len(expected)}"
    first = next(
        (i for i, (old, new) in enumerate(zip(found, expected, strict=False)) if old != new),
        min(len(found), len(expected)),
    )
    old, new = ([*names[first : first + 1], "nothing"][0] for names in (found, expected))
    raise ValueError(
        f"{path}: {counts}; the first difference is label {first}: {old!r} here, {new!r} in the data set, "
        "and every label behind it means someone else; restore the data set, or rebuild the classifier for it"
    )
