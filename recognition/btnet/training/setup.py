"""From a configuration to the models and learners of a run."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Any

import torch

from btnet.backbones.backbone import Backbone
from btnet.backbones.registry import create
from btnet.backbones.state import copy_tensors
from btnet.backbones.trunk_file import load_trunk
from btnet.backbones.unmeasured import check_measured
from btnet.data.faces import FaceSet
from btnet.loss import Objective
from btnet.method.btnet import BTNet
from btnet.training.classifiers import make_classifier
from btnet.training.configuration import weights_of_terms
from btnet.training.distributed import Context
from btnet.training.input_views import alignment_jitter, branch_view, trunk_view
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
    network = load_trunk(config.trunk) if config.trunk else _create(config)
    if config.trunk:
        check_measured(network, config.trunk)
    context.place(network)
    objective = Objective(weights_of_terms(config))
    frozen_self = None
    if objective.needs("teacher_feature", "teacher_embedding"):
        frozen_self = load_trunk(config.trunk)
        context.place(frozen_self)
    deepest = [unit.name for unit in network.units() if unit.stride > 1][-1]
    learner = Learner(
        name="trunk" if network.input_size == network.canonical_size else f"r{network.input_size}",
        network=network,
        classifier=make_classifier(config, faces, network, context, for_branch=False),
        objective=objective,
        view=trunk_view(config, network),
        coupling=deepest if objective.needs("student_feature", "teacher_feature") else None,
        learnt={key: p for key, p in network.named_parameters() if p.requires_grad},
        owned=dict(network.state_dict(keep_vars=True)),
    )
    return Model(network, [learner], frozen_self)


def _create(config: Any) -> Backbone:
    arguments = dict(config.network_args, embedding_size=config.embedding_size)
    arguments |= {key: config[key] for key in ("dropout", "input_size") if config[key]}
    return create(config.network, **arguments)


def _branches(config: Any, faces: FaceSet, context: Context) -> Model:
    model = BTNet(
        load_trunk(config.trunk),
        config.branches,
        tail_from=config.tail_from or None,
        interpolation=config.interpolation,
        inner_size=config.inner_size,
    )
    for resolution in config.branches:
        check_measured(model.network(resolution), config.trunk)
    context.place(model)
    objective = Objective(weights_of_terms(config))
    learners: list[Learner] = []
    for r in model.resolutions:
        if not config.inherit:
            fresh = model.network(r).fresh().state_dict()
            copy_tensors({key: fresh[key] for key in model.owned(r)}, model.owned(r), f"branch for {r} px")
        classifier = None
        if config.influence_weight:
            first = learners[0].classifier if learners else None
            classifier = make_classifier(config, faces, model.trunk, context, for_branch=True, first=first)
        owned, learnt = model.owned(r), model.learnt_parameters(r, config.learnt)
        for key, value in owned.items():
            if key not in learnt and value.requires_grad:
                value.requires_grad_(False)
        learners.append(
            Learner(
                name=f"r{r}",
                network=model.network(r),
                classifier=classifier,
                objective=objective,
                view=branch_view(config, r),
                coupling=model.trunk.coupling_layer(r)
                if objective.needs("student_feature", "teacher_feature")
                else None,
                learnt=learnt,
                owned=owned,
            )
        )
    return Model(model, learners)
