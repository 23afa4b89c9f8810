"""The examples of docs/deploy.md give torch's numbers: over HTTP, and in a browser.

Left out with the slow tests, and skipped without the extra `onnx`, without FastAPI, without
Chromium, or where ORT_WEB does not name the `dist` folder of the npm package onnxruntime-web.
"""

import functools
import http.server
import importlib.util
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wavebyol_hear import __main__ as command
from wavebyol_hear import load_model
from wavebyol_hear.export.check import TOLERANCE, synthetic_audio

pytestmark = pytest.mark.slow
EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
ORT = Path(os.environ.get("ORT_WEB", "/nowhere"))
ORT_FILES = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-quic"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the exported model and a sound of two seconds at 16 kHz."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="needs the extra onnx")
    folder = tmp_path_factory.mktemp("site")
    assert command.main(["export", "--onnx", str(folder / "model.onnx")]) == 0
    sound = synthetic_audio(1, 32_000)[0].numpy()
    # Chromium divides positive samples of 16 bits by 32,767: floats are the same everywhere.
    soundfile.write(folder / "sound.wav", sound, 16_000, subtype="FLOAT")
    return folder


@pytest.fixture(scope="module")
def wanted(site: Path) -> np.ndarray:
    embedding: np.ndarray = load_model(precision="fp32").embed(site / "sound.wav")
    return embedding


def test_the_service_embeds_a_file(
    site: Path, wanted: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fastapi")
    testclient = pytest.importorskip("fastapi.testclient", reason="needs FastAPI and httpx")
    monkeypatch.chdir(site)
    spec = importlib.util.spec_from_file_location("service", EXAMPLES / "service.py")
    assert spec is not None
    assert spec.loader is not None
    service = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(service)
    client = testclient.TestClient(service.app)
    answer = client.post("/embed", files={"sound": (site / "sound.wav").read_bytes()})
    assert answer.status_code == 200
    np.testing.assert_allclose(answer.json(), wanted, atol=TOLERANCE)
    answer = client.post("/embed", files={"sound": b"no sound"})
    assert answer.status_code == 422
    assert "no sound file" in answer.json()["detail"]


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    """Where a web server has the page with all that it loads."""
    if not shutil.which("chromium"):
        pytest.skip("needs chromium")
    if not (ORT / ORT_FILES[0]).is_file():
        pytest.skip("set ORT_WEB to node_modules/onnxruntime-web/dist")
    (site / "ort").mkdir(exist_ok=True)
    for name in ORT_FILES:
        shutil.copy(ORT / name, site / "ort")
    shutil.copy(EXAMPLES / "browser.html", site / "index.html")
    (site / "text.wav").write_text("no sound")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/index.html"
        server.shutdown()


def page(address: str, profile: Path) -> str:
    """The page after it has done its work."""
    place = [f"--user-data-dir={profile}", "--virtual-time-budget=120000", "--dump-dom", address]
    result = subprocess.run(
        ["chromium", *FLAGS, *place], capture_output=True, text=True, check=True, timeout=300
    )
    return result.stdout


def test_the_page_embeds_a_sound_in_the_browser(
    address: str, wanted: np.ndarray, tmp_path: Path
) -> None:
    text = page(f"{address}?sound=sound.wav", tmp_path)
    found = re.search(r'<pre id="embedding">([^<]*)</pre>', text)
    assert found, text
    np.testing.assert_allclose(json.loads(found[1]), wanted, atol=TOLERANCE)
    assert "sound.wav: 2.0 s, 7104 numbers" in text


def test_the_page_says_what_is_no_sound(address: str, tmp_path: Path) -> None:
    assert "text.wav cannot be used" in page(f"{address}?sound=text.wav", tmp_path)
