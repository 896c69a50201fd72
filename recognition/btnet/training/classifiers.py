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

_PROTOTYPE, _NEW = "prototype", "new"


def make_classifier(
    config: Any,
    faces: FaceSet,
    trunk: Backbone,
    context: Context,
    *,
    for_branch: bool,
    first: ShardedClassifier | None = None,
) -> ShardedClassifier:
    """The classifier that a network learns with: its own or, for a branch, the old one, frozen unless told otherwise.

    Args:
        config: of the run.
        faces: the training set.
        trunk: whose embeddings the centres classify.
        context: of the run.
        for_branch: whether a branch learns: a file of centres must then be of this trunk and this set.
        first: the classifier of the run's first branch; a frozen one is shared.

    Raises:
        ValueError: for a margin that the loss does not take, or centres that do not fit the set or the trunk.
        FileNotFoundError: for a missing file.
    """
    frozen = for_branch and config.freeze_classifier
    arguments = {"scale": config.scale} | ({} if config.margin is None else {"margin": config.margin})
    classifier = ShardedClassifier(
        MARGINS[config.loss.lower()](**arguments),
        faces.num_classes,
        trunk.embedding_size,
        sample_rate=1.0 if frozen else config.sample_rate,
        frozen=frozen,
        interclass_filtering=config.interclass_filtering_threshold,
        seed=config.seed,
        device=context.device,
    ).to(context.device)
    if frozen and first is not None:
        classifier.weight = first.weight  # one matrix for all branches
    elif config.classifier == _PROTOTYPE:
        prototypes = embed_prototypes(
            faces,
            trunk.eval(),
            context,
            batch_size=config.batch_size,
            interpolation=config.interpolation,
            num_workers=config.num_workers,
        )
        classifier.load_full_weight(prototypes)
    elif config.classifier != _NEW and (config.classifier or for_branch):
        found = load_classifier(
            config.classifier or _beside_the_trunk(config),
            expected_trunk=fingerprint(trunk.state_dict()) if for_branch else None,
            expected_data=faces.fingerprint() if for_branch else None,
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


def _beside_the_trunk(config: Any) -> Path:
    path = classifier_file(trunk_file(config.trunk).parent)
    if not path.is_file():
        raise ValueError(
            f"{config.trunk}: has no {CLASSIFIER} beside it; set classifier=FILE, or classifier=prototype "
            "to make one from the trunk's embeddings of the training set"
        )
    return path
