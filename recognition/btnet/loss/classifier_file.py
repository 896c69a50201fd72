"""`classifier.safetensors`: class centres for exchange, with names and fingerprints that say what they fit.

Under a frozen classifier a folder added to the data set silently shifts every label behind it. So the file
names its classes in order and the trunk and data it belongs to, and a loader refuses what does not fit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
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
from btnet.model_folder.model_files import is_listed

__all__ = ["CLASSIFIER", "ClassifierFile", "classifier_file", "load_classifier", "save_classifier"]

CLASSIFIER = "classifier.safetensors"
"""The classifier's file in the folder of a run."""

_FORMAT = "btnet-classifier"
_VERSION = 1
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
    """Write a classifier; the file is whole or absent.

    Args:
        path: usually `classifier.safetensors`; its folder must exist.
        weight: class centres, [num_classes, D], of any device.
        class_names: one per row, in the order of the labels, all different.
        trunk_fingerprint: of the trunk the centres belong to.
        data_fingerprint: of the training set.

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
        "version": str(_VERSION),
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
    try:
        with safe_open(path, framework="pt") as file:
            class_names, trunk, data = _fields(path, file.metadata() or {})
            if "weight" not in file.keys():  # noqa: SIM118 - not a dict
                raise ValueError(f"{path}: holds no tensor 'weight'; the file is damaged, save it again")
            view = file.get_slice("weight")
            shape = view.get_shape()
            _check_shape(path, shape, class_names, rows)
            if view.get_dtype() not in _DTYPES:
                raise ValueError(
                    f"{path}: weight of type {view.get_dtype()}, expected {', '.join(_DTYPES)}; export it again"
                )
            start, stop = rows or (0, shape[0])
            # an empty slice is refused by some releases of safetensors
            weight = view[start:stop] if start < stop else torch.empty(0, shape[1])
    except SafetensorError as error:
        raise ValueError(
            f"{path}: not a readable safetensors file ({str(error)[:200]}); it is damaged or of another kind"
        ) from error
    _check_fingerprint(path, "trunk", trunk, expected_trunk, "use that trunk, or rebuild the classifier with")
    _check_fingerprint(
        path, "data set", data, expected_data, "use that data set, or rebuild the classifier for"
    )
    if expected_class_names is not None:
        _check_names(path, class_names, check_class_names(expected_class_names, str(path)))
    return ClassifierFile(weight, class_names, trunk, data)


def _fields(path: Path, metadata: dict[str, str]) -> tuple[tuple[str, ...], str, str]:
    if metadata.get("format") != _FORMAT:
        raise ValueError(
            f"{path}: format {metadata.get('format')!r:.40}, expected {_FORMAT!r}; this is no classifier of "
            "btnet. Shards of arcface_torch are converted by tools/convert_classifier.py"
        )
    if metadata.get("version") != str(_VERSION):
        raise ValueError(
            f"{path}: version {metadata.get('version')!r:.40}, this btnet reads {_VERSION}; update btnet, or "
            "export the classifier again"
        )
    missing = [field for field in _FIELDS if field not in metadata]
    if missing:
        raise ValueError(f"{path}: lacks {', '.join(missing)} in its metadata; export the classifier again")
    try:
        names: Any = json.loads(metadata["class_names"])
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path}: class_names is no JSON ({str(error)[:200]}); export the classifier again"
        ) from error
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ValueError(f"{path}: class_names is no list of strings; export the classifier again")
    return (
        tuple(check_class_names(names, str(path))),
        metadata["trunk_fingerprint"],
        metadata["data_fingerprint"],
    )


def _check_shape(path: Path, shape: list[int], names: tuple[str, ...], rows: tuple[int, int] | None) -> None:
    if len(shape) != 2 or shape[0] != len(names):
        raise ValueError(
            f"{path}: weight of shape {shape} with {len(names)} class names; expected one name per row, the "
            "file is damaged: export the classifier again"
        )
    if rows is not None and not 0 <= rows[0] <= rows[1] <= shape[0]:
        raise ValueError(
            f"{path}: rows {rows[0]} to {rows[1]} were asked for, it has classes 0 to {shape[0] - 1}"
        )


def _check_fingerprint(path: Path, what: str, found: str, expected: str | None, remedy: str) -> None:
    if expected is not None and found != expected:
        raise ValueError(
            f"{path}: classifier belongs to {what} {found[:80]}, this {what} is {expected}; {remedy} this one"
        )


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
