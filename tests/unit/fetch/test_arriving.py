"""A file that is inspected while it is still being written."""

import gzip
import threading
import time

import pytest

from boldvision.config import S3
from boldvision.datasets.nsd import download, keys, s3
from boldvision.datasets.nsd.arriving import Arriving
from boldvision.datasets.nsd.integrity import digest, gzip_fault

CONTENT = gzip.compress(bytes(range(256)) * 4000, 0)


def arrive(path, pieces):
    """Write the pieces, a moment apart, as a thread; the first is there already."""
    path.write_bytes(pieces[0])
    arriving = Arriving(path)

    def write():
        with path.open("ab", buffering=0) as file:
            for piece in pieces[1:]:
                time.sleep(0.005)
                file.write(piece)
                arriving.grew(len(piece))
        arriving.end(whole=True)

    threading.Thread(target=write).start()
    return arriving


def test_readers_wait_for_what_has_not_come(tmp_path):
    pieces = [CONTENT[at : at + 300_000] for at in range(0, len(CONTENT), 300_000)]
    assert len(pieces) > 3
    arriving = arrive(tmp_path / "whole", pieces)
    assert gzip_fault(arriving) is None
    (tmp_path / "known").write_bytes(CONTENT)
    assert digest(arriving, "sha256") == digest(tmp_path / "known", "sha256")
    assert "ended before" in gzip_fault(arrive(tmp_path / "cut", pieces[:-1]))


@pytest.mark.parametrize(
    ("content", "whole"),
    [
        (CONTENT + CONTENT, True),
        (CONTENT + bytes(100), True),  # tapes are padded with zeros
        (CONTENT + b"more", False),
        (CONTENT + CONTENT[:-1], False),
        (CONTENT[:-8] + bytes(4) + CONTENT[-4:], False),
    ],
)
def test_gzip_is_what_python_takes_for_it(tmp_path, content, whole):
    (tmp_path / "file").write_bytes(content)
    assert (gzip_fault(tmp_path / "file") is None) is whole
    if whole:
        gzip.decompress(content)
        return
    with pytest.raises((EOFError, gzip.BadGzipFile)):
        gzip.decompress(content)


@pytest.mark.survives(
    "patience",
    "A transfer fails while what has come of the object is being checked",
    "The checks end with it at once; what has come is kept",
)
def test_readers_end_with_a_transfer_that_fails(address, folder, tmp_path, monkeypatch):
    bucket = s3.Bucket(S3(endpoint=address))
    [remote] = bucket.heads([keys.timeseries("subj01", 1, 2)])

    def fails(*_):
        yield b"begun"
        raise OSError("the line is dead")

    monkeypatch.setattr(bucket, "stream", fails)
    with pytest.raises(OSError, match="the line is dead"):
        download.download(bucket, {remote.key: tmp_path / "run.nii.gz"})
    [part] = tmp_path.iterdir()
    assert part.read_bytes() == b"begun"


def test_a_given_up_file_is_not_read_as_whole(tmp_path):
    (tmp_path / "part").write_bytes(CONTENT[:1000])
    arriving = Arriving(tmp_path / "part")
    threading.Timer(0.02, arriving.end, [False]).start()
    with pytest.raises(InterruptedError), arriving.open("rb") as file:
        file.read()


def test_a_disk_that_takes_a_part_of_a_write(tmp_path):
    class Sparing:
        """Takes three bytes at a time."""

        def __init__(self):
            self.taken = b""

        def write(self, view):
            self.taken += bytes(view[:3])
            return len(view[:3])

    file = Sparing()
    download._write(file, b"ten bytes!")
    assert file.taken == b"ten bytes!"
