"""Networks laid out as in AdaFace, CVLface, TFace and face.evoLVe, narrow and shallow; not the identity anywhere."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if inputs == outputs:
        return nn.MaxPool2d(1, stride)
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, 2, 1, bias=False)
        self.fc2 = nn.Conv2d(2, channels, 1, bias=False)


class Unit(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, *, norm_between: bool) -> None:
        super().__init__()
        self.shortcut_layer = _shortcut(inputs, outputs, stride)
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            *([nn.BatchNorm2d(outputs)] if norm_between else []),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.res_layer(x) + self.shortcut_layer(x)
        return out


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        inner = outputs // 4
        self.shortcut_layer = _shortcut(inputs, outputs, stride)
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.PReLU(inner),
            nn.Conv2d(inner, inner, 3, padding=1, bias=False),
            nn.BatchNorm2d(inner),
            nn.PReLU(inner),
            nn.Conv2d(inner, outputs, 1, stride, bias=False),
            nn.BatchNorm2d(outputs),
        )


class ForeignIR(nn.Module):
    """`input_layer`, `body`, `output_layer`: AdaFace, CVLface and TFace; face.evoLVe with other units and head."""

    def __init__(
        self,
        size: int = 32,
        *,
        blocks: Sequence[int] = (2, 1, 3, 1),
        widths: Sequence[int] = (8, 12, 16, 20),
        norm_between: bool = True,
        affine: bool = False,
        bottleneck: bool = False,
    ) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.PReLU(widths[0])
        )
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(widths[-1]),
            nn.Dropout(0.4),
            nn.Flatten(),
            nn.Linear(widths[-1] * (size // 16) ** 2, 24),
            nn.BatchNorm1d(24, affine=affine),
        )
        units: list[nn.Module] = []
        inputs = widths[0]
        for count, width in zip(blocks, widths, strict=True):
            for i in range(count):
                stride = 2 if i == 0 else 1
                units.append(
                    Bottleneck(inputs, width, stride)
                    if bottleneck
                    else Unit(inputs, width, stride, norm_between=norm_between)
                )
                inputs = width
        self.body = nn.Sequential(*units)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.output_layer(self.body(self.input_layer(x)))
        return out


class AdaFaceIR(ForeignIR):
    """As `ForeignIR`; its forward gives (unit vector, norm) of BGR images."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        embedding = super().forward(x)
        norm = embedding.norm(dim=1, keepdim=True)
        return embedding / norm, norm


class _ConvBlock(nn.Module):
    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        *,
        linear: bool = False,
    ) -> None:
        super().__init__()
        padding = 1 if kernel == 3 else 0
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        if not linear:
            self.prelu = nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x))
        out: Tensor = self.prelu(x) if hasattr(self, "prelu") else x
        return out


class _DepthWise(nn.Module):
    def __init__(self, inputs: int, outputs: int, hidden: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = _ConvBlock(inputs, hidden, 1)
        self.conv_dw = _ConvBlock(hidden, hidden, 3, stride, hidden)
        self.project = _ConvBlock(hidden, outputs, 1, linear=True)
        self.residual = stride == 1

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.project(self.conv_dw(self.conv(x)))
        return x + out if self.residual else out


class _Residual(nn.Module):
    def __init__(self, channels: int, hidden: int, count: int) -> None:
        super().__init__()
        self.model = nn.Sequential(*(_DepthWise(channels, channels, hidden) for _ in range(count)))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.model(x)
        return out


class _GDC(nn.Module):
    def __init__(self, size: int, *, affine: bool) -> None:
        super().__init__()
        self.conv_6_dw = _ConvBlock(512, 512, size, groups=512, linear=True)
        if size == 3:
            self.conv_6_dw.conv.padding = (0, 0)
        self.linear = nn.Linear(512, 24, bias=False)
        self.bn = nn.BatchNorm1d(24, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.bn(self.linear(self.conv_6_dw(x).flatten(1)))
        return out


class ForeignMobileFaceNet(nn.Module):
    """TFace's (head in `output_layer`, no affine part) and face.evoLVe's (head beside the rest) MobileFaceNet."""

    def __init__(self, size: int = 32, *, tface: bool = True, counts: Sequence[int] = (2, 1, 1)) -> None:
        super().__init__()
        self.conv1 = _ConvBlock(3, 64, 3, 2)
        self.conv2_dw = _ConvBlock(64, 64, 3, 1, 64)
        self.conv_23 = _DepthWise(64, 64, 128, 2)
        self.conv_3 = _Residual(64, 128, counts[0])
        self.conv_34 = _DepthWise(64, 128, 256, 2)
        self.conv_4 = _Residual(128, 256, counts[1])
        self.conv_45 = _DepthWise(128, 128, 512, 2)
        self.conv_5 = _Residual(128, 256, counts[2])
        self.conv_6_sep = _ConvBlock(128, 512, 1)
        head = _GDC(size // 16, affine=not tface)
        self.names = ["output_layer"] if tface else ["conv_6_dw", "linear", "bn"]
        if tface:
            self.output_layer = head
        else:
            self.conv_6_dw, self.linear, self.bn = head.conv_6_dw, head.linear, head.bn

    def forward(self, x: Tensor) -> Tensor:
        for name in (
            "conv1",
            "conv2_dw",
            "conv_23",
            "conv_3",
            "conv_34",
            "conv_4",
            "conv_45",
            "conv_5",
            "conv_6_sep",
        ):
            x = self.get_submodule(name)(x)
        if self.names == ["output_layer"]:
            out: Tensor = self.output_layer(x)
            return out
        return self.bn(self.linear(self.conv_6_dw(x).flatten(1)))  # type: ignore[no-any-return]


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """No weight, statistic or slope of a particular value; in eval mode."""
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean, 0, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0, 0.3)
        elif isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, 0.1, 0.4)
    return network.eval()
