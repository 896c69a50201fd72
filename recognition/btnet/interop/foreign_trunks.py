"""Trunks of AdaFace, CVLface, TFace and face.evoLVe in arcface_torch's keys: the same networks under other names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from btnet.backbones.saved_networks import COLOUR_ORDERS, Part, Translated
from btnet.backbones.unmeasured import unmeasured_norm

__all__ = ["translate"]

# By the number of layers on a unit's main path: whether a BatchNorm stands between its convolutions.
_MAIN_PATHS: Final = {
    6: ("bn1", "conv1", "bn2", "prelu", "conv2", "bn3"),
    5: ("bn1", "conv1", "prelu", "conv2", "bn3"),
}
_STEM: Final = ("conv1", "bn1", "prelu")
_HEAD: Final = {"0": "bn2", "3": "fc", "4": "features"}
_OTHERS: Final = {
    "a ViT": ("patch_embed.proj.weight", "blocks.0.attn.qkv.weight"),
    "a Swin transformer": ("patch_embed.proj.weight", "layers.0.blocks.0.attn.qkv.weight"),
    "a ResNet with ReLU": ("bn_o1.weight", "layer1.0.conv1.weight"),
}


def translate(part: Part, path: Path) -> Translated | None:
    """Recognise and rename; layers that these repositories do without are added such that nothing changes.

    Their shortcut of a striding unit of equal widths is a max-pooling of kernel 1: here a 1 x 1 convolution (the
    identity) and a BatchNorm. face.evoLVe has no BatchNorm between a unit's convolutions: here it has one. The added
    BatchNorms have no statistics yet: see `btnet.backbones.unmeasured`.

    Args:
        part: names and tensors, and what stood before the names.
        path: of the file; files beside it may state colour order and licence.

    Returns:
        None if the names are of none of these repositories.

    Raises:
        ValueError: for a network of theirs that is none of ours: squeeze and excitation, bottlenecks, transformers.
    """
    state = part.state
    if "input_layer.0.weight" in state and "body.0.res_layer.0.weight" in state:
        return _iresnet(part, path)
    if "layer1.0.bn1.weight" in state and _place(part).endswith("net."):  # arcface_torch's, in CVLface
        return _stated(dict(state), "CVLface", "RGB", path)
    if "conv_23.conv_dw.conv.weight" in state and "conv_6_sep.conv.weight" in state:
        return _mobilefacenet(part, path)
    for kind, keys in _OTHERS.items():
        if all(key in state for key in keys):
            raise ValueError(
                f"{path}: {kind}, expected an IResNet or a MobileFaceNet; branches need one of these"
            )
    return None


def _iresnet(part: Part, path: Path) -> Translated:
    state = part.state
    if any(".se_block." in key or re.search(r"res_layer\.\d+\.fc1\.", key) for key in state):
        raise ValueError(f"{path}: an IR-SE network (squeeze and excitation), expected IR without it")
    layers = {int(match[1]) for key in state if (match := re.match(r"body\.0\.res_layer\.(\d+)\.", key))}
    if len(layers) not in _MAIN_PATHS or state["body.0.res_layer.1.weight"].shape[-1] != 3:
        raise ValueError(
            f"{path}: bottleneck units (IR-152, IR-200), expected units of two 3 x 3 convolutions"
        )
    main_path = _MAIN_PATHS[len(layers)]
    names = _unit_names(state, path)
    found = _renamed(state, names, main_path)
    for unit in names.values():
        channels, inputs, *_ = found[f"{unit}.conv2.weight"].shape
        if channels != inputs:
            raise ValueError(
                f"{path}: {unit}.conv2 has {inputs} input and {channels} output channels, expected equal"
            )
        if len(main_path) == 5:
            _put(found, f"{unit}.bn2", unmeasured_norm(channels))
        if unit == "layer1.0" and f"{unit}.downsample.0.weight" not in found:
            found[f"{unit}.downsample.0.weight"] = torch.eye(channels)[:, :, None, None]
            _put(found, f"{unit}.downsample.1", unmeasured_norm(channels))
    scaled = "features.weight" in found
    place = _place(part)
    _complete_last_norm(found, "features")
    if len(main_path) == 5:
        origin, colour_order = "face.evoLVe", "RGB"
    elif place.endswith("net."):
        origin, colour_order = "CVLface", "RGB"
    elif place.endswith("model.") and not scaled:
        origin, colour_order = "AdaFace", "BGR"
    else:
        origin, colour_order = "AdaFace or TFace", ""
    return _stated(found, origin, colour_order, path)


def _place(part: Part) -> str:
    """What stood before the names, without what DistributedDataParallel and torch.compile put there."""
    return re.sub(r"(module|_orig_mod)\.", "", part.place)


def _unit_names(state: Mapping[str, Tensor], path: Path) -> dict[str, str]:
    """Our name of each `body.N`; a stage begins with the unit that has a shortcut of its own, the first with none."""
    count = len({match[1] for key in state if (match := re.match(r"body\.(\d+)\.", key))})
    starts = [n for n in range(count) if n == 0 or f"body.{n}.shortcut_layer.0.weight" in state]
    if len(starts) != 4:
        raise ValueError(
            f"{path}: {len(starts)} stages by its shortcut layers, expected 4; widths that grow from stage to stage "
            "tell them apart"
        )
    stage = [sum(start <= n for start in starts) for n in range(count)]
    return {f"body.{n}": f"layer{stage[n]}.{n - starts[stage[n] - 1]}" for n in range(count)}


def _renamed(
    state: Mapping[str, Tensor], units: Mapping[str, str], main_path: Iterable[str]
) -> dict[str, Tensor]:
    names = {f"input_layer.{i}": name for i, name in enumerate(_STEM)}
    names |= {f"output_layer.{i}": name for i, name in _HEAD.items()}
    for theirs, ours in units.items():
        names |= {f"{theirs}.res_layer.{i}": f"{ours}.{name}" for i, name in enumerate(main_path)}
        names |= {f"{theirs}.shortcut_layer.{i}": f"{ours}.downsample.{i}" for i in (0, 1)}
    return _with_names(state, names)


def _with_names(state: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    found = {}
    for key, value in state.items():
        module, _, entry = key.rpartition(".")
        found[f"{names.get(module, module)}.{entry}"] = value
    return found


def _mobilefacenet(part: Part, path: Path) -> Translated:
    state = part.state
    head = "output_layer." if "output_layer.linear.weight" in state else ""
    if f"{head}linear.weight" not in state:
        raise ValueError(
            f"{path}: a MobileFaceNet with GNAP, expected one with a global depth-wise convolution"
        )
    parts = {"conv": "0", "bn": "1", "prelu": "2"}
    units = {
        "conv1": "layers.0", "conv2_dw": "layers.1", "conv_6_sep": "conv_sep",
        f"{head}conv_6_dw": "features.layers.0",
    }  # fmt: skip
    for stage, (striding, repeated) in enumerate((("23", "3"), ("34", "4"), ("45", "5")), 1):
        blocks = {f"conv_{striding}": f"layers.{2 * stage}"}
        counted = {match[1] for key in state if (match := re.match(rf"conv_{repeated}\.model\.(\d+)\.", key))}
        blocks |= {f"conv_{repeated}.model.{n}": f"layers.{2 * stage + 1}.layers.{n}" for n in counted}
        for theirs, ours in blocks.items():
            units |= {
                f"{theirs}.{name}": f"{ours}.layers.{i}"
                for i, name in enumerate(("conv", "conv_dw", "project"))
            }
    names = {
        f"{theirs}.{p}": f"{ours}.layers.{i}" for theirs, ours in units.items() for p, i in parts.items()
    }
    names |= {f"{head}linear": "features.layers.2", f"{head}bn": "features.layers.3"}
    found = _with_names(state, names)
    _complete_last_norm(found, "features.layers.3")
    return _stated(found, "TFace" if head else "face.evoLVe", "RGB", path)


def _complete_last_norm(found: dict[str, Tensor], name: str) -> None:
    """Where it has no affine part: one that changes nothing."""
    mean = found.get(f"{name}.running_mean")
    if mean is not None:
        found.setdefault(f"{name}.weight", torch.ones(mean.shape))
        found.setdefault(f"{name}.bias", torch.zeros(mean.shape))


def _put(found: dict[str, Tensor], name: str, entries: Mapping[str, Tensor]) -> None:
    found.update({f"{name}.{entry}": value for entry, value in entries.items()})


def _stated(found: dict[str, Tensor], origin: str, colour_order: str, path: Path) -> Translated:
    """With what the files beside it say: CVLface's `model.yaml`, Hugging Face's `config.json` and model card."""
    said: dict[str, str] = {}
    for file in (path.with_suffix(".yaml"), path.with_name("config.json"), path.with_name("README.md")):
        if file.is_file():
            with open(file, encoding="utf-8", errors="replace") as opened:
                text = opened.read(1 << 16)
            if file.suffix == ".md":  # what stands between two lines of dashes
                text = text[4 : text.find("\n---", 4)] if text.startswith("---\n") else ""
            for key, value in re.findall(r"""\b(color_space|license)["']?:\s*["']?([\w.-]+)""", text):
                said.setdefault(key, value)
    if origin == "CVLface" and said.get("color_space") in COLOUR_ORDERS:
        colour_order = said["color_space"]
    return Translated(found, origin, colour_order or None, said.get("license", ""))
