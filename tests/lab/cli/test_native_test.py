"""The native test from end to end on rendered faces and a tiny model, and its table on the evidence page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from btnet.evaluation.verification import kfold_accuracy, pair_scores, roc_auc
from btnet.inference import select
from btnet.serving.loading import load_model
from btnet.serving.optical import OpticalSelector
from btnet.serving.selection import STRATEGIES
from btnet_lab.cli import main
from btnet_lab.native_test.native_set import NativeSet
from btnet_lab.native_test.strategies import embed_natively, native_choices, score_choices
from tiny_models import tiny_btnet


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("native")
    tiny_btnet(resolutions=(28, 7)).save(path / "run", role="tiny")
    made = ["--faces", "synthetic:12:4", "--num-pairs", "20", "--make", str(path / "set.npz")]
    assert main(["native-test", *made, "--optical-px", "5", "40"]) == 0
    return path


def test_the_nine_strategies_are_those_of_selection(folder: Path) -> None:
    pairs = NativeSet.load(folder / "set.npz")
    choices = native_choices(pairs, (112, 28, 7))
    for strategy in STRATEGIES:
        chosen = np.array([112, 28, 7])[choices[strategy.label].argmax(axis=1)]
        expected = [
            select(int(w), int(h), (112, 28, 7), strategy.indicator, strategy.rule) for w, h in pairs.boxes
        ]
        assert chosen.tolist() == expected
    # Faces are taller than wide: the indicators differ, so the nine are not three.
    assert len({choices[s.label].tobytes() for s in STRATEGIES}) > 3


def test_the_command_measures_what_an_own_computation_finds(folder: Path) -> None:
    assert main(["fit-selector", str(folder / "run"), "--faces", "synthetic:90:1:7", "-o", str(folder / "s.json"),
                 "--device", "cpu"]) == 0  # fmt: skip
    options = ["--set", str(folder / "set.npz"), "--selector", str(folder / "s.json"), "--no-mirror"]
    output = folder / "result.json"
    assert main(["native-test", str(folder / "run"), *options, "--device", "cpu", "-o", str(output)]) == 0
    result = json.loads(output.read_text())
    found = {entry["choice"]: entry for entry in result["sets"][0]["results"]}
    assert len(found) == 3 + 9 + 7
    assert result["protocol"]["selector"]["model"] == "tiny"

    pairs, model = NativeSet.load(folder / "set.npz"), load_model(folder / "run")
    gallery, by_network = embed_natively(model, pairs, mirror=False)
    selector = OpticalSelector.load(folder / "s.json")
    chosen = selector.resolutions_of(selector.optical_sizes(pairs.probes), (112, 28, 7))
    probes = np.stack([by_network[int(r)][i] for i, r in enumerate(chosen)])
    assert found["optical"]["accuracy"] == kfold_accuracy(gallery, probes, pairs.issame)[0]
    scores = pair_scores(gallery, probes)
    # Ten pairs of different people carry no FAR of 0.01.
    assert found["optical"]["tar_at_far"] == {"0.01": None, "0.001": None}
    assert found["optical"]["auc"] == roc_auc(scores, pairs.issame)
    shares = {str(r): float(np.mean(chosen == r)) for r in (112, 28, 7)}
    assert found["optical"]["share_by_resolution"] == pytest.approx(shares)


def test_a_choice_of_the_better_network_for_each_face_scores_above_either() -> None:
    """Two networks that each see half of the probes: what is right for a face is what is measured."""
    generator = np.random.default_rng(0)
    count = 40
    people = generator.normal(size=(count, 16)).astype(np.float32)
    issame = np.arange(count) % 2 == 0
    probes = np.where(issame[:, None], people, generator.normal(size=people.shape)).astype(np.float32)
    sees_small = np.arange(count) % 4 < 2
    noise = generator.normal(size=people.shape).astype(np.float32)
    by_network = {
        28: np.where(sees_small[:, None], noise, probes),
        7: np.where(sees_small[:, None], probes, noise),
    }
    pairs = NativeSet(
        gallery=np.zeros((count, 8, 8, 3), np.uint8),
        probes=[np.zeros((9, 9, 3), np.uint8)] * count,
        issame=issame,
        boxes=np.full((count, 2), 9, np.int64),
        pixel_px=np.full(count, 9.0),
        optical_px=np.where(sees_small, 4.0, 9.0),
        about={},
    )
    right = np.column_stack([~sees_small, sees_small]).astype(np.float64)
    one, other, best = score_choices(
        people, by_network, pairs, {"28": np.eye(2)[[0] * count], "7": np.eye(2)[[1] * count], "right": right}
    )
    assert best.accuracy == best.auc == best.auc_sharp == best.auc_blurred == 1
    assert max(one.auc, other.auc) < 0.95
    assert best.share_by_resolution == {"28": 0.5, "7": 0.5}


def test_mistakes_are_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["native-test", "--set", str(folder / "set.npz")]) == 2
    assert "give models to test" in capsys.readouterr().err
    command = [
        "native-test",
        "--faces",
        "synthetic:12:4",
        "--num-pairs",
        "4",
        "--make",
        str(folder / "x.npz"),
    ]
    assert main([*command, "--optical-px", "40", "5"]) == 2
    assert "optical_px from 40 to 5" in capsys.readouterr().err
    assert not (folder / "x.npz").exists()
