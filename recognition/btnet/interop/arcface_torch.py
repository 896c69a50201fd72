"""What arcface_torch calls and writes: `get_model`, `PartialFC_V2(margin_loss, ...)`, classifier shards."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from btnet.backbones.weights_file import load_weights
from btnet.files.atomic import refuse_existing, replacing
from btnet.interop.network_names import get_model, with_btnet
from btnet.loss.margin import Margin, positive_cosine
from btnet.loss.ranks import Ranks

__all__ = [
    "MarginSoftmax",
    "as_margin_softmax",
    "get_model",
    "merge_classifier_shards",
    "shard_sizes",
    "with_btnet",
    "write_classifier_shards",
]

# arcface_torch's checkpoints of a rank, the BTNet authors' files of a rank's classifier, and those of arcface_torch's
# first PartialFC: centres alone, their momentum in files of other names
_CHECKPOINT, _SOFTMAX_FC = "checkpoint_gpu_{}.pt", "softmax_fc_gpu_{}.pt"
_FORMS = (_CHECKPOINT, _SOFTMAX_FC, "rank_{}_softmax_weight.pt", "rank:{}_softmax_weight.pt")


class MarginSoftmax(nn.Module):
    """A margin for `PartialFC_V2(margin_loss, embedding_size, num_classes, ...)`.

        head = PartialFC_V2(as_margin_softmax(CurricularFace()), 512, num_classes)

    PartialFC hands each rank its own columns only. CurricularFace needs every row's positive cosine, which is summed
    over the ranks here. PartialFC still samples negatives per rank.

    Args:
        margin: one of `btnet.loss.MARGINS`.
        group: the ranks of the head; None for all.
    """

    def __init__(self, margin: Margin, group: dist.ProcessGroup | None = None) -> None:
        super().__init__()
        self.margin = margin
        self._group = group
        self._norms: Tensor | None = None

    def forward(self, cosine: Tensor, labels: Tensor) -> Tensor:
        """Scaled logits.

        Args:
            cosine: of the global batch with this rank's centres, [B, C]. Not written to.
            labels: column of each row's class, int64 [B, 1] or [B]; -1 where it lives on another rank.

        Returns:
            [B, C] in float32 (float64 if `cosine` is).
        """
        labels = labels.reshape(-1)
        # half precision would round the positive before the margin sees it
        cosine = cosine if cosine.dtype.itemsize > 4 else cosine.float()
        target = Ranks.of(self._group).sum(positive_cosine(cosine, labels))
        norms, self._norms = self._norms, None
        logits: Tensor = self.margin(cosine, labels, target=target, norms=norms)
        return logits

    def observe(self, head: nn.Module) -> MarginSoftmax:
        """Read the embeddings' lengths where they enter `head`: AdaFace needs them, PartialFC drops them.

            softmax = as_margin_softmax(AdaFace())
            head = PartialFC_V2(softmax, 512, num_classes)
            softmax.observe(head)

        Args:
            head: a module called as `head(local_embeddings, local_labels)`.

        Returns:
            This object.
        """
        head.register_forward_pre_hook(self._keep_norms)
        return self

    def _keep_norms(self, head: nn.Module, args: tuple[Any, ...]) -> None:
        embeddings: Tensor = args[0]
        dtype = torch.promote_types(torch.float32, embeddings.dtype)
        self._norms = Ranks.of(self._group).gather(embeddings.detach().to(dtype).norm(dim=1))


as_margin_softmax = MarginSoftmax
"""The name that other code calls it by."""


def shard_sizes(num_classes: int, world_size: int) -> list[int]:
    """Classes per rank as arcface_torch deals them out: the remainder goes to the first ranks.

    `btnet.loss.shard_range` is another rule: ours.
    """
    share, remainder = divmod(num_classes, world_size)
    return [share + (rank < remainder) for rank in range(world_size)]


def merge_classifier_shards(folder: str | Path, *, num_classes: int | None = None) -> Tensor:
    """Join the class centres that the ranks of a training run left behind.

    Reads arcface_torch's `checkpoint_gpu_{rank}.pt`, or `rank_{rank}_softmax_weight.pt` of its first PartialFC (without
    the `_mom` files), or the BTNet authors' `softmax_fc_gpu_{rank}.pt`.
    `btnet.loss.save_classifier` makes the exchange file of the result.

    Args:
        folder: the run's output; it holds the files of all ranks.
        num_classes: of the training set. Without it a missing last shard may go unnoticed: no shard says how
            many there were.

    Returns:
        float32 [num_classes, D] on the CPU, in the order of the labels, as long as training left them.

    Raises:
        FileNotFoundError: if there are no shards, or one between others is missing; it is named.
        ValueError: for a damaged or other file, shards of several runs or world sizes, embedding sizes that
            differ, or another number of classes than `num_classes`.
    """
    form, paths = _shard_paths(Path(folder))
    shards, steps = zip(*(_read_shard(path) for path in paths), strict=True)
    for path, shard, step in zip(paths, shards, steps, strict=True):
        found, first = (f"embeddings of {each.shape[1]} values" for each in (shard, shards[0]))
        if found == first:
            found, first = f"global step {step}", f"global step {steps[0]}"
        if found != first:
            raise ValueError(
                f"{path}: has {found}, {paths[0].name} has {first}; keep only the files of one run in the folder"
            )
    sizes = [len(shard) for shard in shards]
    expected = shard_sizes(sum(sizes), len(sizes))
    if sizes != expected:
        raise ValueError(
            f"{folder}: shards of {sizes} classes, but {len(sizes)} ranks with {sum(sizes)} classes have "
            f"{expected}; files of another world size are among them, or some are missing"
        )
    if num_classes is not None and num_classes != sum(sizes):
        counts = range(len(sizes) + 1, num_classes + 1)
        fitting = (n for n in counts if shard_sizes(num_classes, n)[: len(sizes)] == sizes)
        why = "the run had another training set"
        if world_size := next(fitting, None):
            missing = ", ".join(form.format(rank) for rank in range(len(sizes), world_size))
            why = f"missing: {missing}, of {world_size} ranks; copy the files of all ranks"
        raise ValueError(
            f"{folder}: {len(sizes)} shards hold {sum(sizes)} classes, expected {num_classes}; {why}"
        )
    return torch.cat(shards)


def write_classifier_shards(
    weight: Tensor, folder: str | Path, *, world_size: int, overwrite: bool = False
) -> list[Path]:
    """Write class centres as `checkpoint_gpu_{rank}.pt`, for tools that read arcface_torch's classifiers.

    The files hold `state_dict_softmax_fc` only: arcface_torch cannot resume a training run from them.

    Args:
        weight: [num_classes, D], in the order of the labels.
        folder: created if absent.
        world_size: ranks of the run that will read them, at most one per class.
        overwrite: remove the shards that are there, of however many ranks.

    Returns:
        The files, in rank order.

    Raises:
        ValueError: for another shape, or more ranks than classes.
        FileExistsError: if the folder holds shards already; those of a run hold its whole state.
    """
    if weight.ndim != 2 or not 1 <= world_size <= len(weight):
        raise ValueError(
            f"classifier weight of shape {list(weight.shape)} for {world_size} ranks: expected "
            "[num_classes, D] and from 1 rank to one per class"
        )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    present = sorted(folder.glob(_CHECKPOINT.format("*")))
    refuse_existing(*present, overwrite=overwrite)
    for path in present:
        path.unlink()
    paths = []
    shards = torch.split(weight.detach().cpu(), shard_sizes(len(weight), world_size))
    for rank, shard in enumerate(shards):
        path = folder / _CHECKPOINT.format(rank)
        with replacing(path) as temporary:
            # a view would be saved with the whole matrix behind it
            torch.save({"state_dict_softmax_fc": {"weight": shard.clone()}}, temporary)
        paths.append(path)
    return paths


def _shard_paths(folder: Path) -> tuple[str, list[Path]]:
    """The one form of file that is there, and the files of rank 0, 1, ..."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; give the output of an arcface_torch run")
    names = [path.name for path in folder.iterdir()]
    ranks: dict[str, list[int]] = {}
    for form in _FORMS:
        pattern = re.compile(re.escape(form).replace(r"\{\}", r"(\d+)"))
        if found := sorted(int(match[1]) for name in names if (match := pattern.fullmatch(name))):
            ranks[form] = found
    if not ranks:
        raise FileNotFoundError(
            f"{folder}: holds no {', '.join(form.format('0') for form in _FORMS[:-2])} or {_FORMS[-2].format('0')}; "
            "arcface_torch writes the first with `config.save_all_states = True`"
        )
    if len(ranks) > 1:
        both = " and ".join(form.format("*") for form in ranks)
        raise ValueError(f"{folder}: holds both {both}; which are meant? Move the others elsewhere")
    [(form, found)] = ranks.items()
    missing = sorted(set(range(found[-1])) - set(found))
    if missing:
        raise FileNotFoundError(
            f"{folder / form.format(missing[0])}: missing, and there are {len(found)} others up to rank "
            f"{found[-1]}; copy the files of all ranks"
        )
    return form, [folder / form.format(rank) for rank in found]


def _read_shard(path: Path) -> tuple[Tensor, Any]:
    """Centres of one rank in float32, and the training step if the file says it."""
    content = load_weights(path)
    if isinstance(content, Tensor) and "softmax_weight" in path.name:
        content = {"weight": content}
    state = content.get("state_dict_softmax_fc", content) if isinstance(content, dict) else {}
    # Where negatives are sampled, `weight_activated` holds the last step's classes and `weight` all of them.
    weight = state.get("weight", state.get("weight_activated")) if isinstance(state, dict) else None
    if not isinstance(weight, Tensor) or weight.ndim != 2 or not weight.is_floating_point():
        raise ValueError(
            f"{path}: holds no class centres (state_dict_softmax_fc.weight, weight or weight_activated, "
            "[classes, D]); was it written by another version of arcface_torch?"
        )
    return weight.float(), content.get("global_step")
