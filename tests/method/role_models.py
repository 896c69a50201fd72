"""Tiny models of the four roles, with statistics that let pictures through."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from btnet.backbones.iresnet import IResNet
from btnet.method.btnet import BTNet
from btnet.method.saved_model import write_model

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
    write_model(folder, network(RESOLUTION), (), "bilinear", input_size=RESOLUTION, role="phi_14")
    return folder
