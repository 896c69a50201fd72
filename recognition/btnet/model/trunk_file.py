"""From a state dict to the backbone it belongs to: the architecture is read from keys and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from btnet.files.atomic import replacing
from btnet.files.named_errors import naming
from btnet.model.backbone import Backbone
from btnet.model.coupling import pyramid
from btnet.model.model_files import MODEL as MODEL
from btnet.model.model_files import is_listed
from btnet.model.names import recognise
from btnet.model.overlay import check_tensors
from btnet.model.weights_file import load_weights


def trunk_file(path: str | Path) -> Path:
    """The trunk's file, where its run folder was given."""
    return Path(path) / MODEL if Path(path).is_dir() else Path(path)


def load_trunk(path: str | Path, *, input_size: int | None = None) -> Backbone:
    """Load an arcface_torch backbone file (`model.pt`, `backbone.pth`), or that of a run folder, in eval mode.

    Depth, width, canonical size and embedding size follow from the keys, which each backbone of the registry
    (`btnet.model.names`) reads with its `of_state`. A whole training checkpoint
    (`checkpoint_gpu_0.pt`) is accepted too: its backbone is taken. Half precision becomes float32.

    Args:
        path: of the file or folder.
        input_size: px that the network takes, where it is no trunk but a phi_mm: not all weights tell.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no state dict of a backbone in the registry.
    """
    state = read_weights(path)
    state = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    return backbone_of(state, input_size=input_size, where=str(trunk_file(path)))


def read_weights(path: str | Path) -> Mapping[str, Tensor]:
    """Read the state dict of a backbone, on the CPU, without building the backbone; of a file or a run folder.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if torch cannot read it as weights, or it is not the file that the folder's manifest lists.
    """
    folder, path = Path(path), trunk_file(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such trunk file; give an arcface_torch model.pt or backbone.pth")
    state = load_weights(path)
    if isinstance(state, Mapping) and isinstance(state.get("state_dict_backbone"), Mapping):
        state = state["state_dict_backbone"]
    if not isinstance(state, Mapping) or not all(_is_entry(*item) for item in state.items()):
        raise ValueError(f"{path}: not a state dict (a mapping of names to tensors)")
    if folder != path:
        is_listed(folder, path)
    return state


def write_weights(path: str | Path, state: Mapping[str, Tensor]) -> None:
    """Write a state dict that `read_weights` and arcface_torch read, whole or not at all; its folder must exist."""
    plain = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    # Through a file: given a path, torch writes its name, here a temporary one, into the archive. Equal weights are
    # equal bytes.
    with replacing(Path(path)) as temporary, open(temporary, "wb") as file:
        torch.save(plain, file)


def backbone_of(
    state: Mapping[str, Tensor],
    *,
    input_size: int | None = None,
    dropout: float = 0.0,
    where: str = "state dict",
) -> Backbone:
    """Build the backbone a state dict belongs to and load it, in eval mode.

    The network keeps the given tensors (no copy), so that a user's own module and ours share memory.

    Args:
        state: arcface_torch keys; a `module.` prefix, as DDP leaves it, is removed.
        input_size: px that the network takes; None: a trunk.
        dropout: not stored in weights, so it must be said; for those that have one.
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
    with naming(where, LookupError, ArithmeticError, TypeError, RuntimeError), torch.device("meta"):
        backbone = recognise(state, input_size)
        if backbone is None:
            raise ValueError(
                f"{where}: neither an IResNet (layer1.0.bn1.weight, fc.weight) nor a MobileFaceNet "
                f"(conv_sep.layers.0.weight), nor of a registered backbone; its keys start with "
                f"{', '.join(list(state)[:3])[:200] or 'nothing'}"
            )
        if dropout and "dropout" in backbone.arch:
            backbone.arch["dropout"] = dropout
            backbone = backbone.fresh()
        if input_size is None:
            _check_is_trunk(state, backbone, where)
    check_tensors(state, backbone.state_dict(), where)
    backbone.load_state_dict(state, assign=True)
    return backbone.eval()


def _is_entry(key: object, value: object) -> bool:
    return isinstance(key, str) and isinstance(value, Tensor) and value.layout == torch.strided


def _check_is_trunk(state: Mapping[str, Tensor], trunk: Backbone, where: str) -> None:
    missing = next((key for key in trunk.state_dict() if key not in state), None)
    sizes = pyramid([unit.stride for unit in trunk.units()], trunk.canonical_size) if missing else []
    if any(trunk.rebuild(size).state_dict().keys() == state.keys() for size in sizes):
        raise ValueError(
            f"{where}: the network of a branch ({missing} is missing), not a trunk; "
            f"give the {trunk.canonical_size} px trunk it was made from"
        )


def adopt(module: nn.Module) -> Backbone:
    """Our backbone around the tensors of a foreign module with arcface_torch's keys; ours pass through."""
    if isinstance(module, Backbone):
        return module
    dropout = getattr(getattr(module, "dropout", None), "p", 0.0)
    return backbone_of(module.state_dict(keep_vars=True), dropout=float(dropout), where=type(module).__name__)
