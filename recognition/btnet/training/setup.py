"""From a configuration to the models and learners of a run."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from btnet.backbones.backbone import Backbone
from btnet.backbones.registry import create
from btnet.backbones.trunk_file import load_trunk
from btnet.backbones.unmeasured import check_measured
from btnet.data.alignment_jitter import AlignmentJitter
from btnet.data.degradation import Degradation
from btnet.data.faces import FaceSet
from btnet.data.views import BranchView, MultiResolution, View, resize
from btnet.loss import Objective
from btnet.method.btnet import BTNet
from btnet.training.classifiers import branch_classifier, trunk_classifier
from btnet.training.configuration import AGAINST_THE_TRUNK
from btnet.training.distributed import Context
from btnet.training.learner import Learner
from btnet.training.step import Step
from btnet.training.teacher import make_teacher


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
        ValueError: for values that do not fit the trunk or the network, or files that do not fit the data.
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


def build_step(config: Any, built: Model, context: Context) -> Step:
    """One step of a run, with the teacher that its objectives ask for."""
    return Step(
        context=context,
        learners=built.learners,
        teacher=make_teacher(built.teacher, built.learners, context),
        mirror=config.flip,
        seed=config.seed,
        clip=config.clip,
        jitter=alignment_jitter(config, "shared_jitter"),
    )


def _backbone(config: Any, faces: FaceSet, context: Context) -> Model:
    # Either way with what its architecture fixes, such as IResNet's `features.weight`, fixed.
    network = load_trunk(config.trunk) if config.trunk else create_network(config)
    if config.trunk:
        check_measured(network, config.trunk)
    context.place(network)
    classifier = trunk_classifier(config, faces, network, context)
    owned = network.state_dict(keep_vars=True)
    objective = Objective(distillation_weight=0.0, **_weights_against_the_trunk(config))
    is_taught = objective.compares_features or objective.compares_embeddings
    frozen_self = load_trunk(config.trunk) if is_taught else None
    if frozen_self is not None:
        context.place(frozen_self)
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


def _deepest_coupling(network: Backbone) -> str:
    """The last unit that strides: where feature maps say most about identity."""
    return [unit.name for unit in network.units() if unit.stride > 1][-1]


def _branches(config: Any, faces: FaceSet, context: Context) -> Model:
    trunk = load_trunk(config.trunk)
    model = BTNet(
        trunk,
        config.branches,
        tail_from=config.tail_from or None,
        interpolation=config.interpolation,
        inner_size=config.inner_size,
    )
    for resolution in config.branches:
        check_measured(model.network(resolution), config.trunk)
    context.place(model)
    objective = Objective(
        influence_weight=config.influence_weight,
        distillation_weight=config.distillation_weight,
        embedding_mse_weight=config.embedding_loss_weight,
        **_weights_against_the_trunk(config),
    )
    learners: list[Learner] = []
    for r in model.resolutions:
        if not config.inherit:
            _start_afresh(model, r)
        first = learners[0].classifier if learners else None
        classifier = (
            branch_classifier(config, faces, trunk, context, first=first) if config.influence_weight else None
        )
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
    fresh = model.network(resolution).fresh().state_dict()
    with torch.no_grad():
        for key, value in model.owned(resolution).items():
            value.copy_(fresh[key])


def create_network(config: Any) -> Backbone:
    """A freshly initialised network as the configuration names it."""
    arguments = dict(config.network_args, embedding_size=config.embedding_size)
    if config.dropout:
        arguments["dropout"] = config.dropout
    if config.input_size:
        arguments["input_size"] = config.input_size
    return create(config.network, **arguments)


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
    from btnet.serving.alignment import template  # imports scikit-image

    return AlignmentJitter(config[key], template, seed=config.seed, key=key)


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
