"""What `train_step.py` compares: the reference's step and ours over one trunk, one classifier and one batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from btnet.backbones.iresnet import IResNet
from btnet.backbones.state import fingerprint
from btnet.backbones.trunk_file import MODEL
from btnet.data.faces import open_faces
from btnet.data.loader import Batch
from btnet.data.views import normalise, resize
from btnet.loss import save_classifier
from btnet.loss.classifier_file import CLASSIFIER
from btnet.training.config_file import load_config
from btnet.training.distributed import Context
from btnet.training.setup import build_model, build_step
from btnet.training.step import Step
from reference_step import ReferenceStep

BASE = Path(__file__).parents[1] / "configs" / "base.py"


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is trained.

    Attributes:
        blocks, widths, canonical_size: of the trunk.
        branch: resolution of the single branch.
        branches: resolutions of joint training.
        batch_size: images per step.
        num_classes: of the old classifier.
        warmup, rounds: calls of each step that are not timed, and that are.
    """

    blocks: tuple[int, ...] = (3, 4, 14, 3)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    canonical_size: int = 112
    branch: int = 14
    branches: tuple[int, ...] = (28, 14, 7)
    batch_size: int = 32
    num_classes: int = 5319
    warmup: int = 2
    rounds: int = 9


QUICK = Setting(
    blocks=(1, 1, 1, 1),
    widths=(8, 8, 16, 16),
    canonical_size=32,
    branch=4,
    branches=(8, 4, 2),
    batch_size=8,
    num_classes=40,
    warmup=2,
    rounds=2,
)


class Bench:
    """A trunk, a classifier and a batch, and the steps that learn from them.

    Args:
        setting: what is trained.
        folder: for the trunk's and the classifier's file.
        device: where.
    """

    def __init__(self, setting: Setting, folder: Path, device: torch.device):
        self.setting, self.folder, self.device = setting, folder, device
        torch.manual_seed(1)
        trunk = IResNet(setting.blocks, widths=setting.widths, canonical_size=setting.canonical_size)
        for module in trunk.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)  # values of a trained network's size
        self.trunk = trunk.state_dict()
        self.centres = torch.randn(setting.num_classes, trunk.embedding_size)
        self.faces = open_faces(f"synthetic:{setting.num_classes}:1")
        torch.save(self.trunk, folder / MODEL)
        save_classifier(
            folder / CLASSIFIER,
            self.centres,
            self.faces.class_names,
            trunk_fingerprint=fingerprint(self.trunk),
            data_fingerprint=self.faces.fingerprint(),
        )
        size = setting.canonical_size
        self.batch = Batch(
            torch.randint(0, 256, (setting.batch_size, 3, size, size), dtype=torch.uint8).to(device),
            torch.randint(0, setting.num_classes, (setting.batch_size,)).to(device),
            torch.arange(setting.batch_size),
        )

    def reference(self, resolution: int) -> tuple[ReferenceStep, Callable[[], Tensor]]:
        """The reference recipe's step for one branch, and it applied to the batch."""
        step = ReferenceStep(
            self.trunk,
            self.centres,
            resolution=resolution,
            blocks=self.setting.blocks,
            widths=self.setting.widths,
            canonical_size=self.setting.canonical_size,
            device=self.device,
        )
        images, views = normalise(self.batch.images), normalise(resize(self.batch.images, resolution))
        return step, lambda: step(images, views, self.batch.labels)

    def ours(
        self, branches: Sequence[int], *, compiled: bool = False, precision: str = "auto"
    ) -> tuple[Step, nn.Module]:
        """The package's step and its model, from a config that states the reference's loss and little else."""
        config = load_config(BASE)
        config.update(
            trunk=str(self.folder),
            branches=list(branches),
            compile=compiled,
            loss="CosFace",
            margin=0.4,
            flip=False,
        )
        if precision == "auto":
            precision = "fp32" if self.device.type == "cpu" else "bf16"
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        context = Context(0, 1, self.device, dtype)
        built = build_model(config, self.faces, context)
        for learner in built.learners:
            learner.train()
        step = build_step(config, built, context)
        return step, built.model

    def apply(self, step: Step) -> Callable[[], dict[str, Tensor]]:
        """Our step applied to the batch, at the reference's learning rate."""
        return lambda: step(self.batch, 0, 0.02)

    def with_cache(self, step: Step) -> Step:
        """The same step with a warm teacher cache: features in float16 in memory instead of the trunk."""
        assert step.teacher is not None
        keys = self.batch.keys
        answer, _ = step.teacher(self.batch.images, keys, torch.zeros_like(keys, dtype=torch.bool))
        features = {name: value.half() for name, value in answer.items()}
        return dataclasses.replace(
            step, teacher=lambda *_: ({name: value.float() for name, value in features.items()}, None)
        )


def check_same_work(bench: Bench, resolution: int, *, tolerance: float) -> None:
    """Refuse to time steps that do not compute the same losses, before and after learning from it.

    Raises:
        RuntimeError: if they differ.
    """
    reference, ours = bench.reference(resolution)[1], bench.apply(bench.ours([resolution])[0])
    for number in range(2):
        expected, found = float(reference()), float(ours()[f"r{resolution}/total"])
        if abs(found - expected) > tolerance * abs(expected):
            raise RuntimeError(
                f"step {number}: our loss is {found}, the reference's {expected}: not the same work"
            )
