"""A whole retrofit, stage by stage; run again, it goes on where it was interrupted."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from btnet.backbones.backbone import Backbone
from btnet.backbones.trunk_file import write_weights
from btnet.console import show
from btnet.data.bin_sets import write_bin
from btnet.data.faces import FaceSet, Subset
from btnet.data.views import resize
from btnet.files.atomic import only_run, put_in_place, refuse_existing, replacing
from btnet.files.text import read_json
from btnet.method.btnet import BTNet
from btnet.retrofit.faces import open_any_faces, read_faces
from btnet.retrofit.judge import SIZES, Judged, judge
from btnet.retrofit.package import write_package
from btnet.retrofit.recipe import BRANCHES, plan, recipe, seconds_per_step
from btnet.retrofit.split import hold_out
from btnet.retrofit.trunk import find_trunk, open_trunk
from btnet.serving.embedding import embed_images
from btnet.training.distributed import chosen_device
from btnet.training.run import train

__all__ = ["Request", "WorseError", "retrofit"]

_PLAN, _ALIGNED = "plan.json", "aligned"
_EXPORT_SECONDS: Final = 30.0
_MOST_JUDGED: Final = {"cpu": 600, "cuda": 2000}  # held-out faces
_SEEN: Final = 14 + 2 * len(SIZES)  # how often each is embedded, to judge and to calibrate
_PAIRS: Final = (40, 200)  # looked at while it learns: at least, at most
_LOOKS: Final = 5
_SAVE_SECONDS, _TELL_SECONDS = 60, 5


class WorseError(ValueError):
    """A branch is significantly worse than the trunk alone; nothing was published."""


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        trunk: as `find_trunk` takes it.
        faces: as `open_any_faces` takes them, and `unlabelled` and `detector`.
        output: folder of the package.
        minutes: for everything; None: as long as it takes.
        labels: learn from identities too.
        device: cpu or cuda; None: cuda where there is one.
        force: publish a branch that is worse than the trunk.
        overwrite: replace a package that is there.
        trunk_licence: recorded, as `faces_licence`.
    """

    trunk: str
    faces: str
    output: Path
    minutes: float | None = None
    labels: bool = False
    unlabelled: bool = False
    detector: str | None = None
    device: str | None = None
    force: bool = False
    overwrite: bool = False
    trunk_licence: str = ""
    faces_licence: str = ""


def retrofit(request: Request) -> Judged:
    """Make a package of a trunk and faces. All on the way lies in OUT.work, which goes at the end.

    Raises:
        FileExistsError: if there is a package, and it may not be replaced.
        WorseError: if a branch is worse than the trunk alone.
        ValueError, FileNotFoundError: for a trunk or faces that will not do.
        KeyboardInterrupt: when a signal stopped it; the same call goes on from there.
    """
    refuse_existing(request.output, overwrite=request.overwrite)
    work = request.output.with_name(f"{request.output.name}.work")
    with only_run(work) as alone:
        if not alone:
            raise ValueError(f"{work}: another run is writing there; wait for it, or choose another output")
        try:
            judged = _retrofit(request, work)
        finally:
            if not any((work / name).exists() for name in (_PLAN, _ALIGNED)):  # nothing to go on with
                shutil.rmtree(work)
    shutil.rmtree(work)
    return judged


def _retrofit(request: Request, work: Path) -> Judged:
    start = time.monotonic()
    device = chosen_device(request.device or "").type
    path = find_trunk(request.trunk)
    # What is none is refused before faces are looked for; an ONNX file needs faces to be read.
    trunk = None if path.suffix == ".onnx" else open_trunk(path)
    faces = open_any_faces(
        request.faces, work / _ALIGNED, detector=request.detector, unlabelled=request.unlabelled
    )
    asked = {key: getattr(request, key) for key in ("minutes", "labels", "unlabelled")}
    asked |= {"trunk": os.path.abspath(path), "faces": os.path.abspath(request.faces), "device": device}
    if (work / _PLAN).is_file():
        planned = read_json(work / _PLAN)
        before = planned["asked"]
        if told := [
            f"{key} was {before[key]}, now it is {asked[key]}" for key in asked if before[key] != asked[key]
        ]:
            raise ValueError(
                f"{work}: holds another run, {'; '.join(told)}; ask for the same, or remove that folder"
            )
        show(f"{work}: going on with an interrupted run")
    else:
        planned = {"asked": asked, **_plan(request, work, path, trunk, faces, device, start)}
        with replacing(work / _PLAN) as temporary:
            temporary.write_text(json.dumps(planned))
    run = train(planned["config"], Subset(faces, np.array(planned["train"], np.int64)))
    model = BTNet.load(run)
    model.to(device)
    held_out = Subset(faces, np.array(planned["held_out"], np.int64))
    images, rows = read_faces(held_out, np.arange(len(held_out)))
    judged = judge(model, images, held_out.labels[rows] if planned["has_identities"] else None)
    worse = ", ".join(f"{r} px" for r, verdict in judged.branches.items() if verdict == "worse")
    if worse and not request.force:
        raise WorseError(
            f"the branch for {worse} is significantly worse than the trunk alone on held-out faces, and nothing was "
            f"written to {request.output}; give more faces, or `btnet retrofit` more --minutes, or --force"
        )
    facts = {
        "faces": Path(request.faces).name,
        "num_faces": len(planned["train"]),
        "num_passes": planned["config"]["num_epoch"],
        "num_held_out": len(images),
        "has_identities": planned["has_identities"],
        "similar_from_cosine": planned["threshold"],
        "licences": {
            "trunk": request.trunk_licence or model.trunk.origin.get("licence", ""),
            "faces": request.faces_licence,
        },
        "labels": request.labels,
        "branches": {str(r): verdict for r, verdict in judged.branches.items()},
        "curve": [point.as_dict() for point in judged.curve],
    }
    write_package(run, work / "package", facts, judged.curve, held_out, device)
    put_in_place(work / "package", request.output)
    return judged


def _plan(
    request: Request,
    work: Path,
    path: Path,
    trunk: Backbone | None,
    faces: FaceSet,
    device: str,
    start: float,
) -> dict[str, Any]:
    """Trunk, split and schedule: all that is decided before the first step."""
    if trunk is None:
        some = np.random.default_rng(0).permutation(len(faces))[:512]
        trunk = open_trunk(path, read_faces(faces, some)[0])
    write_weights(work / "trunk.pt", trunk.state_dict(), trunk.origin)
    trunk.to(device)
    trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    split = hold_out(faces, trunk, request.faces, unlabelled=request.unlabelled)
    if request.labels and not split.has_identities:
        raise ValueError(
            f"{request.faces}: has no identities, which `btnet retrofit --labels` asks for; leave it out"
        )
    held_out, people = (each[: _MOST_JUDGED[device]] for each in (split.held_out, split.people))
    kind = "people" if split.has_identities else "groups of similar faces"
    show(
        f"{len(faces)} faces ({'with' if split.has_identities else 'without'} identities): {len(held_out)} of "
        f"{len(np.unique(people))} {kind} held out to judge by, none within cosine {split.threshold:.2f} of the "
        f"{len(split.train)} to learn from"
    )
    config = recipe(request.faces, work, num_faces=len(split.train), device=device, labels=request.labels)
    per_step = seconds_per_step(config, Subset(faces, split.train))
    images = read_faces(faces, held_out)[0]
    per_face = _seconds_per_face(trunk, images)
    afterwards = _EXPORT_SECONDS + per_face * len(images) * _SEEN
    spent = time.monotonic() - start + afterwards
    schedule = plan(
        len(split.train), config["batch_size"], per_step, request.minutes and 60 * request.minutes - spent
    )
    show(
        f"branches for {', '.join(map(str, BRANCHES))} px on {device}: {schedule.num_passes} passes over "
        f"{schedule.num_faces} faces take about {schedule.seconds / 60:.1f} min ({per_step:.2g} s a step of "
        f"{config['batch_size']}), to judge and export {afterwards / 60:.1f} min"
    )
    steps = schedule.num_faces // config["batch_size"] * schedule.num_passes
    looks = _looks(work / "while_learning.bin", images, people, int(0.1 * schedule.seconds / per_face))
    _show_sizes(work / "faces", images)
    config |= {
        "num_epoch": schedule.num_passes,
        "name": request.output.name,
        "role": request.output.name,
        "save_every": max(round(_SAVE_SECONDS / per_step), 1),
        "frequent": max(round(_TELL_SECONDS / per_step), 1),
        "verbose": max(steps // _LOOKS, 1),
        **looks,
    }
    train_rows = np.sort(np.random.default_rng(0).permutation(split.train)[: schedule.num_faces])
    return {
        "config": config,
        "train": train_rows.tolist(),
        "held_out": held_out.tolist(),
        "has_identities": split.has_identities,
        "threshold": split.threshold,
    }


def _seconds_per_face(trunk: Backbone, images: NDArray[np.uint8]) -> float:
    start = time.perf_counter()
    embed_images(trunk, images[:32], mirror=False, batch_size=8)
    return (time.perf_counter() - start) / min(len(images), 32)


def _looks(path: Path, images: NDArray[np.uint8], people: NDArray[np.int64], faces: int) -> dict[str, Any]:
    """Write pairs to look at while it learns, and give the keys; none where the time is for too few faces."""
    # Two faces and their mirror images, at 112 px and at the size of each branch, each time.
    pairs = min(faces // (4 * (1 + len(BRANCHES)) * _LOOKS), len(images), _PAIRS[1])
    if pairs < _PAIRS[0]:
        return {}
    shown = []
    for row in range(pairs):  # a face and itself seen small, then a face and another's
        other = row if row % 2 == 0 else int(np.flatnonzero(people != people[row])[row % 7])
        shown += [images[row], images[other]]
    write_bin(path, shown, [row % 2 == 0 for row in range(pairs)])
    return {"val_targets": [str(path)], "val_pairs": [f"112-{r}" for r in BRANCHES]}


def _show_sizes(folder: Path, images: NDArray[np.uint8]) -> None:
    """Show a few held-out faces, as each network sees them, in TensorBoard; not in the package, which is passed on."""
    from torch.utils.tensorboard.writer import SummaryWriter

    some = torch.from_numpy(images[:8]).permute(0, 3, 1, 2)
    rows = [resize(resize(some, r, "bilinear"), 112, "bilinear") for r in (112, *BRANCHES)]
    picture = torch.cat([torch.cat([*row], dim=2) for row in rows], dim=1)
    with SummaryWriter(folder) as writer:
        writer.add_image(f"faces at 112, {', '.join(map(str, BRANCHES))} px", picture)
