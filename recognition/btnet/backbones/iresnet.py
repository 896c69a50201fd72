"""IResNet, the trunk of ArcFace and its successors, in arcface_torch's state dict format."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor, nn

from btnet.backbones.backbone import Backbone, Flatten, count_units, initialise
from btnet.backbones.convolution import Convolution
from btnet.method.coupling import Unit, strides_at

_EPS = 1e-5
_STAGES = ("layer1", "layer2", "layer3", "layer4")


class ResidualUnit(nn.Module):
    """BN - conv - BN - PReLU - conv (stride) - BN, added to the input (ArcFace, section 3.1)."""

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels, eps=_EPS)
        self.conv1 = Convolution(in_channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels, eps=_EPS)
        self.prelu = nn.PReLU(channels)
        self.conv2 = Convolution(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels, eps=_EPS)
        if stride != 1 or in_channels != channels:
            self.downsample: nn.Module | None = nn.Sequential(
                Convolution(in_channels, channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(channels, eps=_EPS),
            )
        else:
            self.downsample = None

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] -> [B, channels, H / stride, W / stride]."""
        out = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        out = self.bn3(self.conv2(out))
        shortcut: Tensor = x if self.downsample is None else self.downsample(x)
        summed: Tensor = shortcut + out
        return summed


class IResNet(Backbone):
    """IResNet for one input size.

    Args:
        blocks: residual units per stage.
        widths: channels per stage; the stem has those of the first.
        input_size: size in px this network takes; None: the canonical size. Below it it is the authors' branch
            architecture: strides up to the coupling layer are 1, and the first unit needs no shortcut
            convolution (`layer1.0.downsample` does not exist).
        canonical_size: input size of the trunk, a multiple of 16.
        embedding_size: length of the embedding.
        dropout: probability before the fully connected layer.

    Raises:
        ValueError: if `input_size` is not in the pyramid of the canonical size.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        *,
        widths: Sequence[int] = (64, 128, 256, 512),
        input_size: int | None = None,
        canonical_size: int = 112,
        embedding_size: int = 512,
        dropout: float = 0.0,
    ):
        super().__init__()
        input_size = canonical_size if input_size is None else input_size
        if len(blocks) != 4 or len(widths) != 4:
            raise ValueError(
                f"blocks {list(blocks)} and widths {list(widths)}: IResNet has four stages, give four each"
            )
        self.arch = {
            "blocks": tuple(blocks),
            "widths": tuple(widths),
            "canonical_size": canonical_size,
            "embedding_size": embedding_size,
            "dropout": dropout,
        }
        self.canonical_size, self.input_size, self.embedding_size = canonical_size, input_size, embedding_size
        self._units = _units(blocks)
        strides = strides_at([u.stride for u in self._units], canonical_size, input_size)
        stride_of = {u.name: stride for u, stride in zip(self._units, strides, strict=True)}

        self.conv1 = Convolution(3, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0], eps=_EPS)
        self.prelu = nn.PReLU(widths[0])
        in_channels = widths[0]
        for stage, count, channels in zip(_STAGES, blocks, widths, strict=True):
            units = []
            for i in range(count):
                units.append(ResidualUnit(in_channels, channels, stride_of[f"{stage}.{i}"]))
                in_channels = channels
            self.add_module(stage, nn.Sequential(*units))
        self.bn2 = nn.BatchNorm2d(in_channels, eps=_EPS)
        self.dropout = nn.Dropout(dropout, inplace=True)
        self.flatten = Flatten()
        self.fc = nn.Linear(in_channels * (canonical_size // 16) ** 2, embedding_size)
        self.features = nn.BatchNorm1d(embedding_size, eps=_EPS)
        initialise(self)
        # arcface_torch fixes the scale of the last normalisation: a margin loss divides it out anyway.
        self.features.weight.requires_grad_(False)

    @classmethod
    def of_state(cls, state: Mapping[str, Tensor]) -> IResNet | None:
        """Told by `layer1.0.bn1` and `fc`.

        Raises:
            ValueError: if a stage is missing, or `fc` takes no square map.
        """
        if "layer1.0.bn1.weight" not in state or "fc.weight" not in state:
            return None
        blocks = [count_units(state, rf"{stage}\.(\d+)\.") for stage in _STAGES]
        if 0 in blocks:
            raise ValueError(f"an IResNet has four stages, this state dict has units {blocks}")
        widths = [state[f"{stage}.0.conv1.weight"].shape[0] for stage in _STAGES]
        embedding_size, flat = state["fc.weight"].shape
        side = math.isqrt(flat // widths[-1])
        if side * side * widths[-1] != flat:
            raise ValueError(f"fc takes {flat} values, not a square map of {widths[-1]} channels")
        return cls(blocks, widths=widths, canonical_size=16 * side, embedding_size=embedding_size)

    def units(self) -> list[Unit]:
        """Stem, one unit per residual block, head."""
        return self._units

    def fixed_by_authors(self, tail: Iterable[str]) -> list[str]:
        """Of the tail, the shortcuts' BatchNorms and the last one."""
        return [key for key in tail if ".downsample.1." in key or key.startswith("features.")]


def _units(blocks: Sequence[int]) -> list[Unit]:
    units = [Unit("stem", 1, ("conv1", "bn1", "prelu"))]
    for stage, count in zip(_STAGES, blocks, strict=True):
        units += [Unit(f"{stage}.{i}", 2 if i == 0 else 1, (f"{stage}.{i}",)) for i in range(count)]
    units.append(Unit("head", 1, ("bn2", "dropout", "flatten", "fc", "features"), full_precision=True))
    return units


def iresnet18(*, input_size: int = 112, embedding_size: int = 512, dropout: float = 0.0) -> IResNet:
    """IResNet-18: 24.03 M parameters, 5.22 GFLOPs at 112 px."""
    return IResNet((2, 2, 2, 2), input_size=input_size, embedding_size=embedding_size, dropout=dropout)


def iresnet34(*, input_size: int = 112, embedding_size: int = 512, dropout: float = 0.0) -> IResNet:
    """IResNet-34: 34.14 M parameters, 8.92 GFLOPs at 112 px."""
    return IResNet((3, 4, 6, 3), input_size=input_size, embedding_size=embedding_size, dropout=dropout)


def iresnet50(*, input_size: int = 112, embedding_size: int = 512, dropout: float = 0.0) -> IResNet:
    """IResNet-50, the paper's trunk: 43.59 M parameters, 12.62 GFLOPs at 112 px."""
    return IResNet((3, 4, 14, 3), input_size=input_size, embedding_size=embedding_size, dropout=dropout)


def iresnet100(*, input_size: int = 112, embedding_size: int = 512, dropout: float = 0.0) -> IResNet:
    """IResNet-100: 65.16 M parameters, 24.18 GFLOPs at 112 px."""
    return IResNet((3, 13, 30, 3), input_size=input_size, embedding_size=embedding_size, dropout=dropout)


def iresnet200(*, input_size: int = 112, embedding_size: int = 512, dropout: float = 0.0) -> IResNet:
    """IResNet-200."""
    return IResNet((6, 26, 60, 6), input_size=input_size, embedding_size=embedding_size, dropout=dropout)
