"""The recipe: settings from the number of faces and the device, and as many passes as the time allows."""

from __future__ import annotations

import os
import time
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from btnet.data.faces import FaceSet
from btnet.data.loader import Batches, GlobalOrder
from btnet.training.config_file import complete_config
from btnet.training.distributed import distributed_context
from btnet.training.setup import build_model, build_step

__all__ = ["BRANCHES", "Schedule", "plan", "recipe", "seconds_per_step"]

BRANCHES: Final = (28, 14, 7)
# Faces seen in all: 16 passes, between these; large sets are seen twice.
_FEWEST, _PASSES, _MOST = 60_000, 16, 140_000
_FEWEST_STEPS: Final = 20
_WORKERS: Final = {"cpu": 2, "cuda": 8}


class Schedule(NamedTuple):
    """How many of the faces are learnt from, how often, and the seconds it is likely to take."""

    num_faces: int
    num_passes: int
    seconds: float


def recipe(faces: str, work: Path, *, num_faces: int, device: str, labels: bool) -> dict[str, Any]:
    """A configuration of `btnet.training.run.train`: phi_bt plus for all branches in one run.

    The trunk teaches, by eq. 2 and the cosine of the embeddings. Identities add nothing measurable to that on held-out
    people, so the influence loss joins only where `labels` asks for it. Faces are jittered before the trunk sees them,
    so that no cache can hold its answers.

    Args:
        faces: what they are called.
        work: folder of `trunk.pt`, and of the run to be.
        num_faces: to learn from.
        device: cpu or cuda.
        labels: learn from identities too.
    """
    # Small sets need steps more than faces in each; on a CPU large batches are slower.
    batch = 32 if num_faces < 2000 else 64 if device == "cpu" or num_faces < 20_000 else 128
    return {
        "rec": faces,
        "trunk": str(work / "trunk.pt"),
        "output": str(work / "run"),
        "branches": list(BRANCHES),
        "classifier": "prototype" if labels else "",
        "influence_weight": 0.3 if labels else 0.0,
        "embedding_cosine_weight": 20.0,
        "inner_size": 56,
        "shared_jitter": 0.03,
        "degradation": 0.1,
        "lr": 0.1 * batch / 64,
        "batch_size": batch,
        "warmup_epoch": 0,
        "num_workers": min(_WORKERS[device], os.cpu_count() or 1),
        "device": device,
        "resume": True,
    }


def seconds_per_step(config: dict[str, Any], faces: FaceSet, *, num_steps: int = 3) -> float:
    """Time a few steps on this machine; nothing is kept of them."""
    run = complete_config({**config, "influence_weight": 0.0, "classifier": ""})
    with distributed_context(run.device, run.precision) as context:
        built = build_model(run, faces, context)
        step = build_step(run, built, context)
        order = GlobalOrder(len(faces), batch_size=run.batch_size, num_epochs=num_steps + 1, seed=0)
        loader = Batches(
            faces,
            order,
            batch_size=run.batch_size,
            size=built.trunk.canonical_size,
            interpolation=run.interpolation,
            num_workers=0,
            pin_memory=False,
        )
        for learner in built.learners:
            learner.train()
        ends = []
        for batch in islice(loader, num_steps + 1):
            for value in step(batch, 0, 0.0).values():
                value.item()  # waits for a GPU
            ends.append(time.perf_counter())
        return (ends[-1] - ends[0]) / num_steps  # the first is slower, and left out


def plan(num_faces: int, batch_size: int, per_step: float, seconds: float | None) -> Schedule:
    """How many faces are learnt from, and how often: what helps, or what the time allows.

    Args:
        num_faces: there are.
        batch_size: faces of a step.
        per_step: seconds of a step.
        seconds: for all steps; None: as long as it takes.

    Raises:
        ValueError: if the time is too short for anything.
    """
    wanted = max(_FEWEST, min(_MOST, _PASSES * num_faces), 2 * num_faces)
    if seconds is not None:
        if seconds < _FEWEST_STEPS * per_step:
            raise ValueError(
                f"{max(seconds, 0):.0f} s are left to learn, and a step of {batch_size} faces takes {per_step:.2g} s; "
                "give `btnet retrofit` more --minutes"
            )
        wanted = min(int(seconds / per_step) * batch_size, wanted)
    passes = -(-wanted // num_faces)
    used = wanted // passes
    return Schedule(used, passes, used // batch_size * passes * per_step)
