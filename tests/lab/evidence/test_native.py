"""Native and camera test of an evidence run, on rendered faces: joined branches, result files, tables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from btnet.data.bin_sets import write_bin
from btnet.data.record_faces import write_record_faces
from btnet.images.codec import encode_jpeg
from btnet.method.btnet import BTNet
from btnet.serving.loading import load_model
from btnet.synthetic.faces import SyntheticFaces
from btnet_lab.evidence.cameras import camera_test
from btnet_lab.evidence.faces import Sets
from btnet_lab.evidence.native import join_branches, native_test
from btnet_lab.evidence.native_tables import native_sections
from btnet_lab.evidence.split import verification_pairs
from btnet_lab.native_test.scene import Conditions
from btnet_lab.report.table import Table, to_markdown
from tiny_models import tiny_btnet


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sets, and two trainings of one branch each on one trunk."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "data").mkdir()
    known, others = SyntheticFaces(40, 2), SyntheticFaces(12, 3, first_identity=40)
    encoded = (encode_jpeg(known[i][0]) for i in range(len(known)))
    write_record_faces(folder / "data" / "train.rec", known.labels.tolist(), encoded)
    positions, issame = verification_pairs(others.labels, per_identity=2, largest=40, seed=0)
    write_bin(folder / "data" / "test.bin", [others[int(i)][0] for i in positions], issame)
    np.save(folder / "data" / "test.identities.npy", others.labels[positions].reshape(-1, 2))
    for resolution in (28, 14):
        tiny_btnet(resolutions=(resolution,)).save(folder / f"r{resolution}", role=f"r{resolution}")
    return folder


def test_joined_branches_are_those_of_their_runs(run: Path, tmp_path: Path) -> None:
    joined = join_branches("both", [run / "r14", run / "r28"])
    assert (joined.name, joined.resolutions) == ("both", (112, 28, 14))
    for resolution in (28, 14):
        alone = load_model(run / f"r{resolution}")
        assert alone.fingerprint(resolution) == joined.fingerprint(resolution)
        assert alone.fingerprint(112) == joined.fingerprint(112)
    with pytest.raises(ValueError, match="a second branch for 14 px"):
        join_branches("twice", [run / "r14", run / "r14"])
    tiny_btnet(seed=3, resolutions=(7,)).save(tmp_path / "other")
    with pytest.raises(ValueError, match=r"overlay for 7 px.*trunk"):
        join_branches("mixed", [run / "r14", tmp_path / "other"])


def test_a_native_test_is_measured_compared_and_shown_and_not_made_twice(run: Path) -> None:
    models = {"phi_bt": [run / "r28", run / "r14"], "phi_bt, one branch": [run / "r28"]}
    results = run / "results"
    path = native_test(models, Sets(run / "data"), run, results, num_faces=80, mirror=False)
    document = json.loads(path.read_text())
    by_name = {(entry["model"], entry["choice"]): entry for entry in document["sets"][0]["results"]}
    assert by_name["phi_bt", "max+ceil"]["share_by_resolution"].keys() == {"112", "28", "14"}
    assert {(c["first"], c["second"]) for c in document["comparisons"]} >= {
        ("phi_bt, optical", "phi_bt, max+ceil"),
        ("phi_bt, one branch, optical", "phi_bt, optical"),
    }
    assert str(run) not in json.dumps(document)
    assert (run / "native" / "phi_bt.selector.json").is_file()

    written = path.stat().st_mtime_ns
    assert native_test(models, Sets(run / "data"), run, results, num_faces=80, mirror=False) == path
    assert path.stat().st_mtime_ns == written
    native_test(models, Sets(run / "data"), run, results, num_faces=80, mirror=False, seed=1)
    assert path.stat().st_mtime_ns != written

    [section] = native_sections(results)
    tables = [block for block in section.blocks if isinstance(block, Table)]
    page = "\n".join(map(to_markdown, tables))
    assert page.count("| max+ceil |") == 2
    assert "| phi_bt, optical - phi_bt, max+ceil |" in page
    cell = f"{100 * json.loads(path.read_text())['sets'][0]['results'][0]['accuracy']:.2f}"
    assert f"| all at 112 | {cell} |" in page.replace("**", "")


def test_a_camera_test_adapts_each_branch_and_leaves_the_model_as_it_was(run: Path) -> None:
    cameras = {"dim": Conditions(optical_px=(8, 13), oversampling=(1, 1), gamma=(2, 2))}
    path = camera_test([run / "r14"], Sets(run / "data"), run, run / "results", num_faces=60, cameras=cameras)
    entries = json.loads(path.read_text())["sets"][0]["results"]
    assert [entry["num_faces"] for entry in entries] == [0, 32, 128, 512]
    assert [entry["adapted"] for entry in entries] == [[], [14], [14], [14]]
    network = load_model(run / "r14").module
    assert isinstance(network, BTNet)
    statistics = [value for key, value in network.bn_set(14).items() if key.endswith(("_mean", "_var"))]
    assert entries[1]["bytes_stored"] == 4 * sum(value.numel() for value in statistics)
    # 60 faces are all there are: asking for more gives the same.
    assert entries[2]["auc"] == entries[3]["auc"]
    page = to_markdown(next(b for s in native_sections(run / "results") for b in s.blocks if isinstance(b, Table)
                            and "camera" in b.title))  # fmt: skip
    assert "| dim: own statistics |" in page
    assert "| dim: 32 faces |" in page
    torch.testing.assert_close(network.bn_set(14), tiny_btnet(resolutions=(14,)).bn_set(14))
