"""Time and memory of the sharded classifier per rank, from one to four gloo processes.

    python benchmarks/head_scaling.py
    python benchmarks/head_scaling.py --output heads.json

Each rank puts a batch of its own through forward and backward of `ShardedClassifier` (CurricularFace). A global
batch grows with the ranks, a rank's share of the classes shrinks, so its logits keep their size and so does its
arithmetic: perfect scaling is a constant time on as many cores as there are ranks. Ranks have one thread each.
Where there are fewer cores than ranks they take turns, so the wall-clock time says little; the processor time of a
rank, which is measured beside it, says what it would cost on a core of its own (less what waiting for a message
spins).
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

from btnet.loss import CurricularFace, ShardedClassifier
from results import Row, machine, publish, reset_high_water, resident, write_json

EMBEDDING_SIZE, BATCH_SIZE = 512, 32


def measure(rank: int, world_size: int, folder: str, num_classes: int, frozen: bool, rounds: int) -> None:
    """One rank: medians over rounds of wall and processor seconds, and MB a step adds; written to `folder`."""
    torch.set_num_threads(1)
    meeting = Path(folder, "meeting").as_uri()
    dist.init_process_group("gloo", meeting, timedelta(minutes=3), world_size, rank)
    try:
        classifier = ShardedClassifier(CurricularFace(), num_classes, EMBEDDING_SIZE, frozen=frozen).train()
        torch.manual_seed(rank)
        embeddings = torch.randn(BATCH_SIZE, EMBEDDING_SIZE, requires_grad=True)
        labels = torch.randint(0, num_classes, (BATCH_SIZE,))
        wall, processor = [], []
        before = 0.0
        for number in range(rounds + 2):
            embeddings.grad = classifier.weight.grad = None
            if number == 1:
                before = resident("VmRSS")
                reset_high_water()
            dist.barrier()
            start, start_cpu = time.perf_counter(), time.process_time()
            classifier(embeddings, labels).backward()
            wall.append(time.perf_counter() - start)
            processor.append(time.process_time() - start_cpu)
        result = {
            "wall": statistics.median(wall[2:]),
            "cpu": statistics.median(processor[2:]),
            "centres": classifier.weight.nbytes / 1e6,
            "step": resident("VmHWM") - before,
        }
        torch.save(result, Path(folder, f"{rank}.pt"))
        dist.barrier()
    finally:
        dist.destroy_process_group()


def table(num_classes: int, frozen: bool, world_sizes: Sequence[int], rounds: int) -> list[Row]:
    """One row per number of ranks; of its ranks, the slowest and the largest."""
    rows: list[Row] = []
    for world_size in world_sizes:
        with tempfile.TemporaryDirectory() as folder:
            arguments = (world_size, folder, num_classes, frozen, rounds)
            spawn(measure, args=arguments, nprocs=world_size)  # type: ignore[no-untyped-call]
            ranks = [torch.load(Path(folder, f"{k}.pt"), weights_only=True) for k in range(world_size)]
        rows.append(
            {
                "centres": "frozen" if frozen else "learnt",
                "ranks": world_size,
                "global batch": world_size * BATCH_SIZE,
                "wall ms": max(r["wall"] for r in ranks) * 1e3,
                "processor ms": max(r["cpu"] for r in ranks) * 1e3,
                "centres MB": max(r["centres"] for r in ranks),
                "step MB": max(r["step"] for r in ranks),
            }
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few classes, two ranks: does it run?")
    parser.add_argument("--output", type=Path, metavar="JSON", help="write the table there too")
    parser.add_argument("--num-classes", type=int, default=93_431, help="default: MS1MV3's 93 431")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args(arguments)
    num_classes = 500 if options.quick else options.num_classes
    world_sizes = (1, 2) if options.quick else (1, 2, 4)
    # larger blocks go back to the system when freed, so that resident memory is memory in use; inherited
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(1 << 20))
    torch.set_num_threads(1)
    where = machine(torch.device("cpu"))
    print(f"{where}; {os.cpu_count()} cores")
    rows = [
        row for frozen in (True, False) for row in table(num_classes, frozen, world_sizes, options.rounds)
    ]
    title = f"head of {num_classes} classes, batch {BATCH_SIZE} per rank"
    publish(title, rows)
    if options.output:
        write_json(options.output, where, {title: rows})


if __name__ == "__main__":
    main()
