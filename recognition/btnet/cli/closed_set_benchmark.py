"""Closed-set 1:N identification of native faces: what TinyFace and SCFace are scored by."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from btnet.cli.benchmark import percent
from btnet.cli.native_benchmark import Embedded, NativeBenchmark
from btnet.console import show, show_table
from btnet.public_sets.image_sets import NOBODY, IdentificationSet
from btnet.serving.results import plain

__all__ = ["run_closed_set"]

_RANKS = (1, 5, 10, 20)


def run_closed_set(
    task: str, faces: IdentificationSet, probe_groups: Sequence[str], args: argparse.Namespace
) -> None:
    """Score each model, strategy and group of probes; print a table, write what was asked for.

    Args:
        task: as result files call it.
        faces: the set, with a group "gallery".
        probe_groups: names of its groups of probes.
        args: of `add_native_arguments`.

    Raises:
        ValueError: for damaged models, unreadable images, a probe without gallery mate.
        FileNotFoundError: if a model is missing.
    """
    from btnet.evaluation.identification import closed_set

    benchmark = NativeBenchmark(args, faces.images, faces.checksum)

    def score(embedded: Embedded) -> list[dict[str, Any]]:
        gallery, ids = embedded.group(faces.groups["gallery"])
        distractors = gallery[ids == NOBODY]
        results = []
        for name in probe_groups:
            found = closed_set(
                gallery[ids != NOBODY],
                ids[ids != NOBODY],
                *embedded.group(faces.groups[name]),
                distractors=distractors if len(distractors) else None,
                ranks=_RANKS,
            )
            results.append(
                {
                    "probes": name,
                    "rank": plain(found.rank_rate),
                    "map": found.mean_average_precision,
                    "map_trapezoid": found.mean_average_precision_trapezoid,
                    "num_probes": found.num_probes,
                    "num_gallery": found.num_gallery,
                }
            )
        return results

    results = benchmark.score(score)
    benchmark.write(
        task,
        faces.name,
        {"gallery": "every image by itself", "ranks": list(_RANKS)},
        {f"num_{name}": len(group.ids) for name, group in faces.groups.items()},
        results,
    )
    columns = ["model", "strategy", "probes", *(f"rank-{k}" for k in _RANKS), "mAP", "mAP (kit)"]
    rows = [
        [
            r["model"],
            r["strategy"],
            r["probes"],
            *(percent(r["rank"][str(k)]) for k in _RANKS),
            percent(r["map"]),
            percent(r["map_trapezoid"]),
        ]
        for r in results
    ]
    show_table(f"{faces.name}, %", columns, rows, text=(0, 1, 2))
    show(f"{benchmark.closing_words()} mAP (kit): by trapezoids, as TinyFace's kit counts.")
