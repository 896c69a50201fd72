import struct
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from btnet.evaluation.plots import Curve, plot_roc
from btnet.evaluation.verification import roc_curve
from btnet_lab.roc_panels import Images, draw_roc_panels, plot_faces_and_roc


def drawn_faces(count: int = 4, size: int = 112) -> Images:
    y, x = np.mgrid[:size, :size] / size
    faces = np.full((count, size, size, 3), 200, dtype=np.uint8)
    for i in range(count):
        faces[i][(x - 0.5) ** 2 + ((y - 0.5) * 0.8) ** 2 < 0.14] = (220, 170 - 15 * i, 130)
        for eye in (0.35, 0.65):
            faces[i][(x - eye) ** 2 + (y - 0.42) ** 2 < 0.002 * (i + 1)] = (40, 40, 60 + 30 * i)
    return faces


def curve(separation: float, seed: int = 0) -> Curve:
    rng = np.random.default_rng(seed)
    same = np.arange(2000) % 2 == 0
    far, tar, _ = roc_curve(rng.normal(size=2000) + separation * same, same)
    return far, tar


def png_size(path: Path) -> tuple[int, int]:
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert content.endswith(b"IEND\xaeB`\x82")
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def test_pictures_are_written_whole_and_leave_nothing_else(tmp_path: Path) -> None:
    curves = {"phi_hr": curve(1), "phi_bt": curve(3)}
    plot_roc(curves, tmp_path / "new" / "roc.png", title="112&14", dpi=80)
    panels = {"112&112": {"phi_hr": curve(3)}, "112&14": curves}
    plot_faces_and_roc(drawn_faces(), (112, 14), panels, tmp_path / "new" / "both.png", dpi=80)

    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["both.png", "roc.png"]
    for path in (tmp_path / "new").iterdir():
        width, height = png_size(path)
        assert 400 < width <= 800
        assert 300 < height < 1500


def test_a_failed_picture_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "roc.png"
    plot_roc({"phi_hr": curve(1)}, path, dpi=50)
    before = path.read_bytes()

    def full_disk(_: Figure, file: Path, **options: object) -> None:
        file.write_bytes(b"half a picture")
        raise OSError("no space left")

    monkeypatch.setattr(Figure, "savefig", full_disk)
    with pytest.raises(OSError, match="no space left"):
        plot_roc({"phi_hr": curve(1)}, path, dpi=50)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_bad_input_is_answered_with_what_is_expected(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    with pytest.raises(ValueError, match="no curves to plot"):
        plot_roc({}, path)
    with pytest.raises(ValueError, match="2 FAR and 3 TAR"):
        plot_roc({"phi_hr": (np.zeros(2), np.zeros(3))}, path)
    assert not path.exists()


def test_a_panel_for_each_test_in_which_a_model_keeps_its_colour() -> None:
    good, bad = curve(2), curve(0.5)
    figure = draw_roc_panels({"112&14": {"phi_hr": bad, "phi_bt": good}, "14&14": {"phi_bt": good}})
    first, second = ({line.get_label(): line for line in axes.get_lines()} for axes in figure.axes)
    assert [axes.get_title() for axes in figure.axes] == ["112&14", "14&14"]
    [label] = second
    assert first[label].get_color() == second[label].get_color()
    np.testing.assert_array_equal(np.asarray(second[label].get_ydata()), good[1])
