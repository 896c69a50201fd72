"""Numbers that others published, each with its source: what stands beside ours in the report.

What could be read at the source is here, and three averages of phi_hr that were found quoted. The paper's tables
hold more (phi_mm and phi_mr of Table 2, the fifteen methods of Table 3, the further rates of Tables 6 to 11):
those were not at hand and are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = [
    "CENTREFACE_SURVFACE",
    "IJBC_TAR",
    "IJBC_TPIR",
    "SURVFACE",
    "VERIFICATION",
    "Source",
    "SurvFaceRow",
]


@dataclass(frozen=True)
class Source:
    """Where numbers come from.

    Attributes:
        short: for a cell of a table.
        full: for the page's list of sources.
    """

    short: str
    full: str


PAPER: Final = Source(
    "paper, quoted",
    "BTNet: Learning Unified Representations for Multi-Resolution Face Recognition, BMVC 2023, Table 2; "
    "found quoted with one decimal, not read at the source",
)
AUTHORS: Final = Source(
    "paper", "the authors' summary of the paper's results, github.com/StevenSmith2000/BTNet, README"
)
SURVFACE_PAPER: Final = Source(
    "SurvFace paper", "Surveillance Face Recognition Challenge, arXiv 1804.09691, abstract"
)

VERIFICATION: Final[dict[str, tuple[Source, dict[str, float]]]] = {
    "phi_hr": (PAPER, {"112&14": 81.0, "14&14": 73.9, "7&7": 60.7}),
    "phi_bt": (
        AUTHORS,
        {
            "112&7": 86.10,
            "112&14": 94.08,
            "112&28": 96.65,
            "7&7": 77.78,
            "14&14": 90.90,
            "28&28": 96.27,
            "112&112": 97.25,
        },
    ),
}
"""Accuracy in %, average of LFW, CFP-FF, CFP-FP, AgeDB-30, CALFW and CPLFW; IResNet-50 trained on MS1MV3."""

IJBC_TAR: Final[dict[str, float]] = {
    "112&7": 88.17,
    "112&14": 93.97,
    "112&28": 95.62,
    "7&7": 35.47,
    "14&14": 82.08,
    "28&28": 94.50,
    "112&112": 96.06,
}
"""phi_bt on IJB-C 1:1: TAR in % at FAR 1e-4 (AUTHORS)."""

IJBC_TPIR: Final[dict[str, float]] = {
    "112&7": 83.93,
    "112&14": 91.87,
    "112&28": 94.33,
    "7&7": 27.70,
    "14&14": 76.65,
    "28&28": 92.89,
    "112&112": 94.85,
}
"""phi_bt on IJB-C 1:N: TPIR in % at FPIR 0.1 (AUTHORS)."""


@dataclass(frozen=True)
class SurvFaceRow:
    """A line of Table 3, QMUL-SurvFace 1:N.

    Attributes:
        auc: in %.
        tpir: TPIR20 in %, by FPIR.
    """

    auc: float | None
    tpir: dict[float, float]


def _row(auc: float, *tpir: float) -> SurvFaceRow:
    return SurvFaceRow(auc, dict(zip((0.3, 0.2, 0.1, 0.01), tpir, strict=True)))


SURVFACE: Final[dict[tuple[str, str], SurvFaceRow]] = {
    ("avg", "floor"): _row(32.6, 27.9, 23.4, 16.5, 1.4),
    ("avg", "near"): _row(34.6, 30.3, 25.7, 18.9, 1.5),
    ("avg", "ceil"): _row(35.4, 31.1, 26.8, 20.3, 2.2),
    ("min", "floor"): _row(32.3, 27.6, 23.2, 16.1, 1.4),
    ("min", "near"): _row(34.0, 29.6, 25.0, 18.0, 1.4),
    ("min", "ceil"): _row(35.3, 31.0, 26.6, 19.9, 2.0),
    ("max", "floor"): _row(33.6, 29.1, 24.5, 17.6, 1.3),
    ("max", "near"): _row(35.2, 31.0, 26.4, 19.6, 1.7),
    ("max", "ceil"): _row(35.4, 31.2, 26.9, 20.6, 2.5),
}
"""phi_bt by (indicator, rule) (AUTHORS)."""

CENTREFACE_SURVFACE: Final = SurvFaceRow(None, {0.1: 13.2})
"""CentreFace, the best of the five methods that the data set's authors measured (SURVFACE_PAPER)."""
