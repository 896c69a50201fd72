"""Tiny models of the four roles, with statistics that let pictures through."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from btnet.backbones.iresnet import IResNet
from btnet.backbones.state import fingerprint
from btnet.method.btnet import BTNet
from btnet.model_folder.manifest import write_manifest

SIZE, RESOLUTION = 112, 14


def network(input_size: int = SIZE) -> IResNet:
    torch.manual_seed(0)
    made = IResNet((1, 1, 1, 1), widths=(4, 4, 8, 8), embedding_size=8, input_size=input_size)
    for module in made.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.momentum = 1.0
    with torch.no_grad():
        made(torch.randn(8, 3, input_size, input_size))
    return made.eval()


def save_trunk(folder: Path) -> Path:
    folder.mkdir(parents=True)
    torch.save(network().state_dict(), folder / "model.pt")
    return folder / "model.pt"


def save_branch(folder: Path, tail_from: str | None = None) -> Path:
    BTNet(network(), (RESOLUTION,), tail_from=tail_from).save(folder, role="phi_bt")
    return folder


def save_native(folder: Path) -> Path:
    folder.mkdir(parents=True)
    made = network(RESOLUTION)
    torch.save(made.state_dict(), folder / "model.pt")
    write_manifest(
        folder,
        arch=made.arch,
        trunk_fingerprint=fingerprint(made.state_dict()),
        resolutions=[],
        interpolation="bilinear",
        input_size=RESOLUTION,
        role="phi_14",
    )
    return folder
