"""What learns in a run: the trunk, or one branch, with all that belongs to its step."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from btnet.backbones.backbone import Backbone
from btnet.data.views import View
from btnet.loss import Objective, ShardedClassifier
from btnet.training.distributed import Context
from btnet.training.optimizer import RowSGD

# torch 2.13 renamed the argument and warns of the old name.
_LOCAL_BUFFERS: dict[str, Any] = {
    "forward_sync_buffers"
    if "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    else "broadcast_buffers": False
}


@dataclass(eq=False)
class Learner:
    """One network in training. Several learners of a run share the images, the flips and the teacher only.

    Attributes:
        name: "trunk", or "r14" for the branch of 14 px; in logs and checkpoints.
        network: what is trained.
        classifier: of its influence loss or, for a trunk, its own; None where only the teacher teaches.
        objective: weighs its losses.
        view: makes its input from the canonical images.
        coupling: unit where the teacher's features are matched; None without a teacher.
        learnt: the network's learnt parameters by state key.
        owned: state entries a checkpoint keeps: learnt parameters and buffers.
        forward: the network, compiled and wrapped for many ranks as the run asks.
        optimizer: SGD over the learnt parameters, and the classifier's if it learns.
        scaler: of the loss under fp16; passes everything through otherwise.
        draws: of its dropout.
    """

    name: str
    network: Backbone
    classifier: ShardedClassifier | None
    objective: Objective
    view: View
    coupling: str | None
    learnt: dict[str, nn.Parameter]
    owned: dict[str, Tensor]
    forward: Callable[..., Any] = field(init=False)
    optimizer: torch.optim.SGD = field(init=False)
    scaler: GradScaler = field(init=False)
    draws: Draws = field(init=False)

    def prepare(
        self, context: Context, *, compiled: bool, momentum: float, weight_decay: float, seed: int = 0
    ) -> None:
        """Wrap the network for this run's ranks and make its optimiser; once, when all is on the device."""
        runner: Callable[..., Any] = torch.compile(self.network) if compiled else self.network
        if context.world_size > 1:
            assert isinstance(runner, nn.Module)
            reaches_embedding = self.objective.needs("influence", "student_embedding")
            # Statistics stay local, as in arcface_torch; they are averaged before they are used, see
            # `average_statistics`.
            runner = DistributedDataParallel(
                runner,
                **_LOCAL_BUFFERS,
                # Where only the coupling layer is compared, the tail's BatchNorms receive no gradient.
                find_unused_parameters=not reaches_embedding,
            )
            if reaches_embedding:
                self._settle_buckets(runner, context)
        self.forward = runner
        self.draws = Draws(context.device, seed + context.rank)
        self.optimizer = RowSGD(self.parameters().values(), momentum=momentum, weight_decay=weight_decay)
        uses_scaler = context.precision == torch.float16
        if context.world_size > 1 and uses_scaler:
            # Each rank holds other classes: whether a gradient overflowed must be known to all.
            self.scaler = ShardedGradScaler(context.device.type)
        else:
            self.scaler = GradScaler(context.device.type, enabled=uses_scaler)

    def _settle_buckets(self, runner: nn.Module, context: Context) -> None:
        """Let DDP lay out its buckets before the first step.

        It does so after the first backward pass it sees, in the order the gradients arrived in, and with the
        buckets changes the order in which ranks are summed. A run that was resumed would otherwise take its first
        step with other buckets than the undisturbed one, and differ from it by rounding.
        """
        size = self.network.input_size
        images = torch.zeros(1, 3, size, size, device=context.device)
        self.network.eval()  # no statistics, no dropout
        # torch before 2.6 has no such switch: there a compiled network is compiled once more
        stance = getattr(torch.compiler, "set_stance", contextlib.nullcontext)
        with stance("force_eager"):
            if self.coupling is None:
                output = runner(images)
            else:
                embedding, taps = runner(images, taps=(self.coupling,))
                output = embedding.sum() + taps[self.coupling].sum()
        output.sum().backward()
        for parameter in self.learnt.values():
            parameter.grad = None

    def parameters(self) -> dict[str, nn.Parameter]:
        """All the optimiser moves, by a name that is stable over ranks and runs."""
        named = {f"network.{key}": p for key, p in self.learnt.items()}
        if self.classifier is not None and self.classifier.weight.requires_grad:
            named["classifier.weight"] = self.classifier.weight
        return named

    def train(self) -> None:
        """Set what learns, and nothing else, to train mode."""
        self.network.train()
        if self.classifier is not None:
            self.classifier.train()

    def statistics(self) -> dict[str, Tensor]:
        """Running means and variances by state key: the one state of a network that differs between ranks."""
        return {
            f"{name}.{key}": value
            for name, module in self.network.named_modules()
            if isinstance(module, _BatchNorm)
            for key, value in module.named_buffers(recurse=False)
            if key != "num_batches_tracked"
        }


class Draws:
    """A random generator of its own for code that draws from torch's global one, as dropout does.

    Attributes:
        state: of the generator, as torch gives it.
    """

    def __init__(self, device: torch.device, seed: int):
        self._generator = _global_generator(device)
        self.state = torch.Generator(device).manual_seed(seed).get_state()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Draw from this generator in the block, and leave the global one as it was."""
        before = self._generator.get_state()
        self._generator.set_state(self.state)
        try:
            yield
        finally:
            self.state.copy_(self._generator.get_state())
            self._generator.set_state(before)


def _global_generator(device: torch.device) -> torch.Generator:
    if device.type == "cpu":
        return torch.default_generator
    return torch.cuda.default_generators[device.index or 0]


def average_statistics(learners: list[Learner], context: Context) -> None:
    """Give every rank the mean of all ranks' running statistics; before anything looks at them."""
    for learner in learners:
        for value in learner.statistics().values():
            value.copy_(context.mean(value))


@contextmanager
def averaged_statistics(learners: list[Learner], context: Context) -> Iterator[None]:
    """The mean of all ranks' running statistics in the block, and each rank's own again behind it."""
    own = {id(value): value.clone() for item in learners for value in item.statistics().values()}
    average_statistics(learners, context)
    try:
        yield
    finally:
        for learner in learners:
            for value in learner.statistics().values():
                value.copy_(own[id(value)])
