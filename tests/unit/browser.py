"""A headless Chromium, driven by its own chromedriver over loopback."""

import base64
import io
import json
import re
import subprocess
import urllib.request
from pathlib import Path

import numpy as np
from PIL import Image

OPTIONS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--force-device-scale-factor=1", "--window-size=1280,800"),
]
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {"up": "\ue013", "down": "\ue015", "left": "\ue012", "right": "\ue014", "tab": "\ue004"}


class Browser:
    """Context manager; `profile` is an empty folder."""

    def __init__(self, chromedriver: str, chromium: str, profile: Path):
        self._command, self._chromium, self._profile = [chromedriver, "--port=0"], chromium, profile

    def __enter__(self):
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        lines = iter(self._process.stdout.readline, "")
        port = next(m[1] for line in lines if (m := re.search(r"on port (\d+)\.$", line)))
        self._url = f"http://127.0.0.1:{port}/session"
        options = {
            "binary": self._chromium,
            "args": [*OPTIONS, f"--user-data-dir={self._profile}"],
        }
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        session = self._ask("", {"capabilities": {"alwaysMatch": wanted}})
        self._url += f"/{session['sessionId']}"
        return self

    def __exit__(self, *_):
        try:
            self._ask("", method="DELETE")
        finally:
            self._process.terminate()
            self._process.wait()
            self._process.stdout.close()

    def _ask(self, path, body=None, method=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def open(self, page: Path, address: str = "") -> None:
        self._ask("/url", {"url": "about:blank"})  # so that another address loads the page again
        self._ask("/url", {"url": page.resolve().as_uri() + address})

    def run(self, script: str):
        """Result of JavaScript: ``return …``."""
        return self._ask("/execute/sync", {"script": script, "args": []})

    def press(self, *keys: str) -> None:
        """Press keys one after the other, as a user does."""
        strokes = [
            {"type": kind, "value": KEYS.get(key, key)}
            for key in keys
            for kind in ("keyDown", "keyUp")
        ]
        self._ask("/actions", {"actions": [{"type": "key", "id": "keys", "actions": strokes}]})

    def click(self, selector: str) -> None:
        self._ask(f"/element/{self._element(selector)}/click", {})

    def picture(self, selector: str) -> np.ndarray:
        """Screenshot of an element, uint8 [height, width, 3]."""
        return _pixels(self._ask(f"/element/{self._element(selector)}/screenshot"))

    def errors(self) -> list[str]:
        """What the page complained about since this was last asked."""
        log = self._ask("/se/log", {"type": "browser"})
        return [entry["message"] for entry in log if entry["level"] == "SEVERE"]

    def _element(self, selector: str) -> str:
        return self._ask("/element", {"using": "css selector", "value": selector})[ELEMENT]


def _pixels(png: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"))
