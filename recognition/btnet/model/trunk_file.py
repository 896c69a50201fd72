"""From a state dict to the backbone it belongs to: the architecture is read from keys and shapes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from btnet.files.atomic import replacing
from btnet.files.named_errors import naming
from btnet.model.added import backbone_of_others
from btnet.model.backbone import Backbone
from btnet.model.iresnet import IResNet
from btnet.model.mobilefacenet import MobileFaceNet
from btnet.model.overlay import check_tensors
from btnet.model.weights_file import load_weights

MODEL = "model.pt"
"""The trunk's file in the folder of a run."""


def trunk_file(path: str | Path) -> Path:
    """The trunk's file, where its run folder was given."""
    return Path(path) / MODEL if Path(path).is_dir() else Path(path)


def load_trunk(path: str | Path) -> Backbone:
    """Load an arcface_torch backbone file (`model.pt`, `backbone.pth`), or that of a run folder, in eval mode.

    Depth, width, canonical size and embedding size follow from the keys; backbones that were added
    (`btnet.model.added`) read them with their `of_state`. A whole training checkpoint
    (`checkpoint_gpu_0.pt`) is accepted too: its backbone is taken. Half precision becomes float32.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no state dict of an IResNet, a MobileFaceNet or an added backbone.
    """
    state = read_weights(path)
    state = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    return backbone_of(state, where=str(path))


def read_weights(path: str | Path) -> Mapping[str, Tensor]:
    """Read the state dict of a backbone, on the CPU, without building the backbone; of a file or a run folder.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if torch cannot read it as weights.
    """
    path = trunk_file(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such trunk file; give an arcface_torch model.pt or backbone.pth")
    state = load_weights(path)
    if isinstance(state, Mapping) and isinstance(state.get("state_dict_backbone"), Mapping):
        state = state["state_dict_backbone"]
    if not isinstance(state, Mapping) or not all(_is_entry(*item) for item in state.items()):
        raise ValueError(f"{path}: not a state dict (a mapping of names to tensors)")
    return state


def write_weights(path: str | Path, state: Mapping[str, Tensor]) -> None:
    """Write a state dict that `read_weights` and arcface_torch read, whole or not at all; its folder must exist."""
    plain = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    # Through a file: given a path, torch writes its name, here a temporary one, into the archive. Equal weights are
    # equal bytes.
    with replacing(Path(path)) as temporary, open(temporary, "wb") as file:
        torch.save(plain, file)


def backbone_of(state: Mapping[str, Tensor], *, dropout: float = 0.0, where: str = "state dict") -> Backbone:
    """Build the backbone a state dict belongs to and load it, in eval mode.

    The network keeps the given tensors (no copy), so that a user's own module and ours share memory.

    Args:
        state: arcface_torch keys; a `module.` prefix, as DDP leaves it, is removed.
        dropout: not stored in weights, so it must be said.
        where: file or origin, for messages.

    Raises:
        ValueError: if the keys are not those of a known backbone.
    """
    if not isinstance(state, Mapping) or not all(_is_entry(*item) for item in state.items()):
        raise ValueError(f"{where}: not a state dict (a mapping of names to tensors)")
    state = {key.removeprefix("module."): value for key, value in state.items()}
    empty = next((key for key, value in state.items() if not value.numel()), None)
    if empty is not None:
        raise ValueError(
            f"{where}: {empty[:200]} is empty, the file is damaged or of another kind; save it again"
        )
    # Built without memory: a few small tensors could announce a network of any size.
    with naming(where, LookupError, ZeroDivisionError, TypeError, RuntimeError), torch.device("meta"):
        if "layer1.0.bn1.weight" in state and "fc.weight" in state:
            backbone: Backbone = _iresnet(state, dropout, where)
        elif "conv_sep.layers.0.weight" in state and "features.layers.2.weight" in state:
            backbone = _mobilefacenet(state, where)
        elif (other := backbone_of_others(state)) is not None:
            backbone = other
        else:
            raise ValueError(
                f"{where}: neither an IResNet (layer1.0.bn1.weight, fc.weight) nor a MobileFaceNet "
                f"(conv_sep.layers.0.weight); its keys start with {', '.join(list(state)[:3])[:200] or 'nothing'}"
            )
    check_tensors(state, backbone.state_dict(), where)
    backbone.load_state_dict(state, assign=True)
    return backbone.eval()


def _is_entry(key: object, value: object) -> bool:
    return isinstance(key, str) and isinstance(value, Tensor) and value.layout == torch.strided


def adopt(module: nn.Module) -> Backbone:
    """Our backbone around the tensors of a foreign module with arcface_torch's keys; ours pass through."""
    if isinstance(module, Backbone):
        return module
    dropout = getattr(getattr(module, "dropout", None), "p", 0.0)
    return backbone_of(module.state_dict(keep_vars=True), dropout=float(dropout), where=type(module).__name__)


def _iresnet(state: Mapping[str, Tensor], dropout: float, where: str) -> IResNet:
    blocks = [_count(state, rf"layer{stage}\.(\d+)\.") for stage in (1, 2, 3, 4)]
    if 0 in blocks:
        raise ValueError(f"{where}: an IResNet has four stages, this state dict has units {blocks}")
    if "layer1.0.downsample.0.weight" not in state:
        raise ValueError(
            f"{where}: the network of a branch (layer1.0.downsample is missing), not a trunk; "
            "give the 112 px trunk it was made from"
        )
    widths = [state[f"layer{stage}.0.conv1.weight"].shape[0] for stage in (1, 2, 3, 4)]
    embedding_size, flat = state["fc.weight"].shape
    canonical_size = 16 * _square_root(flat, widths[-1], where)
    return IResNet(
        blocks,
        widths=widths,
        input_size=canonical_size,
        canonical_size=canonical_size,
        embedding_size=embedding_size,
        dropout=dropout,
    )


def _mobilefacenet(state: Mapping[str, Tensor], where: str) -> MobileFaceNet:
    first = _count(state, r"layers\.1\.layers\.(\d+)\.layers\.")
    blocks = [first or 1, *(_count(state, rf"layers\.{i}\.layers\.(\d+)\.") for i in (3, 5, 7))]
    canonical_size = 16 * state["features.layers.0.layers.0.weight"].shape[-1]
    return MobileFaceNet(
        input_size=canonical_size,
        canonical_size=canonical_size,
        embedding_size=state["features.layers.2.weight"].shape[0],
        blocks=blocks,
        scale=state["layers.0.layers.0.weight"].shape[0] // 64,
    )


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    found = {match.group(1) for key in state if (match := re.match(pattern, key))}
    # No gap: a single key could announce a million units.
    return next(count for count in range(len(found) + 1) if str(count) not in found)


def _square_root(flat: int, channels: int, where: str) -> int:
    size = math.isqrt(flat // channels)
    if size * size * channels != flat:
        raise ValueError(f"{where}: fc takes {flat} values, not a square map of {channels} channels")
    return size
