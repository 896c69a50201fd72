"""Train phi_hr, phi_mr, phi_14 and phi_bt on rendered faces, compare them, export and use ONNX."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from btnet.cli import options
from btnet.console import show, show_table, tracked
from btnet.data.bin_sets import write_bin
from btnet.data.faces import FaceSet
from btnet.data.pairs import draw_pairs
from btnet.data.record_faces import write_record_faces
from btnet.evaluation.cosine import unit_normalise
from btnet.evaluation.summary import GainBaselines
from btnet.evaluation.verification import roc_curve
from btnet.files.digest import sha256
from btnet.images.codec import encode_jpeg, encode_png
from btnet.images.resize import resize
from btnet.interop.onnx import check_onnx, export_onnx
from btnet.serving.face_model import FaceModel
from btnet.serving.loading import load_model
from btnet.serving.onnx_session import open_session
from btnet.serving.verification_report import SetResults, print_accuracy, print_gains
from btnet.serving.verify import Pair, verify
from btnet.synthetic.faces import SyntheticFaces
from btnet.training.config_file import load_config
from btnet_lab.roc_panels import plot_faces_and_roc

_RUNS = {"phi_hr": "demo_hr", "phi_mr": "demo_mr", "phi_14": "demo_r14", "phi_bt": "demo_btnet_r14"}
_CANONICAL_SIZE, _RESOLUTION = 112, 14
_PAIRS: list[Pair] = [(112, 112), (112, 14), (14, 14)]
_HELD_OUT_IMAGES = 8  # of each person never trained on
_NUM_SHOWN = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet-lab demo`."""
    options.add_output(parser, "FOLDER", "folder to write (default: %(default)s)", default=Path("runs/demo"))
    parser.add_argument(
        "--configs", type=Path, default=Path("configs"), help="where demo_*.py are (default: %(default)s)"
    )
    parser.add_argument(
        "--identities", type=int, default=200, help="people to train on (default: %(default)s)"
    )
    parser.add_argument("--images", type=int, default=12, help="images of each (default: %(default)s)")
    parser.add_argument(
        "--num-pairs", type=int, default=2000, help="verification pairs (default: %(default)s)"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides",
                        help="override a key of all four configs")  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Everything from rendered faces to a matched ONNX embedding."""
    # torch.distributed's checkpoints and TensorBoard take seconds to import: --help need not wait.
    from btnet.training.run import train

    start = time.monotonic()

    def announce(text: str) -> None:
        show()
        show(f"{text}  ({time.monotonic() - start:.0f} s)", bold=True)

    rec, pairs_file = args.output / "faces.rec", args.output / "strangers.bin"
    configs = {}  # all of them before the first run: what one refuses is told at once
    for role, name in _RUNS.items():
        overrides = [f"rec={rec}", f"output={args.output / role}", *args.overrides]
        if role == "phi_mr":
            overrides.append(f"trunk={args.output / 'phi_hr'}")
        elif role == "phi_bt":
            overrides += [f"trunk={args.output / 'phi_mr'}", f"teacher_cache={args.output / 'teacher'}"]
        configs[role] = load_config(args.configs / name, overrides)

    announce("Faces")
    people = args.identities
    known = SyntheticFaces(people, args.images)
    strangers = SyntheticFaces(max(people // 2, 2 * _NUM_SHOWN), _HELD_OUT_IMAGES, first_identity=people)
    images, positions, issame = _write_faces(known, strangers, rec, pairs_file, args.num_pairs)
    show(f"{rec}: {len(known)} images of {known.num_classes} people")
    show(f"{pairs_file}: {len(issame)} pairs of {strangers.num_classes} others, never trained on")

    folders = {}
    for role, config in configs.items():
        announce(f"{role}: {args.configs / config.name}.py")
        folders[role] = train(config)

    announce("People never trained on")
    models = [
        load_model(folder, high_resolution=folders["phi_hr"] if role == "phi_14" else None)
        for role, folder in folders.items()
    ]
    by_model = {m.name: verify(m, images, issame, _PAIRS, positions=positions) for m in models}
    results = SetResults(pairs_file, sha256(pairs_file), issame, by_model)
    print_accuracy(results, _PAIRS)
    print_gains([results], _PAIRS[1:], GainBaselines("phi_hr", "phi_mr", "phi_14"))
    picture = args.output / "demo.png"
    _draw(results, strangers, picture)
    show(f"{picture}: faces and ROC curves")

    announce("ONNX: a gallery at 112 px, probes at 14 px")
    _match_with_onnx(models[-1], strangers, folders["phi_bt"] / "onnx")
    announce("Done")


def _write_faces(
    known: SyntheticFaces, strangers: FaceSet, rec: Path, pairs_file: Path, num_pairs: int
) -> tuple[list[NDArray[np.uint8]], NDArray[np.int64], NDArray[np.bool_]]:
    """The strangers' images, each once; of each pair the positions of its two [P, 2] and whether it is one person."""
    rec.parent.mkdir(parents=True, exist_ok=True)
    rendered = (encode_jpeg(known[i][0]) for i in tracked(range(len(known)), "rendering", len(known)))
    write_record_faces(rec, known.labels.tolist(), rendered, class_names=known.class_names)
    positions, issame = draw_pairs(strangers.labels, num_pairs)
    images = [strangers[i][0] for i in range(len(strangers))]
    encoded = [encode_png(image) for image in images]
    write_bin(pairs_file, [encoded[i] for i in positions], issame)
    return images, positions.reshape(-1, 2), issame


def _first_images(faces: FaceSet, shot: int) -> NDArray[np.uint8]:
    """One image of each of the first people, uint8 [N, 112, 112, 3]."""
    return np.stack([faces[person * _HELD_OUT_IMAGES + shot][0] for person in range(_NUM_SHOWN)])


def _draw(results: SetResults, strangers: FaceSet, path: Path) -> None:
    shown = np.concatenate([_first_images(strangers, 0)[:4], _first_images(strangers, 1)[:4]])
    order = [i + 4 * shot for i in range(4) for shot in (0, 1)]
    panels = {
        found.label: {
            name: roc_curve(by_pair[i].scores, results.issame)[:2]
            for name, by_pair in results.by_model.items()
        }
        for i, found in enumerate(results.by_model["phi_hr"])
    }
    plot_faces_and_roc(
        shown[order], (112, 28, 14, 7), panels, path, faces_title="Four people, two images each"
    )


def _match_with_onnx(model: FaceModel, strangers: FaceSet, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    embeddings = {}
    for size, shot in ((_CANONICAL_SIZE, 0), (_RESOLUTION, 1)):
        path = export_onnx(
            model.module, folder / f"embed_r{size}.onnx", resolution=size, interpolation=model.interpolation
        )
        show(f"{path}: differs from torch by at most {check_onnx(path, model.module):.1e}")
        faces = np.stack([resize(face, size, "bilinear") for face in _first_images(strangers, shot)])
        data = ((faces.astype(np.float32) - 127.5) / 127.5).transpose(0, 3, 1, 2)
        [embedding] = open_session(path).run(None, {"data": data})
        embeddings[size] = unit_normalise(embedding)
    cosine = embeddings[_RESOLUTION] @ embeddings[_CANONICAL_SIZE].T
    best = cosine.argmax(axis=1)
    rows = [
        (f"person {person}", *(f"{'* ' if i == best[person] else ''}{c:.2f}" for i, c in enumerate(row)))
        for person, row in enumerate(cosine)
    ]
    columns = ("probe", *(f"gallery {person}" for person in range(_NUM_SHOWN)))
    show_table("cosine of each 14 px probe to each 112 px gallery face (*: the best)", columns, rows)
    show(f"{int((best == np.arange(_NUM_SHOWN)).sum())} of {_NUM_SHOWN} probes find their person")
