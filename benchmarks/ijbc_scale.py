"""Can one machine score IJB-C? All steps after the network, at its size, on generated features.

    python benchmarks/ijbc_scale.py

469 375 images, 23 124 templates, 15.6 M pairs, 19 593 probes, two galleries; features lie in a memory map on disk
as a cache of real ones would. Prints the seconds of each step, and the most memory the process held until then.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from btnet.evaluation.cosine import indexed_pair_scores
from btnet.evaluation.identification import ijb_1n, ijb_1n_standard
from btnet.evaluation.templates import pool_templates
from btnet.evaluation.verification import tar_at_fars

Array = npt.NDArray[Any]

FARS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
# IJB-C: 3 531 people, about half of them in each gallery; one template a person there, the others are probes.
_NUM_PEOPLE = 3531
_NUM_PROBES = 19_593
_NUM_MATCHED = 19_557
_BLOCK_ROWS = 16_384
_GIB = 1 << 30


def held_gib() -> float:
    """Most memory this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / _GIB


@contextmanager
def step(name: str) -> Iterator[None]:
    """Time a step, and print it with the memory reached."""
    start = time.perf_counter()
    yield
    print(f"{name:48s} {time.perf_counter() - start:7.1f} s   {held_gib():5.2f} GiB", flush=True)


def people_of_images(template_ids: Array) -> Array:
    """Galleries first: template t < 3 531 is that of person t; every other belongs to t mod 3 531."""
    return template_ids % _NUM_PEOPLE


def write_features(path: Path, template_ids: Array, size: int) -> None:
    """Features of images: their person's, with noise of ten times its length, and of unequal lengths."""
    features = np.lib.format.open_memmap(path, "w+", np.float32, (len(template_ids), size))
    rng = np.random.default_rng(0)
    people = rng.standard_normal((_NUM_PEOPLE, size), dtype=np.float32)
    for start in range(0, len(template_ids), _BLOCK_ROWS):
        ids = people_of_images(template_ids[start : start + _BLOCK_ROWS])
        noise = rng.standard_normal((len(ids), size), dtype=np.float32)
        lengths = rng.uniform(0.5, 2, (len(ids), 1)).astype(np.float32)
        features[start : start + _BLOCK_ROWS] = (people[ids] + 10 * noise) * lengths


def main() -> None:
    """Generate, pool, and score by every protocol."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-images", type=int, default=469_375)
    parser.add_argument("--num-pairs", type=int, default=15_658_489)
    parser.add_argument("--embedding-size", type=int, default=512)
    args = parser.parse_args()
    num_templates = _NUM_PEOPLE + _NUM_PROBES
    rng = np.random.default_rng(1)
    # Every template has an image; in template order, as image lists are.
    template_ids = np.sort(
        np.concatenate(
            [np.arange(num_templates), rng.integers(0, num_templates, args.num_images - num_templates)]
        )
    )
    media_ids = rng.integers(0, 8, args.num_images)
    detector_scores = rng.uniform(0.5, 1, args.num_images)
    first = rng.integers(0, _NUM_PEOPLE, args.num_pairs)
    second = rng.integers(_NUM_PEOPLE, num_templates, args.num_pairs)
    matched = rng.choice(args.num_pairs, min(_NUM_MATCHED, args.num_pairs // 2), replace=False)
    first[matched] = second[matched] % _NUM_PEOPLE
    issame = first == second % _NUM_PEOPLE
    probe_ids = np.arange(_NUM_PEOPLE, num_templates)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "features.npy")
        print(f"{'step':48s} {'time':>9s}   {'peak':>9s}", flush=True)
        with step(f"write {args.num_images} x {args.embedding_size} features"):
            write_features(path, template_ids, args.embedding_size)
        features = np.load(path, mmap_mode="r")
        with step(f"pool into {num_templates} templates (N0 D1)"):
            templates = pool_templates(
                features, template_ids, media_ids, norm_score=False, detector_scores=detector_scores
            )
        with step(f"cosines of {args.num_pairs} pairs"):
            scores = indexed_pair_scores(templates.features, templates.rows(first), templates.rows(second))
        with step("TAR at FAR 1e-6 .. 1e-1"):
            tar = tar_at_fars(scores, issame, FARS)
        gallery_ids = np.arange(_NUM_PEOPLE)
        gallery, probes = (templates.features[templates.rows(ids)] for ids in (gallery_ids, probe_ids))
        people = people_of_images(probe_ids)
        with step(f"1:N, {len(probes)} probes, galleries joined"):
            joined = ijb_1n(gallery, gallery_ids, probes, people)
        half = _NUM_PEOPLE // 2
        with step("1:N, galleries apart"):
            apart = ijb_1n_standard(
                [(gallery[:half], gallery_ids[:half]), (gallery[half:], gallery_ids[half:])], probes, people
            )
    print("TAR at FAR    " + "  ".join(f"{far:g}: {100 * rate:.2f} %" for far, rate in tar.items()))
    for name, result in (("joined", joined), ("apart", apart)):
        rates = [f"TPIR at {fpir:g}: {100 * rate:.2f} %" for fpir, rate in result.tpir.items()]
        rates += [f"rank-{k}: {100 * rate:.2f} %" for k, rate in result.rank_rate.items()]
        print(f"{name:13s} " + "  ".join(rates))


if __name__ == "__main__":
    main()
