"""From a state dict to the backbone it belongs to: the architecture is read from keys and shapes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from btnet.backbones.backbone import Backbone
from btnet.backbones.registry import kinds, recognise
from btnet.backbones.saved_networks import (
    ARCFACE_TORCH,
    COLOUR_ORDERS,
    Part,
    Translated,
    networks_in,
    tensors_in,
    translated_by_layout,
)
from btnet.backbones.state import check_tensors
from btnet.backbones.weights_file import (
    OVERLAY,
    RECORD,
    is_safetensors,
    load_weights,
    read_tensors,
    record_of,
    with_record,
)
from btnet.files.atomic import replacing
from btnet.files.text import naming
from btnet.method.coupling import pyramid
from btnet.model_folder.model_files import MODEL as MODEL
from btnet.model_folder.model_files import is_listed

_FEWEST_TENSORS = 4  # of a network
_OTHER_NAMES = ("model.safetensors", "pytorch_model.bin")  # of Hugging Face's folders


def trunk_file(path: str | Path) -> Path:
    """The trunk's file, where its folder was given."""
    folder = Path(path)
    if not folder.is_dir():
        return folder
    others = (folder / name for name in _OTHER_NAMES if not (folder / MODEL).exists())
    return next((file for file in others if file.exists()), folder / MODEL)


def load_trunk(
    path: str | Path, *, input_size: int | None = None, colour_order: str | None = None
) -> Backbone:
    """Load a trunk's file, or that of a run folder, in eval mode; it takes RGB.

    Architecture and sizes follow from the keys (`btnet.backbones.registry`). The state dict may stand in dictionaries
    (a training checkpoint of arcface_torch or PyTorch Lightning), its keys behind a prefix (`module.`, `net.`, ...).
    Half precision becomes float32. Networks of AdaFace, CVLface, TFace and face.evoLVe are translated
    (`btnet.interop.foreign_trunks`).

    Args:
        path: `model.pt`, `backbone.pth`, `model.safetensors`, `x.ckpt` ..., or a folder with one of the first.
        input_size: px that the network takes, for a phi_mm: not all weights tell.
        colour_order: "RGB" or "BGR", of the images the network was trained on. Needed only where the file does not
            tell: bare state dicts of AdaFace (BGR) and TFace (RGB) are alike.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds no network of a known kind, or several; if its colour order must be stated.
    """
    if colour_order not in (None, *COLOUR_ORDERS):
        raise ValueError(f"colour order {colour_order!r}: expected RGB or BGR")
    content, path = _read(path)
    found = _network_in(content, path)
    if colour_order is None and found.colour_order is None:
        raise ValueError(
            f"{path}: of {found.origin}, whose keys are the same; state the colour order it was trained on "
            "(`btnet convert-trunk --colour-order`): BGR for AdaFace, RGB for TFace"
        )
    used = colour_order or found.colour_order
    state = {key: value.float() if value.is_floating_point() else value for key, value in found.state.items()}
    trunk = backbone_of(state, input_size=input_size, where=str(path))
    if used == "BGR":
        flip_colours(trunk)
    trunk.origin = record_of(content) or _origin(found, path, str(used))
    return trunk


def _origin(found: Translated, path: Path, colour_order: str) -> dict[str, str]:
    if found.origin == ARCFACE_TORCH and colour_order == "RGB":
        return {}
    known = {"repository": found.origin, "file": path.name, "colour_order": colour_order}
    return {**known, "licence": found.licence} if found.licence else known


def first_convolution(trunk: Backbone) -> Tensor:
    """Weight of the convolution that takes the images, [C, 3, k, k]."""
    return next(parameter for parameter in trunk.parameters() if parameter.ndim == 4)


def flip_colours(trunk: Backbone) -> None:
    """Make a network for BGR images one for RGB images, or the reverse."""
    first = first_convolution(trunk)
    with torch.no_grad():
        first.copy_(first.flip(1))


def read_weights(path: str | Path) -> Mapping[str, Tensor]:
    """The state dict in a file or run folder, on the CPU, its keys without a prefix; errors as `load_trunk`."""
    return _network_in(*_read(path)).state


def _read(path: str | Path) -> tuple[Any, Path]:
    """Content of a trunk's file, or of that of a folder; and the file."""
    folder, path = Path(path), trunk_file(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such trunk file; give an arcface_torch model.pt or backbone.pth")
    if path.suffix == ".onnx":
        raise ValueError(f"{path}: an ONNX file; `btnet import-onnx` makes a trunk of it")
    if is_safetensors(path) and read_tensors(path, OVERLAY)[0]:
        raise ValueError(f"{path}: a branch's overlay, not a trunk; give the folder it lies in")
    content = load_weights(path)
    if folder != path:
        is_listed(folder, path)
    return content, path


def _network_in(content: Any, path: Path) -> Translated:
    """The one network in a file; its tensors as they are where no network is known among them."""
    part = tensors_in(content)
    if part is None:
        raise ValueError(f"{path}: not a state dict (a mapping of names to tensors)")
    with naming(path, LookupError, TypeError, RuntimeError):
        found = networks_in(part, lambda each: _known(each, path))
    if len(found) > 1:
        places = ", ".join(place or "its top level" for place, _ in found[:4])
        raise ValueError(f"{path}: holds {len(found)} networks ({places}); save the one that is meant alone")
    return found[0][1] if found else Translated(part.state, ARCFACE_TORCH, "RGB")


def _known(part: Part, path: Path) -> Translated | None:
    # The registry is asked about what can be a network alone: a file may hold a million prefixes.
    is_ours = len(part.state) >= _FEWEST_TENSORS and _is_registered(part.state)
    translated = None
    try:
        translated = translated_by_layout(part, path)
    except ValueError:
        if not is_ours:  # what is refused by name may have joined as a backbone
            raise
    return translated or (Translated(part.state, ARCFACE_TORCH, "RGB") if is_ours else None)


def _is_registered(state: Mapping[str, Tensor]) -> bool:
    try:
        with torch.device("meta"):
            return recognise(state) is not None
    except (ValueError, LookupError, ArithmeticError, TypeError, RuntimeError):
        return True  # of a kind that finds a contradiction, and says so when it is built


def write_weights(
    path: str | Path, state: Mapping[str, Tensor], origin: Mapping[str, str] | None = None
) -> None:
    """Write a state dict that `read_weights` and arcface_torch read, whole or not at all; its folder must exist.

    Args:
        path: of a file of `torch.save`, or of safetensors if it ends in `.safetensors`.
        state: any tensors.
        origin: where they come from; lies in the file beside the keys, where `load_state_dict` does not look.
    """
    path = Path(path)
    plain = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    with replacing(path) as temporary:
        if path.suffix == ".safetensors":
            save_file(plain, str(temporary), {RECORD: json.dumps(origin)} if origin else None)
            return
        # Through a file: given a path, torch writes its name, here a temporary one, into the archive. Equal weights
        # are equal bytes.
        with open(temporary, "wb") as file:
            torch.save(with_record(plain, origin) if origin else plain, file)


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
                f"{where}: of no backbone that is known ({', '.join(kind.__name__ for kind in kinds())}); "
                f"its keys start with {', '.join(list(state)[:3])[:200] or 'nothing'}"
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
