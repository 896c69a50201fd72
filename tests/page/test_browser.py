"""The page in headless Chromium: what it shows is what the recogniser says of the faces it shows."""

from __future__ import annotations

import shutil
import threading

import pytest

from btnet.page.server import compare_at, make_server
from btnet.serving.face_model import FaceModel
from btnet.serving.recognizer import Recognizer
from btnet.synthetic.faces import SyntheticFaces
from tiny_models import tiny_btnet

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_PATIENCE = 240_000  # ms


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium or google-chrome on the path")
def test_the_page_opens_with_two_rendered_faces_and_both_scores() -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    recognizer = Recognizer(FaceModel.of(tiny_btnet(resolutions=(14,)), "phi_bt"))
    with make_server(recognizer, port=0) as server, playwright.sync_playwright() as engine:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            browser = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page()
            page.goto(f"http://127.0.0.1:{server.server_port}/")
            # drawn last, when both scores and the curves are there
            page.wait_for_selector("#plot path[fill=none]", state="attached", timeout=_PATIENCE)
            shown = {name: page.inner_text(f"#{name}") for name in ("t", "r", "net", "px", "error")}
            curves = [path.get_attribute("d") for path in page.query_selector_all("#plot path[fill=none]")]
            browser.close()
        finally:
            server.shutdown()
            thread.join()
    examples = SyntheticFaces(50, 4, seed=11)
    [expected] = compare_at(recognizer, examples[8][0], examples[10][0], [14])
    assert shown == {
        "t": f"{expected['trunk']:.2f}",
        "r": f"{expected['branch']:.2f}",
        "net": "Branch for 14 px, probe as it is",
        "px": "14 \N{MULTIPLICATION SIGN} 14 px",
        "error": "",
    }
    # both curves over 13 sizes
    assert [curve.count("L") for curve in curves] == [12, 12]
