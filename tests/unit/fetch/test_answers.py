"""Answers of a server that are late, short, long, or of something else."""

import hashlib
import threading
import time

import numpy as np
import pytest
import urllib3
from fetch_data import DESIGN, Scripted, answer, check_stack, in_turn, pixels, ranged, run

from boldvision.config import S3
from boldvision.datasets.nsd import download, keys, stimuli, transport
from boldvision.datasets.nsd.s3 import PAGES, Bucket, Remote
from boldvision.errors import UserError
from boldvision.images import ImageStack

BODY = bytes(range(200))
REMOTE = Remote("folder/name", 200, "abc", "")
WHOLE = ranged(BODY, '"abc"', 0, 200)
BUSY = answer(503)
FILE = answer(200, ETag='"abc"', Content_Length=200)
LISTING = "<ListBucketResult><IsTruncated>{}</IsTruncated>{}</ListBucketResult>"


@pytest.fixture
def scripted():
    """A bucket whose server gives these answers, and the server."""
    servers = []

    def start(*answers):
        servers.append(Scripted(in_turn(*answers)))
        return Bucket(S3(bucket="nsd", endpoint=servers[-1].address)), servers[-1]

    yield start
    for server in servers:
        server.listener.close()


def asked_for(request) -> bytes:
    start, stop = map(int, request["range"].removeprefix("bytes=").split("-"))
    return ranged(BODY, '"abc"', start, stop + 1)


def listing(*names: str, token: str = "") -> bytes:
    content = "".join(f"<Contents><Key>{name}</Key></Contents>" for name in names)
    content += f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    return answer(200, LISTING.format("true" if token else "false", content).encode())


WRONG = {
    "another place": ranged(BODY, '"abc"', 10, 210, Content_Range="bytes 10-209/300"),
    "another object's size": ranged(BODY, '"abc"', 0, 200, Content_Range="bytes 0-199/201"),
    "another version": ranged(BODY, '"abd"', 0, 200),
    "no place": answer(206, BODY, ETag='"abc"'),
    "Range ignored": answer(200, BODY * 1000, ETag='"abc"'),
    "long body": ranged(BODY, '"abc"', 0, 200, Content_Length=400) + BODY,
    "empty": ranged(BODY, '"abc"', 0, 200, Content_Length=0)[:-200],
    "empty without a length": WHOLE.replace(b"Content-Length: 200\r\n", b"")[:-200],
    "short body": ranged(BODY, '"abc"', 0, 200, Connection="close")[:-150],
    "dropped": b"",
    "503": BUSY,
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.survives(
    "results",
    "A range is answered from another place or version, in whole, with too much, too little, "
    "nothing, or by a busy server (503)",
    "It is asked for again; after eight tries in a row the job stops and names the object",
)
def test_a_wrong_answer_to_a_range(wrong, scripted):
    bucket, server = scripted(wrong, wrong, asked_for)
    assert b"".join(bucket.stream(REMOTE)) == BODY
    assert len(server.requests) == 3
    assert all(request["range"].startswith("bytes=") for request in server.requests)
    assert server.requests[0]["if-match"] == '"abc"'


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_an_answer_that_stays_wrong(wrong, scripted):
    bucket, server = scripted(wrong)
    with pytest.raises(UserError, match=r"s3://nsd/folder/name at .*: 8 attempts failed"):
        list(bucket.stream(REMOTE))
    assert len(server.requests) == transport.ATTEMPTS


def test_no_more_is_taken_than_asked_for(scripted):
    endless = ranged(BODY, '"abc"', 0, 200).replace(b"Content-Length: 200\r\n", b"") + b"surplus"
    bucket, _ = scripted(endless)
    assert b"".join(bucket.stream(REMOTE)) == BODY


@pytest.mark.survives(
    "results",
    "One of many ranges of the stimulus file is answered from another place",
    "It is asked for again: every image is right",
)
def test_one_range_of_the_stimuli_from_another_place(folder, root, monkeypatch):
    monkeypatch.setattr(stimuli, "GAP", 0)
    monkeypatch.setattr(stimuli, "BLOCK", 192 * 8)
    content = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    wrong, lock = [], threading.Lock()

    def reply(request):
        key = request["path"].split("/", 2)[2].partition("?")[0]
        body = content[key]
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        if request["method"] == "HEAD":
            return answer(200, ETag=etag, Content_Length=len(body))
        start, stop = map(int, request["range"].removeprefix("bytes=").split("-"))
        with lock:
            if key == keys.stimuli() and start > 9000 and not wrong:
                wrong.append(start)
                start, stop = start - 1000, stop - 1000
        return ranged(body, etag, start, stop + 1)

    server = Scripted(reply)
    run("images", root, server.address)
    assert len(wrong) == 1
    check_stack(root / "images" / "subj01.h5", folder)
    server.listener.close()


def test_what_was_verified_is_said(address, tmp_path, capfd):
    bucket, out = Bucket(S3(endpoint=address)), tmp_path / "subj01.h5"
    stimuli.fetch_images(bucket, np.arange(1, 9), DESIGN, out, {})
    np.testing.assert_array_equal(ImageStack(out).read([1, 8]), pixels()[[0, 7]])
    said = capfd.readouterr().out
    assert "every range was answered as asked for" in said
    assert "0 of 8 images equal their files" in said


@pytest.mark.survives(
    "patience",
    "A HEAD or a listing is dropped, refused as busy, or ends early",
    "It is asked for again with the same patience as a body",
)
@pytest.mark.parametrize(
    "fault",
    [b"", BUSY, answer(429), answer(200, b"<ListBuck"), answer(200, b"<html/>"), [b"HTTP/1.1"]],
)
def test_heads_and_listings_are_asked_for_again(fault, scripted):
    bucket, server = scripted(*[fault] * 7, listing("folder/name"))
    assert bucket.keys("folder/") == ["folder/name"]
    assert len(server.requests) == transport.ATTEMPTS
    sizeless = fault if fault in (b"", BUSY) else FILE.replace(b"Content-Length: 200\r\n", b"")
    bucket, server = scripted(*[sizeless] * 7, FILE)
    assert bucket.heads(["folder/name"])[0].bytes == 200
    bucket, server = scripted(fault if fault in (b"", BUSY) else sizeless)
    with pytest.raises(UserError, match=r"folder/name at .*: 8 attempts failed"):
        bucket.heads(["folder/name"])
    assert len(server.requests) == transport.ATTEMPTS


@pytest.mark.survives(
    "patience",
    "TLS fails in the middle of a body",
    "The transfer is taken up again where it stopped",
)
def test_tls_fails_in_the_middle_of_a_body(scripted, monkeypatch):
    read1, faults = urllib3.HTTPResponse.read1, [urllib3.exceptions.SSLError("bad record mac")]

    def failing(self, amount):
        if faults:
            raise faults.pop()
        return read1(self, amount)

    monkeypatch.setattr(urllib3.HTTPResponse, "read1", failing)
    bucket, server = scripted(WHOLE)
    assert b"".join(bucket.stream(REMOTE)) == BODY
    assert len(server.requests) == 2


@pytest.mark.survives(
    "patience",
    "An answer trickles in, a byte now and then",
    "It is given up after four minutes and asked for again",
)
def test_a_trickle(scripted, monkeypatch):
    monkeypatch.setattr(transport, "STALL_S", 0.4)
    head, _, body = WHOLE.partition(b"\r\n\r\n")
    trickle = [head + b"\r\n\r\n", *(body[i : i + 1] for i in range(200))]
    bucket, server = scripted(trickle, trickle, asked_for)
    assert b"".join(bucket.stream(REMOTE)) == BODY
    assert len(server.requests) >= 3
    late = listing("folder/name")
    bucket, server = scripted([late[i : i + 1] for i in range(len(late))], late)
    assert bucket.keys("folder/") == ["folder/name"]
    assert len(server.requests) >= 2


@pytest.mark.survives(
    "patience",
    "A server stalls: it is silent before its answer, or in the middle of a body",
    "After a minute without a byte it is asked again; a transfer goes on where it stopped",
)
def test_a_server_that_stalls(scripted, monkeypatch):
    monkeypatch.setattr(transport, "SILENCE_S", 0.2)
    leave, began = threading.Event(), time.monotonic()

    def silent_after(begun):
        def reply(_):
            yield begun
            leave.wait(20)

        return reply

    half = silent_after(WHOLE[:-100])
    bucket, server = scripted(silent_after(b""), half, asked_for)
    assert b"".join(bucket.stream(REMOTE)) == BODY
    assert [request["range"] for request in server.requests[1:]] == ["bytes=0-199", "bytes=100-199"]
    bucket, _ = scripted(silent_after(b""), FILE)
    assert bucket.heads(["folder/name"])[0].bytes == 200
    assert time.monotonic() - began < 10
    leave.set()


def test_a_line_that_drops_again_and_again_but_brings_something(scripted, monkeypatch):
    monkeypatch.setattr(transport, "PROGRESS", 15)
    monkeypatch.setattr("boldvision.datasets.nsd.s3.PROGRESS", 15)
    steps = [ranged(BODY, '"abc"', i, 200) for i in range(0, 200, 20)]
    cut = [step[: step.index(b"\r\n\r\n") + 24] for step in steps]
    bucket, server = scripted(*cut)
    assert b"".join(bucket.stream(REMOTE)) == BODY
    assert len(server.requests) == 10 > transport.ATTEMPTS


@pytest.mark.survives(
    "patience",
    "A listing without end: its tokens repeat, or there are ever new ones",
    "The job stops and says so",
)
def test_an_endless_listing(scripted, monkeypatch):
    bucket, server = scripted(listing("folder/a", token="1"), listing("folder/b", token="1"))
    with pytest.raises(UserError, match=r"has no end \(2 names in 2 answers\)"):
        bucket.keys("folder/")
    assert "continuation-token=1" in server.requests[1]["path"]
    assert PAGES == 1000
    monkeypatch.setattr("boldvision.datasets.nsd.s3.PAGES", 3)
    bucket, _ = scripted(*(listing("folder/a", token=str(i)) for i in range(9)))
    with pytest.raises(UserError, match="3 names in 3 answers"):
        bucket.keys("folder/")
    bucket, _ = scripted(listing("folder/a", token="1"), listing("folder/b"))
    assert bucket.keys("folder/") == ["folder/a", "folder/b"]


@pytest.mark.survives(
    "names",
    "A listed key with ..; an empty segment, a backslash or a line feed; absolute; or of another "
    "folder",
    "The key is refused before anything is fetched",
)
@pytest.mark.parametrize(
    "key",
    ["a/../../x", "/etc/x", "a//x", "a/./x", "a\\x", "a&#10;x", "a&#9;x", "a&#133;x", "other/x"],
)
def test_keys_that_are_no_paths(key, scripted):
    bucket, _ = scripted(listing("a/good", "a/folder/", key))
    with pytest.raises(UserError, match=r"s3://nsd/a/ at .*: (lists|the listing names)"):
        bucket.keys("a/")
    bucket, _ = scripted(listing("a/good", "a/folder/", "a/b c-d_ü.nii.gz"))
    assert bucket.keys("a/") == ["a/good", "a/b c-d_ü.nii.gz"]


def test_progress_names_the_rate_of_what_came_over_the_line(capfd):
    with download.progress(4_000_000, 3_900_000) as advance:
        advance(100_000)
    shown = capfd.readouterr().err
    assert "B/s]" in shown
    assert "3.90M" in shown
