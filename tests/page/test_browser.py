"""The page in headless Chromium: what it shows is what the recogniser says of the faces it shows."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from btnet.data.synthetic import SyntheticFaces
from btnet.inference.backend import TorchBackend
from btnet.inference.model_folder import EvaluatedModel
from btnet.inference.recognizer import Recognizer
from btnet.page.scores import compare_at
from btnet.page.server import make_server
from tiny_models import tiny_btnet

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium or google-chrome on the path")
def test_the_page_opens_with_two_rendered_faces_and_both_scores(tmp_path: Path) -> None:
    recognizer = Recognizer(TorchBackend(EvaluatedModel("phi_bt", tiny_btnet(resolutions=(14,)))))
    with make_server(recognizer, port=0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
            command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000"]
            command.append(f"http://127.0.0.1:{server.server_port}/")
            page = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
        finally:
            server.shutdown()
            thread.join()
    examples = SyntheticFaces(50, 4, seed=11)
    [expected] = compare_at(recognizer, examples[8][0], examples[10][0], [14])
    shown = {name: _text(page, name) for name in ("t", "r", "net", "px", "error")}
    assert shown == {
        "t": f"{expected['trunk']:.2f}",
        "r": f"{expected['branch']:.2f}",
        "net": "Branch for 14 px, probe as it is",
        "px": "14 \N{MULTIPLICATION SIGN} 14 px",
        "error": "",
    }
    # both curves over 13 sizes
    curves = re.findall(r'<path d="(M[^"]+)" fill="none"', page)
    assert [curve.count("L") for curve in curves] == [12, 12]


def _text(page: str, name: str) -> str:
    found = re.search(rf'id="{name}"[^>]*>([^<]*)<', page)
    assert found is not None, f"nothing called {name} on the page"
    return found[1]
