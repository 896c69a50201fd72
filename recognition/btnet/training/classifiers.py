"""The classifier a run learns with or against: where its centres come from, and the file they leave in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from btnet.backbones.backbone import Backbone
from btnet.backbones.state import fingerprint
from btnet.backbones.trunk_file import trunk_file
from btnet.data.faces import FaceSet
from btnet.files.digest import sha256
from btnet.loss import MARGINS, ShardedClassifier, load_classifier, save_classifier
from btnet.loss.classifier_file import CLASSIFIER, classifier_file
from btnet.training.distributed import Context
from btnet.training.prototypes import embed_prototypes

__all__ = ["branch_classifier", "origin_of_classifier", "trunk_classifier", "write_classifier"]

_PROTOTYPE, _NEW = "prototype", "new"


def trunk_classifier(config: Any, faces: FaceSet, network: Backbone, context: Context) -> ShardedClassifier:
    """The classifier that a trunk learns with.

    Raises:
        ValueError: for a margin that the loss does not take, or centres that do not fit the set or the network.
        FileNotFoundError: for a missing file.
    """
    classifier = _classifier(config, faces.num_classes, network.embedding_size, context, frozen=False)
    if config.classifier == _PROTOTYPE:
        classifier.load_full_weight(_prototypes(config, faces, network.eval(), context))
    elif config.classifier not in ("", _NEW):
        found = load_classifier(
            config.classifier,
            expected_class_names=faces.class_names,
            rows=(classifier.start, classifier.stop),
        )
        classifier.load_local_weight(found.weight)
    return classifier


def branch_classifier(
    config: Any, faces: FaceSet, trunk: Backbone, context: Context, *, first: ShardedClassifier | None
) -> ShardedClassifier:
    """The old classifier, frozen, or where a branch's own one starts.

    Args:
        config: of the run.
        faces: the training set.
        trunk: whose classifier it is.
        context: of the run.
        first: of the run's first branch; None for that one.

    Raises:
        ValueError, FileNotFoundError: as `trunk_classifier`.
    """
    frozen = config.freeze_classifier
    classifier = _classifier(config, faces.num_classes, trunk.embedding_size, context, frozen=frozen)
    if frozen and first is not None:
        classifier.weight = first.weight  # one matrix for all branches
    elif config.classifier == _PROTOTYPE:
        classifier.load_full_weight(_prototypes(config, faces, trunk, context))
    elif config.classifier != _NEW:
        found = load_classifier(
            config.classifier or _beside_the_trunk(config),
            expected_trunk=fingerprint(trunk.state_dict()),
            expected_data=faces.fingerprint(),
            expected_class_names=faces.class_names,
            rows=(classifier.start, classifier.stop),
        )
        classifier.load_local_weight(found.weight)
    return classifier


def origin_of_classifier(config: Any) -> str:
    """What tells a run's centres at the start from others: "new", "prototype", the digest of their file; "" for none.

    Raises:
        ValueError: if the trunk has none.
    """
    if config.branches and not config.influence_weight:
        return ""
    if config.classifier in (_PROTOTYPE, _NEW):
        return str(config.classifier)
    if not (config.classifier or config.branches):
        return _NEW
    return sha256(Path(config.classifier or _beside_the_trunk(config)))


def write_classifier(path: Path, centres: Tensor, faces: FaceSet, trunk: Backbone) -> None:
    """Write class centres with the names of the set's classes and the fingerprints of set and trunk.

    Raises:
        ValueError: if there is not one centre per class.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    save_classifier(
        path,
        centres,
        faces.class_names,
        trunk_fingerprint=fingerprint(trunk.state_dict()),
        data_fingerprint=faces.fingerprint(),
    )


def _classifier(
    config: Any, num_classes: int, embedding_size: int, context: Context, *, frozen: bool
) -> ShardedClassifier:
    arguments = {"scale": config.scale} | ({} if config.margin is None else {"margin": config.margin})
    classifier = ShardedClassifier(
        MARGINS[config.loss.lower()](**arguments),
        num_classes,
        embedding_size,
        sample_rate=1.0 if frozen else config.sample_rate,
        frozen=frozen,
        interclass_filtering=config.interclass_filtering_threshold,
        seed=config.seed,
        device=context.device,
    )
    return classifier.to(context.device)


def _beside_the_trunk(config: Any) -> Path:
    path = classifier_file(trunk_file(config.trunk).parent)
    if not path.is_file():
        raise ValueError(
            f"{config.trunk}: has no {CLASSIFIER} beside it; set classifier=FILE, or classifier=prototype "
            "to make one from the trunk's embeddings of the training set"
        )
    return path


def _prototypes(config: Any, faces: FaceSet, trunk: Backbone, context: Context) -> Tensor:
    return embed_prototypes(
        faces,
        trunk,
        context,
        batch_size=config.batch_size,
        interpolation=config.interpolation,
        num_workers=config.num_workers,
    )
