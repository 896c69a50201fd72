"""From a configuration to the models and learners of a run."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from btnet.data.alignment_jitter import AlignmentJitter
from btnet.data.branch_view import BranchView
from btnet.data.degradation import Degradation
from btnet.data.faces import FaceSet
from btnet.data.views import MultiResolution, resize
from btnet.loss import (
    MARGINS,
    Objective,
    ShardedClassifier,
    load_classifier,
    save_classifier,
)
from btnet.model.adapter import is_adapter
from btnet.model.backbone import Backbone
from btnet.model.btnet import BTNet
from btnet.model.names import create
from btnet.model.overlay import fingerprint
from btnet.model.trunk_file import load_trunk
from btnet.training.distributed import Context
from btnet.training.learner import Learner, View
from btnet.training.prototypes import embed_prototypes

PROTOTYPE, NEW = "prototype", "new"
MODEL, CLASSIFIER = "model.pt", "classifier.safetensors"
AGAINST_THE_TRUNK = (
    "embedding_cosine_weight",
    "embedding_relation_weight",
    "embedding_contrast_weight",
    "embedding_octuplet_weight",
    "feature_cosine_weight",
    "feature_attention_weight",
    "soft_influence_weight",
)
"""Weights of the losses that compare with the frozen trunk, and serve a trunk as well as a branch."""


@dataclass(frozen=True)
class Model:
    """What a run trains and publishes.

    Attributes:
        model: BTNet (branches are trained), or the backbone itself (a trunk, or a phi_mm).
        learners: one per branch, or one for the backbone.
        frozen_self: what a trunk started from, where it goes on learning from that.
    """

    model: BTNet | Backbone
    learners: list[Learner]
    frozen_self: Backbone | None = None

    @property
    def trunk(self) -> Backbone:
        """The network of canonical size; a phi_mm itself."""
        return self.model.trunk if isinstance(self.model, BTNet) else self.model

    @property
    def teacher(self) -> Backbone:
        """The frozen network that learners may be compared with."""
        return self.frozen_self or self.trunk


def build_model(config: Any, faces: FaceSet, context: Context) -> Model:
    """Build what the configuration asks for, on the device, ready for its first step.

    Raises:
        ValueError: for keys that do not fit together, or files that do not fit the data or the trunk.
        FileNotFoundError: for a missing file.
    """
    if config.compile and context.device.type == "cpu" and not any(map(shutil.which, ("g++", "clang++"))):
        raise ValueError("compile=True needs a C++ compiler on a CPU, and neither g++ nor clang++ is on the path: "
                         "install one, or set compile=False")  # fmt: skip
    torch.manual_seed(config.seed)
    model = _branches(config, faces, context) if config.branches else _backbone(config, faces, context)
    for learner in model.learners:
        learner.network.gradient_checkpointing = config.gradient_checkpointing
        learner.prepare(
            context,
            compiled=config.compile,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            seed=config.seed,
        )
    return model


def _backbone(config: Any, faces: FaceSet, context: Context) -> Model:
    for key in ("size_band", "degradation", "alignment_jitter"):
        if config[key]:
            raise ValueError(f"{key}={config[key]}: is for branches; remove it where a trunk is trained")
    if config.trunk:
        network = load_trunk(trunk_file(config.trunk)).requires_grad_(True)
        if config.input_size not in (0, network.input_size):
            raise ValueError(
                f"trunk with input_size={config.input_size}: a network for another size that starts from a trunk is "
                f"a branch; set branches=[{config.input_size}], and tail_from=none if all of it shall learn"
            )
    else:
        network = create_network(config)
    if config.multi_resolution and network.input_size != network.canonical_size:
        raise ValueError(
            f"multi_resolution={config.multi_resolution!r} with input_size={network.input_size}: faces that go "
            f"down and up again have {network.canonical_size} px; drop one of the two keys"
        )
    network.to(context.device)
    network.to(memory_format=memory_format(config))  # type: ignore[call-overload]
    classifier = _trunk_classifier(config, faces, network, context)
    owned = network.state_dict(keep_vars=True)
    objective = Objective(distillation_weight=0.0, **_weights_against_the_trunk(config))
    is_taught = objective.compares_features or objective.compares_embeddings
    frozen_self = _frozen_self(config, context) if is_taught else None
    learner = Learner(
        name="trunk" if network.input_size == network.canonical_size else f"r{network.input_size}",
        network=network,
        classifier=classifier,
        objective=objective,
        view=_trunk_view(config, network),
        coupling=_deepest_coupling(network) if objective.compares_features else None,
        learnt={key: p for key, p in network.named_parameters() if p.requires_grad},
        owned=dict(owned),
    )
    return Model(network, [learner], frozen_self)


def _weights_against_the_trunk(config: Any) -> dict[str, float]:
    return {key: config[key] for key in AGAINST_THE_TRUNK}


def _frozen_self(config: Any, context: Context) -> Backbone:
    """The trunk that a trunk starts from, as its teacher."""
    if not config.trunk:
        raise ValueError(
            f"{', '.join(AGAINST_THE_TRUNK)} of a trunk compare it with the one it starts from; set trunk=MODEL.pt, "
            "or these weights to 0"
        )
    frozen = load_trunk(trunk_file(config.trunk)).to(context.device)
    frozen.to(memory_format=memory_format(config))  # type: ignore[call-overload]
    return frozen


def _deepest_coupling(network: Backbone) -> str:
    """The last unit that strides: where feature maps say most about identity."""
    return [unit.name for unit in network.units() if unit.stride > 1][-1]


def _branches(config: Any, faces: FaceSet, context: Context) -> Model:
    if not config.trunk:
        raise ValueError(
            f"branches={config.branches}: they need a pretrained trunk; set trunk=MODEL.pt or RUN_FOLDER"
        )
    if config.multi_resolution or config.input_size:
        raise ValueError(
            "multi_resolution and input_size are for trunks; remove them where branches are trained"
        )
    trunk = load_trunk(trunk_file(config.trunk))
    model = BTNet(
        trunk,
        config.branches,
        tail_from=config.tail_from or None,
        interpolation=config.interpolation,
        adapter_rank=config.adapter_rank,
        shared_norms=config.shared_tail_norms,
    )
    model.to(context.device)
    model.to(memory_format=memory_format(config))  # type: ignore[call-overload]
    objective = Objective(
        influence_weight=config.influence_weight,
        distillation_weight=config.distillation_weight,
        distillation_weight_end=config.distillation_weight_end,
        embedding_mse_weight=config.embedding_loss_weight,
        **_weights_against_the_trunk(config),
    )
    learners: list[Learner] = []
    for r in model.resolutions:
        if not config.inherit:
            _start_afresh(model, r)
        if learners and config.freeze_classifier:
            classifier = _classifier(config, faces.num_classes, trunk.embedding_size, context, frozen=True)
            classifier.weight = learners[0].classifier.weight  # one matrix for all branches
        else:
            classifier = _branch_classifier(config, faces, trunk, context)
        owned = model.owned(r)
        learnt = model.learnt_parameters(r, config.learnt)
        for key, value in owned.items():
            if key not in learnt and value.requires_grad:
                value.requires_grad_(False)
        learners.append(
            Learner(
                name=f"r{r}",
                network=model.network(r),
                classifier=classifier,
                objective=objective,
                view=_branch_view(config, r),
                coupling=trunk.coupling_layer(r) if objective.compares_features else None,
                learnt=learnt,
                owned=owned,
            )
        )
    return Model(model, learners)


def _start_afresh(model: BTNet, resolution: int) -> None:
    """Give a branch's own state the values of a network that has learnt nothing."""
    fresh = model.trunk.rebuild(resolution).state_dict()
    with torch.no_grad():
        for key, value in model.owned(resolution).items():
            if not is_adapter(key):  # which nothing was inherited for
                value.copy_(fresh[key])


def create_network(config: Any) -> Backbone:
    """A freshly initialised network as the configuration names it."""
    arguments = dict(config.network_args, embedding_size=config.embedding_size)
    if config.dropout:
        arguments["dropout"] = config.dropout
    if config.input_size:
        arguments["input_size"] = config.input_size
    return create(config.network, **arguments)


def trunk_file(path: str) -> Path:
    """The trunk's file, where its run folder was given."""
    return Path(path) / MODEL if Path(path).is_dir() else Path(path)


def memory_format(config: Any) -> torch.memory_format:
    """Layout of images and convolutions."""
    return torch.channels_last if config.channels_last else torch.contiguous_format


def _trunk_view(config: Any, network: Backbone) -> View:
    if not config.multi_resolution:
        return _native_view(network.input_size, config.interpolation)
    return MultiResolution(
        config.multi_resolution,
        canonical_size=network.canonical_size,
        interpolation=config.interpolation,
        seed=config.seed,
    )


def alignment_jitter(config: Any, key: str) -> AlignmentJitter | None:
    """The errors of landmarks that a key asks for; None for none."""
    if not config[key]:
        return None
    from btnet.inference.alignment import TEMPLATE  # imports scikit-image

    return AlignmentJitter(config[key], TEMPLATE, seed=config.seed, key=key)


def _native_view(size: int, interpolation: str) -> View:
    def view(images: Tensor, _keys: Tensor, _epoch: int) -> Tensor:
        return resize(images, size, interpolation)

    return view


def _branch_view(config: Any, resolution: int) -> View:
    changes: list[AlignmentJitter | Degradation] = []
    if jitter := alignment_jitter(config, "alignment_jitter"):
        changes.append(jitter)
    if config.degradation:
        changes.append(
            Degradation(
                config.degradation,
                resolution=resolution,
                interpolation=config.interpolation,
                seed=config.seed,
            )
        )
    return BranchView(
        resolution,
        interpolation=config.interpolation,
        seed=config.seed,
        size_band=config.size_band,
        changes=changes,
    )


def _trunk_classifier(config: Any, faces: FaceSet, network: Backbone, context: Context) -> ShardedClassifier:
    """The classifier a trunk learns with."""
    classifier = _classifier(config, faces.num_classes, network.embedding_size, context, frozen=False)
    if config.classifier == PROTOTYPE:
        if not config.trunk:
            raise ValueError(
                "classifier='prototype': a trunk that starts from nothing has none; remove the key"
            )
        classifier.load_full_weight(_prototypes(config, faces, network.eval(), context))
    elif config.classifier not in ("", NEW):
        found = load_classifier(
            classifier_file(config.classifier),
            expected_class_names=faces.class_names,
            rows=(classifier.start, classifier.stop),
        )
        classifier.load_local_weight(found.weight)
    return classifier


def _branch_classifier(config: Any, faces: FaceSet, trunk: Backbone, context: Context) -> ShardedClassifier:
    """The old classifier, frozen, or where a branch's own one starts."""
    frozen = config.freeze_classifier
    if config.classifier == NEW and frozen:
        raise ValueError(
            "classifier='new' with freeze_classifier=True: random centres teach nothing; let them learn, or name "
            "the trunk's"
        )
    classifier = _classifier(config, faces.num_classes, trunk.embedding_size, context, frozen=frozen)
    if config.classifier == PROTOTYPE:
        classifier.load_full_weight(_prototypes(config, faces, trunk, context))
    elif config.classifier != NEW:
        found = load_classifier(
            _old_classifier_file(config),
            expected_trunk=fingerprint(trunk.state_dict()),
            expected_data=faces.fingerprint(),
            expected_class_names=faces.class_names,
            rows=(classifier.start, classifier.stop),
        )
        classifier.load_local_weight(found.weight)
    return classifier


def _classifier(
    config: Any, num_classes: int, embedding_size: int, context: Context, *, frozen: bool
) -> ShardedClassifier:
    name = config.loss.lower()
    if name not in MARGINS:
        raise ValueError(f"loss {config.loss!r}: expected one of {', '.join(MARGINS)}")
    arguments = {"scale": config.scale} | ({} if config.margin is None else {"margin": config.margin})
    classifier = ShardedClassifier(
        MARGINS[name](**arguments),
        num_classes,
        embedding_size,
        sample_rate=1.0 if frozen else config.sample_rate,
        frozen=frozen,
        seed=config.seed,
        device=context.device,
    )
    return classifier.to(context.device)


def classifier_file(path: str) -> Path:
    """The classifier's file, where its run folder was given."""
    return Path(path) / CLASSIFIER if Path(path).is_dir() else Path(path)


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


def _old_classifier_file(config: Any) -> Path:
    """The file the config names, or the one beside the trunk."""
    if config.classifier:
        return classifier_file(config.classifier)
    path = trunk_file(config.trunk).parent / CLASSIFIER
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
        memory_format=memory_format(config),
    )
