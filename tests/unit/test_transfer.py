import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from boldvision import transfer
from boldvision.errors import UserError

SETTING = "the revision in `files`"
CONTENT = np.random.default_rng(0).bytes(300_000)


@pytest.fixture
def server(monkeypatch):
    """Serves CONTENT on loopback; `cut` ends the next answer early, `asked` are the ranges."""
    monkeypatch.setattr(transfer, "BLOCK", 1000)

    class Handler(BaseHTTPRequestHandler):
        cut, asked, hang, etag = 0, [], 0.0, '"one"'

        def do_GET(self):
            self.asked.append(self.headers.get("Range"))
            if self.path != "/file":
                return self.send_error(404)
            first = int((self.headers.get("Range") or "bytes=0-")[6:-1])
            self.send_response(206 if first else 200)
            self.send_header("Content-Length", str(len(CONTENT) - first))
            self.send_header("ETag", type(self).etag)
            self.end_headers()
            end = type(self).cut or len(CONTENT)
            try:
                self.wfile.write(CONTENT[first:end])
                self.wfile.flush()
                time.sleep(self.hang)
            except OSError:
                pass

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        Handler.url = f"http://127.0.0.1:{httpd.server_port}"
        yield Handler
        httpd.shutdown()
        thread.join()


@pytest.mark.survives(
    "networks",
    "The transfer of a network's weights breaks off",
    "What came is kept, and the next run of the stage goes on from there",
)
def test_a_transfer_goes_on_where_it_ended(tmp_path, server):
    server.cut = 200_000
    with pytest.raises(UserError, match=r"/file: .*[Rr]un.* again"):
        transfer.download(f"{server.url}/file", tmp_path / "weights", SETTING)
    server.cut = 0
    part = transfer.download(f"{server.url}/file", tmp_path / "weights", SETTING)
    assert part.read_bytes() == CONTENT
    assert server.asked == [None, None, "bytes=200000-"]
    assert transfer.download(f"{server.url}/file", tmp_path / "weights", SETTING) == part
    assert server.asked[3:] == [None]


def test_two_versions_are_not_patched_together(tmp_path, server):
    server.cut = 200_000
    with pytest.raises(UserError):
        transfer.download(f"{server.url}/file", tmp_path / "weights", SETTING)
    server.cut, server.etag = 0, '"two"'
    part = transfer.download(f"{server.url}/file", tmp_path / "weights", SETTING)
    assert part.read_bytes() == CONTENT
    assert server.asked == [None, None]


@pytest.mark.survives(
    "networks",
    "The server of a network's weights stalls",
    "After a minute without a byte the stage stops; what came is kept",
)
def test_a_stalled_server_is_left(tmp_path, server, monkeypatch):
    monkeypatch.setattr(transfer, "STALLED_S", 0.05)
    server.cut, server.hang = 100_000, 0.3
    with pytest.raises(UserError, match=r"no answer .*timed out.*goes on where it was"):
        transfer.download(f"{server.url}/file", tmp_path / "weights", SETTING)
    (part,) = tmp_path.iterdir()
    assert part.stat().st_size == 100_000


@pytest.mark.survives(
    "networks",
    "A network's weights are not at their address",
    "The error gives the server's answer and what to correct; it asks for no network",
)
def test_a_refusal_is_no_lack_of_network(tmp_path, server):
    with pytest.raises(UserError, match=r"answers 404 Not Found.*Correct the revision") as error:
        transfer.download(f"{server.url}/gone", tmp_path / "weights", SETTING)
    assert "network" not in str(error.value)
    with pytest.raises(UserError, match=r"no answer .*This stage needs a network"):
        transfer.download("http://127.0.0.1:9/file", tmp_path / "weights", SETTING)
