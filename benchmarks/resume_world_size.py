"""Loss curves in train mode of a run that goes on with other numbers of ranks, beside undisturbed ones.

    python benchmarks/resume_world_size.py
    python benchmarks/resume_world_size.py --output curves.csv --picture docs/images/resume_world_size.png

A small trunk learns rendered faces in gloo processes of one thread each. The global batch, 48 images, is the same for
2, 3 and 4 ranks, and so are its images in every step; what differs is the share of the batch that each rank's BatchNorm
takes its statistics from. One run goes on from its checkpoints with 2 and then with 3 ranks.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

from btnet.data.faces import encode_jpeg, open_faces
from btnet.data.loader import Batches, GlobalOrder
from btnet.data.record_faces import write_record_faces
from btnet.evaluation.plots import COLOURS, LINES, new_figure, save_figure, tidy
from btnet.files.atomic import replacing
from btnet.synthetic.faces import SyntheticFaces
from btnet.training.checkpoint import Checkpoints
from btnet.training.config_file import load_config
from btnet.training.distributed import Context
from btnet.training.optimizer import Schedule
from btnet.training.setup import build_model, build_step
from results import machine, publish

CONFIG = Path(__file__).parents[1] / "configs" / "demo_hr"
GLOBAL_BATCH, LEARNING_RATE = 48, 0.1
NETWORK = {"blocks": [1, 1, 1, 1], "widths": [16, 32, 64, 128]}
CHANGED = "4, then 2, then 3 ranks"
Stage = tuple[int, int]  # number of ranks, step it stops at


def train_stage(
    rank: int, world_size: int, meeting: str, rec: str, folder: str, stop: int, steps: int
) -> None:
    """One rank: go on from the newest checkpoint, if any, to step `stop`; losses and a checkpoint are left."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", meeting, timedelta(minutes=3), world_size, rank)
    try:
        context = Context(rank, world_size, torch.device("cpu"), torch.float32)
        config = load_config(CONFIG, [f"rec={rec}", f"network_args={NETWORK}", "device=cpu"])
        faces = open_faces(rec)
        built = build_model(config, faces, context)
        step, learners = build_step(config, built, context), built.learners
        checkpoints = Checkpoints(
            Path(folder), keep=1, context=context, learners=learners, identity={"global_batch": GLOBAL_BATCH}
        )
        start = checkpoints.load_newest()
        share = GLOBAL_BATCH // world_size
        order = GlobalOrder(
            len(faces),
            batch_size=share,
            num_epochs=steps,
            seed=config.seed,
            rank=rank,
            world_size=world_size,
            start_step=start,
        )
        batches = Batches(
            faces,
            order,
            batch_size=share,
            size=112,
            interpolation="bilinear",
            num_workers=0,
            pin_memory=False,
        )
        schedule = Schedule(LEARNING_RATE, steps // 6, steps)
        learners[0].train()
        losses = []
        for number, batch in zip(range(start, stop), batches, strict=False):
            named = step(batch, number // order.steps_per_epoch, schedule(number))
            losses.append(float(named["trunk/total"]))
        checkpoints.save(stop)
        checkpoints.finish()
        if rank == 0:
            torch.save(losses, Path(folder, f"losses_{start:06}.pt"))
        dist.barrier()
    finally:
        dist.destroy_process_group()


def curve(rec: Path, stages: Sequence[Stage], folder: Path) -> list[float]:
    """Loss of every step of a run whose stages have different numbers of ranks."""
    folder.mkdir()
    for number, (world_size, stop) in enumerate(stages):
        meeting = (folder / f"meeting_{number}").as_uri()
        arguments = (world_size, meeting, str(rec), str(folder), stop, stages[-1][1])
        spawn(train_stage, args=arguments, nprocs=world_size)  # type: ignore[no-untyped-call]
    parts = [torch.load(path, weights_only=True) for path in sorted(folder.glob("losses_*.pt"))]
    return [loss for part in parts for loss in part]


def write_csv(path: Path, curves: dict[str, list[float]]) -> None:
    """One line a step, one column a run."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["step", *curves])
        writer.writerows((step, *losses) for step, losses in enumerate(zip(*curves.values(), strict=True), 1))


def draw(path: Path, curves: dict[str, list[float]], stages: Sequence[Stage]) -> None:
    """The losses, and what separates them from those of the first run."""
    figure = new_figure(6.4, 4.6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    reference = next(iter(curves.values()))
    for (name, losses), colour, line in zip(curves.items(), COLOURS, LINES, strict=False):
        steps = range(1, len(losses) + 1)
        above.plot(steps, losses, line, color=colour, label=name, linewidth=1.4)
        difference = [loss - other for loss, other in zip(losses, reference, strict=True)]
        below.plot(steps, difference, line, color=colour, linewidth=1.4)
    for axes in (above, below):
        tidy(axes)
        for _, stop in stages[:-1]:
            axes.axvline(stop + 0.5, color="#888888", linewidth=0.8)
    above.set_ylabel("loss in train mode")
    above.legend(frameon=False)
    below.set_ylabel("difference to 4 ranks")
    below.set_xlabel(f"step ({GLOBAL_BATCH} images)")
    save_figure(figure, path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, print, and write what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="six steps: does it run?")
    parser.add_argument("--output", type=Path, metavar="CSV", help="write the loss of every step there")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="draw the curves there")
    options = parser.parse_args(arguments)
    steps, num_people, num_images = (6, 8, 6) if options.quick else (60, 24, 20)
    stages: list[Stage] = [(4, steps // 3), (2, 2 * steps // 3), (3, steps)]
    with tempfile.TemporaryDirectory() as temporary:
        rec = Path(temporary, "faces.rec")
        rendered = SyntheticFaces(num_people, num_images)
        labels = rendered.labels.tolist()
        write_record_faces(rec, labels, (encode_jpeg(rendered[i][0]) for i in range(len(rendered))))
        runs = {"4 ranks": [(4, steps)], "2 ranks": [(2, steps)], CHANGED: stages}
        # no blank in a folder's name: torch reads the meeting file's uri as it stands
        folders = {name: Path(temporary, str(number)) for number, name in enumerate(runs)}
        curves = {name: curve(rec, run, folders[name]) for name, run in runs.items()}
    print(machine(torch.device("cpu")))
    rows = []
    for first, last in zip((0, steps // 3, 2 * steps // 3), (steps // 3, 2 * steps // 3, steps), strict=True):
        means = {name: statistics.fmean(losses[first:last]) for name, losses in curves.items()}
        rows.append({"steps": f"{first + 1} to {last}", **means})
    publish(f"mean loss in train mode, {num_people} people, {GLOBAL_BATCH} images a step", rows)
    if options.output:
        write_csv(options.output, curves)
    if options.picture:
        draw(options.picture, curves, stages)


if __name__ == "__main__":
    main()
