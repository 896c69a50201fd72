"""What one sees in each picture of an evidence page, and which rows it is of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from btnet_lab.evidence.figure_maps import MAPS_PX
from btnet_lab.evidence.figure_pictures import shown_models
from btnet_lab.evidence.groups import grouped, named_rows
from btnet_lab.evidence.record import Record

__all__ = ["captions"]


def captions(records: Sequence[Record], figures: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """By name of the picture.

    Args:
        records: of all rows.
        figures: their data, by name.
    """
    rows = {
        place: named_rows(record for group in grouped(records, place).values() for record in group)
        for place in ("table2", "fig7", "beyond", "passes", "identities")
    }
    found = {
        "accuracy": "Accuracy on people never trained on, from large faces to small; bars: standard deviation over "
        f"seeds. Rows {rows['table2']}.",
        "rivals": "phi_bt minus each other model of Table 2, a panel for each pair of resolutions: right of the line "
        "phi_bt is better. Lines: 95 % of the bootstrap over people; full points: significant. "
        f"Rows {rows['table2']}.",
        "fig7": "Fig. 7: accuracy (above) and stored parameters (below) by where the shared tail starts. "
        f"Rows {rows['fig7']}.",
        "beyond": "Each switch minus plain phi_bt, a panel for each pair of resolutions: right of the line the switch "
        f"is better. Lines: 95 % of the bootstrap over people; full points: significant. Rows {rows['beyond']}.",
        "learning": "Errors against images seen, and against people with as many images seen; both axes logarithmic, "
        "bars: standard deviation over seeds. Dotted: the line of least squares where it falls, drawn on to MS1MV3's "
        "size; it knows of no floor and is no measurement. "
        f"Rows {' and '.join(rows[place] for place in ('passes', 'identities') if rows[place])}.",
        "fig4_5": "Figs. 4 and 5: what each resolution stores beside the trunk, and what a face costs to embed; "
        "counted on the given trunk.",
        "fig8": "Fig. 8: the network that embeds a native face of so many px, by indicator (rows) and rule (columns).",
        "fig9": "Fig. 9: units, strides and sizes of the given trunk and of its branches, and what of them learns.",
    }
    if "error_bound" in figures:
        found["fig1"] = (
            "Fig. 1: upper bound of the error that enlarging a face bilinearly introduces (eq. 11 and 12), mean of "
            f"{figures['error_bound']['num_faces']} test faces and of their pixels, relative to 112 px "
            "(band: standard deviation over faces)."
        )
    if "upsampling" in figures:
        num_faces = figures["upsampling"]["num_faces"]
        found["down_up"] = (
            f"Beside fig. 1: what shrinking takes from {num_faces} test faces: on the left from the pixels, enlarged "
            "again (band: standard deviation of bilinear); on the right from the embedding, by phi_hr on faces "
            "enlarged again and by the branches of phi_bt on small faces as they are (bars: standard deviation over "
            "faces)."
        )
    if "folds" in figures:
        shown = ", ".join(shown_models(figures["folds"]))
        found["fig6_radar"] = (
            f"Fig. 6: accuracy set by set, with the ten folds of the test pairs in the place of sets: {shown} (of each "
            "family the best on average)."
        )
        found["fig6_drop"] = (
            "Fig. 6: accuracy lost against full resolution; lines: from the least to the most hurt fold. Same models."
        )
    if "maps" in figures:
        maps = figures["maps"]
        models = ", ".join(dict.fromkeys(model["model"] for model in maps["models"]))
        found["fig3"] = (
            "Fig. 3: a rendered face shrunk, the trunk's map of the full face of equal resolution, and the branch's "
            "map of the shrunk face, which learns to be like it. Sums over channels, each map on its own scale."
        )
        found["fig10"] = (
            f"Fig. 10: the stages of {models} on a rendered face of {MAPS_PX} px, below what phi_hr sees at full size; "
            "corr.: correlation with the same model's map of the full face."
        )
        found["agreement"] = (
            f"Figs. 3 and 10 in numbers: correlation of the maps of {maps['num_faces']} test faces, shrunk, with the "
            "given trunk's maps of the full faces at the end of each stage, and cosine of the embeddings. "
            f"Rows {rows['table2']}, first seeds."
        )
    return found
