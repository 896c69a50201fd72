"""How fast, and in how much memory, a gallery of a million embeddings is searched exactly.

    python benchmarks/search.py
    torchrun --nproc-per-node 2 benchmarks/search.py
    python benchmarks/search.py --num-gallery 100000 --num-probes 2000 --engine numpy

Each probe is a gallery row with noise, so the answer is known. The memory is what the process held at most beyond
the gallery and the probes. Engines beside btnet's: numpy (the whole score matrix), faiss (Flat, filling included).
"""

from __future__ import annotations

import argparse
import resource
import time
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from btnet.evaluation.search import Neighbours, search, search_sharded
from btnet.loss.centres import shard_range
from btnet.training.distributed import distributed_context
from search_faiss import build_index, search_index

Array = npt.NDArray[Any]

_BLOCK_ROWS = 10_000
_GIB = 1 << 30


def unit_gallery(start: int, stop: int, size: int) -> Array:
    """Rows [start, stop) of the gallery, float32: the same whichever process makes them."""
    rows = np.empty((stop - start, size), dtype=np.float32)
    for block in range(start // _BLOCK_ROWS, -(-stop // _BLOCK_ROWS)):
        first = block * _BLOCK_ROWS
        drawn = np.random.default_rng(block).standard_normal((_BLOCK_ROWS, size), dtype=np.float32)
        low, high = max(start, first), min(stop, first + _BLOCK_ROWS)
        rows[low - start : high - start] = drawn[low - first : high - first]
    return rows


def noisy_probes(num_probes: int, num_gallery: int, size: int) -> tuple[Array, Array]:
    """Probes, and the gallery row that each was made of."""
    rng = np.random.default_rng([1, num_gallery])
    rows = np.sort(rng.choice(num_gallery, num_probes, replace=False))
    probes = 2 * rng.standard_normal((num_probes, size), dtype=np.float32)
    for start in range(0, num_gallery, _BLOCK_ROWS):
        inside = (rows >= start) & (rows < start + _BLOCK_ROWS)
        block = unit_gallery(start, min(start + _BLOCK_ROWS, num_gallery), size)
        probes[inside] += block[rows[inside] - start]
    return probes, rows


def numpy_search(gallery: Array, probes: Array, k: int) -> Neighbours:
    """All scores at once, as one would write it without a library."""
    gallery = gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
    probes = probes / np.linalg.norm(probes, axis=1, keepdims=True)
    scores = probes @ gallery.T
    indices = np.argpartition(-scores, k, axis=1)[:, :k]
    best = np.take_along_axis(scores, indices, axis=1)
    order = np.argsort(-best, axis=1)
    return Neighbours(np.take_along_axis(best, order, axis=1), np.take_along_axis(indices, order, axis=1))


def faiss_search(gallery: Array, probes: Array, k: int) -> Neighbours:
    """Exact search by faiss, filling the index included."""
    return search_index(build_index(gallery, factory="Flat"), probes, k=k)


def held() -> int:
    """Most bytes this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Generate, search, and print one line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-gallery", type=int, default=1_000_000)
    parser.add_argument("--num-probes", type=int, default=10_000)
    parser.add_argument("--embedding-size", type=int, default=512)
    parser.add_argument("--neighbours", type=int, default=20)
    parser.add_argument("--device", default="", help="cpu or cuda; cuda where there is one by default")
    parser.add_argument("--engine", choices=("btnet", "numpy", "faiss"), default="btnet")
    args = parser.parse_args()
    k, size = args.neighbours, args.embedding_size
    with distributed_context(args.device) as context:
        if args.engine != "btnet" and context.world_size > 1:
            parser.error(f"--engine {args.engine} runs in one process")
        gallery = unit_gallery(*shard_range(args.num_gallery, context.rank, context.world_size), size)
        probes, truth = noisy_probes(args.num_probes, args.num_gallery, size)
        search(gallery[:1000], probes[:100], k=1, device=context.device)  # warm up
        before = held()
        context.barrier()
        start = time.perf_counter()
        if args.engine == "numpy":
            found = numpy_search(gallery, probes, k)
        elif args.engine == "faiss":
            found = faiss_search(gallery, probes, k)
        else:
            found = search_sharded(gallery, probes, k=k, device=context.device)
        seconds = time.perf_counter() - start
        memory = held() - before
        if context.is_main:
            print(
                f"{args.engine}: {args.num_gallery} x {size} gallery ({gallery.nbytes / _GIB:.2f} GiB a process), "
                f"{args.num_probes} probes, k = {k}, {context.world_size} processes of "
                f"{torch.get_num_threads()} threads, {context.device.type}"
            )
            operations = 2 * args.num_gallery * args.num_probes * size
            print(
                f"{seconds:.1f} s, {operations / seconds / 1e9:.0f} GFLOP/s, {args.num_probes / seconds:.0f} probes/s, "
                f"+{memory / _GIB:.2f} GiB, rank-1 {100 * np.mean(found.indices[:, 0] == truth):.2f} %"
            )


if __name__ == "__main__":
    main()
