"""MobileFaceNet, the trunk that edge devices run, in arcface_torch's state dict format (`mbf`, `mbf_large`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from btnet.backbones.backbone import Backbone, Flatten, count_units, initialise
from btnet.backbones.convolution import Convolution
from btnet.method.coupling import Unit, strides_at

_SEPARABLE_CHANNELS = 512


class ConvUnit(nn.Module):
    """Convolution, BatchNorm, and a PReLU unless `linear`."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        linear: bool = False,
    ):
        super().__init__()
        padding = 1 if kernel == 3 else 0
        parts: list[nn.Module] = [
            Convolution(in_channels, channels, kernel, stride, padding, groups=groups, bias=False),
            nn.BatchNorm2d(channels),
        ]
        if not linear:
            parts.append(nn.PReLU(channels))
        self.layers = nn.Sequential(*parts)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] -> [B, channels, H', W']."""
        out: Tensor = self.layers(x)
        return out


class DepthWise(nn.Module):
    """Expand to `hidden` channels, convolve each for itself, project back (MobileFaceNets, table 1)."""

    def __init__(
        self, in_channels: int, channels: int, hidden: int, *, stride: int = 1, residual: bool = False
    ):
        super().__init__()
        self.residual = residual
        self.layers = nn.Sequential(
            ConvUnit(in_channels, hidden, 1),
            ConvUnit(hidden, hidden, 3, stride=stride, groups=hidden),
            ConvUnit(hidden, channels, 1, linear=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] -> [B, channels, H / stride, W / stride]."""
        out: Tensor = self.layers(x)
        return x + out if self.residual else out


class Repeated(nn.Module):
    """Residual depth-wise units in a row; the backbone runs them one by one."""

    def __init__(self, channels: int, hidden: int, count: int):
        super().__init__()
        self.layers = nn.Sequential(
            *(DepthWise(channels, channels, hidden, residual=True) for _ in range(count))
        )


class GlobalDepthWise(nn.Module):
    """Global depth-wise convolution and the linear embedding (MobileFaceNets, section 3.2)."""

    def __init__(self, embedding_size: int, size: int):
        super().__init__()
        self.layers = nn.Sequential(
            ConvUnit(_SEPARABLE_CHANNELS, _SEPARABLE_CHANNELS, size, groups=_SEPARABLE_CHANNELS, linear=True),
            Flatten(),
            nn.Linear(_SEPARABLE_CHANNELS, embedding_size, bias=False),
            nn.BatchNorm1d(embedding_size),
        )
        # The kernel covers the whole map whatever its size, also where that happens to be 3.
        convolution = self.get_submodule("layers.0.layers.0")
        assert isinstance(convolution, nn.Conv2d)
        convolution.padding = (0, 0)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 512, size, size] -> [B, embedding_size]."""
        out: Tensor = self.layers(x)
        return out


class MobileFaceNet(Backbone):
    """MobileFaceNet for one input size.

    Args:
        input_size: size in px this network takes; None: the canonical size. Below it the strides up to the coupling
            layer are 1.
        canonical_size: input size of the trunk, a multiple of 16.
        embedding_size: length of the embedding.
        blocks: depth-wise units per stage; the first stage is one convolution if 1.
        scale: multiplies the number of channels.

    Raises:
        ValueError: if `input_size` is not in the pyramid of the canonical size.
    """

    def __init__(
        self,
        *,
        input_size: int | None = None,
        canonical_size: int = 112,
        embedding_size: int = 512,
        blocks: Sequence[int] = (1, 4, 6, 2),
        scale: int = 2,
    ):
        super().__init__()
        input_size = canonical_size if input_size is None else input_size
        if len(blocks) != 4:
            raise ValueError(f"blocks {list(blocks)}: MobileFaceNet has four stages, give four numbers")
        self.arch = {
            "canonical_size": canonical_size,
            "embedding_size": embedding_size,
            "blocks": tuple(blocks),
            "scale": scale,
        }
        self.canonical_size, self.input_size, self.embedding_size = canonical_size, input_size, embedding_size
        self._units = _units(blocks)
        strides = strides_at([u.stride for u in self._units], canonical_size, input_size)
        s0, s2, s4, s6 = (stride for u, stride in zip(self._units, strides, strict=True) if u.stride > 1)
        narrow, wide = 64 * scale, 128 * scale
        first = ConvUnit(narrow, narrow, 3, groups=64) if blocks[0] == 1 else Repeated(narrow, 128, blocks[0])
        self.layers = nn.ModuleList(
            [
                ConvUnit(3, narrow, 3, stride=s0),
                first,
                DepthWise(narrow, narrow, 128, stride=s2),
                Repeated(narrow, 128, blocks[1]),
                DepthWise(narrow, wide, 256, stride=s4),
                Repeated(wide, 256, blocks[2]),
                DepthWise(wide, wide, 512, stride=s6),
                Repeated(wide, 256, blocks[3]),
            ]
        )
        self.conv_sep = ConvUnit(wide, _SEPARABLE_CHANNELS, 1)
        self.features = GlobalDepthWise(embedding_size, canonical_size // 16)
        initialise(self)

    @classmethod
    def of_state(cls, state: Mapping[str, Tensor]) -> MobileFaceNet | None:
        """Told by `conv_sep` and `features`."""
        if "conv_sep.layers.0.weight" not in state or "features.layers.2.weight" not in state:
            return None
        first = count_units(state, r"layers\.1\.layers\.(\d+)\.layers\.")
        return cls(
            canonical_size=16 * state["features.layers.0.layers.0.weight"].shape[-1],
            embedding_size=state["features.layers.2.weight"].shape[0],
            blocks=[first or 1, *(count_units(state, rf"layers\.{i}\.layers\.(\d+)\.") for i in (3, 5, 7))],
            scale=state["layers.0.layers.0.weight"].shape[0] // 64,
        )

    def units(self) -> list[Unit]:
        """Every convolution and depth-wise unit of `layers`, then `conv_sep` and `features`."""
        return self._units


def _units(blocks: Sequence[int]) -> list[Unit]:
    units = []
    for stage, count in enumerate(blocks):
        striding, repeated = f"layers.{2 * stage}", f"layers.{2 * stage + 1}"
        units.append(Unit(striding, 2, (striding,)))
        if stage == 0 and count == 1:
            units.append(Unit(repeated, 1, (repeated,)))
        else:
            names = [f"{repeated}.layers.{i}" for i in range(count)]
            units += [Unit(name, 1, (name,)) for name in names]
    units.append(Unit("conv_sep", 1, ("conv_sep",)))
    units.append(Unit("features", 1, ("features",), full_precision=True))
    return units


def mobilefacenet(
    *, input_size: int = 112, embedding_size: int = 512, blocks: Sequence[int] = (1, 4, 6, 2), scale: int = 2
) -> MobileFaceNet:
    """arcface_torch's `mbf`; with `scale=1` the original MobileFaceNet."""
    return MobileFaceNet(input_size=input_size, embedding_size=embedding_size, blocks=blocks, scale=scale)


def mobilefacenet_large(*, input_size: int = 112, embedding_size: int = 512) -> MobileFaceNet:
    """arcface_torch's `mbf_large`."""
    return mobilefacenet(input_size=input_size, embedding_size=embedding_size, blocks=(2, 8, 12, 4), scale=4)
