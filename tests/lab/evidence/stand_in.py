"""Result files of a run that never was: made-up numbers in the form of real ones, for tables and pictures."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

from btnet_lab.evidence.comparisons import all_comparisons
from btnet_lab.evidence.plan import Plan, Row
from btnet_lab.evidence.record import Cost, Record
from btnet_lab.evidence.rows import full_plan

SETTINGS = {"lr": 0.05, "num_epoch": 8, "interpolation": "bilinear", "tail_from": ""}
_BASE = {
    "112&112": 0.998,
    "112&56": 0.995,
    "56&56": 0.995,
    "112&28": 0.98,
    "112&14": 0.78,
    "112&7": 0.53,
    "28&28": 0.966,
    "14&14": 0.775,
    "7&7": 0.62,
}


def stand_in_records(plan: Plan | None = None, seed: int = 0) -> list[Record]:
    """One record for each job, by a formula: each row somewhat above phi_hr, seeds a little apart."""
    plan = plan or full_plan()
    rng = np.random.default_rng(seed)
    gains = {row.name: rng.uniform(0.1, 0.75) for row in plan.rows}
    records = []
    for job in plan.jobs():
        row = job.row
        gain = gains.get(row.name, 0.4) if row.config else 0.0
        if row.places.keys() & {"passes", "identities"}:
            gain = _of_curve(row)
        noise = rng.normal(0, 0.002) if row.config else 0.0
        sizes = plan.sizes(row)
        pairs = ["112&112", *(f"112&{r}" for r in sizes), *(f"{r}&{r}" for r in sizes)]
        accuracy = {
            pair: _BASE[pair]
            if pair == "112&112"
            else min(_BASE[pair] + max(gain * (1 - _BASE[pair]) + noise, 0.0), 1.0)
            for pair in pairs
        }
        records.append(_record(plan, row, job.seed, accuracy, rng))
    return sorted(records, key=lambda r: (r.order, r.name, r.seed))


def _old_gallery(row: Row, accuracy: dict[str, float]) -> dict[str, float]:
    """A trunk that learns on loses the gallery; a branch does not."""
    loss = 0.01 if row.config and not row.resolution else 0.0
    return {pair: value - loss for pair, value in accuracy.items() if pair.startswith("112")}


def _of_curve(row: Row) -> float:
    """Errors that fall as a power of passes, and of people."""
    passes, part = int(row.settings.get("num_epoch", 8)), _part(row)
    return float(1 - 0.5 * (8 * part / passes) ** 0.25 * part**0.2)


def _part(row: Row) -> int:
    return int(row.data.rpartition("1of")[2]) if "1of" in row.data else 1


def _record(plan: Plan, row: Row, seed: int, accuracy: dict[str, float], rng: np.random.Generator) -> Record:
    passes = int(row.settings.get("num_epoch", 8))
    part = _part(row)
    num_images = 7269 // part * passes if row.config else 0
    return Record(
        name=row.name,
        seed=seed,
        order=plan.order(row.name),
        places=dict(row.places),
        resolution=row.resolution,
        accuracy=accuracy,
        settings={**SETTINGS, **row.settings},
        data={"set": row.data, "num_images": 7269 // part, "num_identities": 2748 // part},
        cost=Cost(0.006 * num_images, 0.012 * num_images, 1, num_images),
        num_learnt=162_944 if row.config else 0,
        num_parameters=1_003_136,
        bytes_stored=730_512,
        old_gallery=_old_gallery(row, accuracy),
        digest="0" * 64,
        judged_rightly={pair: rng.random(3000) < value for pair, value in accuracy.items()},
    )


def stand_in_comparisons(
    plan: Plan | None = None, records: list[Record] | None = None
) -> list[dict[str, Any]]:
    """A bootstrap of the formula's differences: a fixed interval around each."""
    plan = plan or full_plan()
    known = records or stand_in_records(plan)
    found = []
    for comparison in all_comparisons(plan):
        for text in comparison.pairs:
            pair = text.replace("-", "&")
            samples = [
                [r.accuracy[pair] for r in known if r.name == name and pair in r.accuracy]
                for name in (comparison.first, comparison.second)
            ]
            if not all(samples):
                continue
            mean = float(np.mean(samples[0]) - np.mean(samples[1]))
            found.append(
                {
                    "first": comparison.first, "second": comparison.second, "pair": pair, "mean": mean,
                    "low": mean - 0.012, "high": mean + 0.012, "share_not_above": float(mean <= 0), "num_draws": 2000,
                    "confidence": 0.95,
                }
            )  # fmt: skip
    return found


def write_result_files(folder: Path, records: list[Record], about: dict[str, Any]) -> None:
    """The files that `btnet_lab.evidence.record.read_records` and the page read."""
    folder.mkdir(parents=True, exist_ok=True)
    for record in records:
        name = f"{record.name}-s{record.seed}"
        results = [
            {"model": name, "pair": [int(side) for side in pair.split("&")], "accuracy": value}
            for pair, value in record.accuracy.items()
        ]
        document = {
            "task": "verification",
            "protocol": "made up",
            "interpolation": "bilinear",
            "models": [{"name": name, "path": name}],
            "sets": [{"name": "test", "sha256": "0" * 64, "num_pairs": 3000, "num_folds": 10, "results": results}],
            "versions": {},
            "evidence": {
                **{key: value for key, value in vars(record).items() if key != "accuracy"},
                "cost": vars(record.cost),
                "judged_rightly": {
                    pair: base64.b64encode(np.packbits(judged).tobytes()).decode()
                    for pair, judged in record.judged_rightly.items()
                },
            },
        }  # fmt: skip
        (folder / f"{name}.json").write_text(json.dumps(document))
    (folder / "about").mkdir(exist_ok=True)
    (folder / "about" / "about.json").write_text(json.dumps(about))
