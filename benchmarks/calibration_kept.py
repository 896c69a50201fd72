"""Are stored thresholds kept by new people? False matches beside their predictive interval, by the size of the probe.

    python benchmarks/calibration_kept.py MODEL CALIBRATION.rec NEW.rec --sizes 14 20 28 --splits 20

MODEL holds a calibration.json measured on CALIBRATION.rec (`btnet calibrate`); NEW.rec shows other people. The interval
holds 99 % of the false match rates that so many new people will have, both sets of people drawn anew. --splits then
deals the people of both sets out at random, half to calibrate and half to test, so many times.
"""

from __future__ import annotations

import argparse

import numpy as np

from btnet.calibration.thresholds import Impostors, View
from btnet.data.faces import FaceSet, open_faces
from btnet.images.resize import resize
from btnet.serving.recognizer import Recognizer


def main() -> None:
    """Print a line for each size and false match rate."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("calibration")
    parser.add_argument("new")
    parser.add_argument("--sizes", type=int, nargs="+", default=[14, 20, 28])
    parser.add_argument("--each", type=int, default=10, help="faces of one person (default: %(default)s)")
    parser.add_argument("--splits", type=int, default=0)
    args = parser.parse_args()
    recognizer = Recognizer.load(args.model)
    stored = recognizer.calibration
    assert stored is not None, f"{args.model} has no calibration.json"
    canonical = recognizer.resolutions[0]
    sets = []
    for path in (args.calibration, args.new):
        faces = open_faces(path)
        rows = _rows(faces, args.each)
        people = np.unique(faces.labels[rows], return_inverse=True)[1]
        crops = [faces[row][0] for row in rows.tolist()]
        sets.append(
            {
                size: View(
                    size,
                    recognizer.embed([resize(crop, size, recognizer.model.views) for crop in crops]),
                    people,
                    np.arange(len(rows)),
                )
                for size in (*args.sizes, canonical)
            }
        )
    print("size  FMR     threshold  expected  false matches  99 % interval   inside  rate/FMR over splits")
    for size in args.sizes:
        for fmr in sorted({each.fmr for each in stored.thresholds}, reverse=True):
            found = stored.threshold((size, canonical), fmr)
            if found is None or found.threshold is None:
                print(f"{size:4}  {fmr:<6g}  not measurable")
                continue
            measured, new = (Impostors(faces[size], faces[canonical], 20 * fmr) for faces in sets)
            low, high = predicted(measured, fmr, new.num_people)
            rate = new.rate(found.threshold)
            inside = "yes" if low <= rate <= high else "NO"
            counts = [round(share * new.num_pairs) for share in (fmr, rate, low, high)]
            line = f"{size:4}  {fmr:<6g}  {found.threshold:9.4f}  {counts[0]:8}  {counts[1]:13}  "
            print(
                line
                + f"{counts[2]:6} .. {counts[3]:<6}  {inside:6}  {_splits(sets, size, canonical, fmr, args.splits)}"
            )


def predicted(
    measured: Impostors, fmr: float, num_people: int, *, num_draws: int = 1000, level: float = 0.99
) -> tuple[float, float]:
    """Ends of the interval that holds `level` of the false match rates of so many new people.

    The threshold for `fmr` and the new people both have the luck of the draw: both are drawn from those measured.
    """
    generator = np.random.default_rng(0)
    share = np.full(measured.num_people, 1 / measured.num_people)
    rates = [
        measured.rate(
            float(measured.thresholds([fmr], generator.multinomial(measured.num_people, share))[0]),
            generator.multinomial(num_people, share),
        )
        for _ in range(num_draws)
    ]
    low, high = np.quantile(rates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _rows(faces: FaceSet, each: int) -> np.ndarray:
    return np.concatenate([np.flatnonzero(faces.labels == label)[:each] for label in np.unique(faces.labels)])


def _splits(sets: list[dict[int, View]], size: int, canonical: int, fmr: float, num_splits: int) -> str:
    """How often new people are inside, when all people are dealt out anew; mean and extremes of their rates."""
    if not num_splits:
        return "-"
    first, second = ({key: sets[i][key] for key in (size, canonical)} for i in (0, 1))
    shift = 1 + int(first[size].people.max())
    people = np.concatenate([first[size].people, second[size].people + shift])
    rates, inside = [], 0
    for seed in range(num_splits):
        order = np.random.default_rng(seed).permutation(people.max() + 1)
        halves = []
        for chosen in (order[: len(order) // 2], order[len(order) // 2 :]):
            rows = np.flatnonzero(np.isin(people, chosen))
            names = np.unique(people[rows], return_inverse=True)[1]
            small, large = (
                np.concatenate([first[key].embeddings, second[key].embeddings])[rows]
                for key in (size, canonical)
            )
            halves.append(Impostors(View(0, small, names, rows), View(1, large, names, rows), 10 * fmr))
        low, high = predicted(halves[0], fmr, halves[1].num_people, num_draws=400)
        rate = halves[1].rate(float(halves[0].thresholds([fmr])[0]))
        rates.append(rate / fmr)
        inside += low <= rate <= high
    return f"{np.mean(rates):.2f} ({min(rates):.2f} .. {max(rates):.2f}), {inside} of {num_splits} inside"


if __name__ == "__main__":
    main()
