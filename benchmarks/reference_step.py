"""The reference recipe of branch training, transcribed plainly: what our step is measured against.

The usual way to write BTNet's branch training down, as public code of this field does it: the frozen trunk runs
to its embedding though its feature map at the coupling layer is all that is used; images, weights and feature
maps are contiguous NCHW, float32 on a CPU and float16 under autocast on a GPU; the classifier is normalised in
every step and receives a gradient that no optimiser applies; each branch is a whole network and a run of its
own. The tail's convolutions are frozen there too, so they receive none. `train_step.py` runs it, and prints the
times of its parts beside those that the recipe was once measured with.
"""

# B batch, C classes, D embedding

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

SCALE, MARGIN = 64.0, 0.4

# Seconds on two cores, float32, IResNet-50, batch 32, branch of 14 px: the recipe's own code, measured once.
RECORDED_SECONDS = {"teacher": 2.16, "student": 1.55, "head": 0.003, "backward": 1.70, "optimiser": 0.008}


class Unit(nn.Module):
    """Residual unit of IResNet."""

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.prelu = nn.PReLU(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        if stride != 1 or in_channels != channels:
            self.downsample: nn.Module | None = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )
        else:
            self.downsample = None

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] -> [B, channels, H / stride, W / stride]."""
        out = self.bn1(x)
        out = self.conv1(out)
        out = self.bn2(out)
        out = self.prelu(out)
        out = self.conv2(out)
        out = self.bn3(out)
        identity: Tensor = x if self.downsample is None else self.downsample(x)
        total: Tensor = out + identity
        return total


class Network(nn.Module):
    """IResNet that returns its embedding and the output of the first unit of one stage.

    Args:
        blocks: residual units per stage.
        widths: channels per stage.
        strides: of the stages; (2, 2, 2, 2) is the trunk, the first ones are 1 in a branch.
        coupling_stage: stage, from 1, whose first unit's output is returned.
        flat_size: height times width where the fully connected layer reads.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        widths: Sequence[int],
        strides: Sequence[int],
        coupling_stage: int,
        *,
        embedding_size: int,
        flat_size: int,
    ):
        super().__init__()
        self.coupling_stage = coupling_stage
        self.conv1 = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.prelu = nn.PReLU(widths[0])
        in_channels = widths[0]
        for i, (count, channels, stride) in enumerate(zip(blocks, widths, strides, strict=True), 1):
            units = [Unit(in_channels, channels, stride)]
            units += [Unit(channels, channels, 1) for _ in range(count - 1)]
            self.add_module(f"layer{i}", nn.Sequential(*units))
            in_channels = channels
        self.bn2 = nn.BatchNorm2d(in_channels)
        self.fc = nn.Linear(in_channels * flat_size, embedding_size)
        self.features = nn.BatchNorm1d(embedding_size)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images [B, 3, S, S] -> embedding [B, D], feature map at the coupling layer."""
        x = self.prelu(self.bn1(self.conv1(x)))
        feature = x
        for i in range(1, 5):
            for j, unit in enumerate(self.get_submodule(f"layer{i}").children()):
                x = unit(x)
                if j == 0 and i == self.coupling_stage:
                    feature = x
        with torch.autocast(x.device.type, enabled=False):
            embedding = self.features(self.fc(torch.flatten(self.bn2(x.float()), 1)))
        return embedding, feature


class ReferenceStep:
    """One branch in training, as the reference recipe does it; a run of its own.

    Args:
        trunk: state of the pretrained trunk.
        centres: of the pretrained classifier, [C, D].
        resolution: r of the branch.
        blocks, widths, canonical_size: of the trunk.
        device: where it runs; a GPU runs it in float16 with a loss scale.
    """

    def __init__(
        self,
        trunk: dict[str, Tensor],
        centres: Tensor,
        *,
        resolution: int,
        blocks: Sequence[int],
        widths: Sequence[int] = (64, 128, 256, 512),
        canonical_size: int = 112,
        device: torch.device | str = "cpu",
    ):
        self.device = torch.device(device)
        self.resolution = resolution
        embedding_size, stage = centres.shape[1], _coupling_stage(resolution, canonical_size)

        def network(strides: Sequence[int]) -> Network:
            flat_size = (canonical_size // 16) ** 2
            made = Network(blocks, widths, strides, stage, embedding_size=embedding_size, flat_size=flat_size)
            made.load_state_dict({key: trunk[key] for key in made.state_dict()})
            return made.to(self.device)

        self.teacher = network([2, 2, 2, 2]).eval().requires_grad_(False)
        self.student = network([1 if i <= stage else 2 for i in range(1, 5)]).train()
        for name, parameter in self.student.named_parameters():
            parameter.requires_grad_(_is_learnt(name, self.student, stage))
        self.learnt = [p for p in self.student.parameters() if p.requires_grad]
        self.centres = nn.Parameter(centres.clone().to(self.device))
        self.optimizer = torch.optim.SGD(self.learnt, lr=0.02, momentum=0.9, weight_decay=5e-4)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.device.type == "cuda")
        self.seconds: dict[str, list[float]] = {name: [] for name in RECORDED_SECONDS}

    def __call__(self, images: Tensor, views: Tensor, labels: Tensor) -> Tensor:
        """Learn from one batch.

        Args:
            images: canonical views in [-1, 1], [B, 3, S, S].
            views: of the branch's size in [-1, 1], [B, 3, r, r].
            labels: int64 [B].

        Returns:
            The loss before the step, without gradient.
        """
        self._clock = time.perf_counter()
        half = torch.autocast(self.device.type, torch.float16, enabled=self.device.type == "cuda")
        with torch.no_grad(), half:
            _, taught = self.teacher(images)
        self._lap("teacher")
        with half:
            embedding, feature = self.student(views)
        self._lap("student")
        cosine_BC = nn.functional.linear(
            nn.functional.normalize(embedding.float()), nn.functional.normalize(self.centres)
        )
        cosine_BC = cosine_BC - MARGIN * nn.functional.one_hot(labels, len(self.centres))
        loss = nn.functional.cross_entropy(SCALE * cosine_BC, labels) + 0.5 * nn.functional.mse_loss(
            feature.float(), taught.float()
        )
        self._lap("head")
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._lap("backward")
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.learnt, 5.0)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        self.centres.grad = None
        self._lap("optimiser")
        return loss.detach()

    def _lap(self, part: str) -> None:
        # A GPU is not waited for: there only whole steps are timed, from outside.
        now = time.perf_counter()
        self.seconds[part].append(now - self._clock)
        self._clock = now


def _coupling_stage(resolution: int, canonical_size: int) -> int:
    return [canonical_size >> i for i in range(1, 5)].index(resolution) + 1


def _is_learnt(name: str, network: Network, coupling_stage: int) -> bool:
    """The branch learns; in the tail, the BatchNorms do."""
    module = network.get_submodule(name.rpartition(".")[0])
    if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
        return name != "features.weight"
    tail = [f"layer{coupling_stage}.{j}." for j in range(1, 100)]
    tail += [f"layer{i}." for i in range(coupling_stage + 1, 5)]
    return not name.startswith(("fc.", *tail))
