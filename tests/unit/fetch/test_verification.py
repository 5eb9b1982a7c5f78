"""What a file is compared with: S3's checksums, ETags of every kind, gzip checksums."""

import base64
import gzip
import hashlib
import zlib

import pytest
from fetch_data import Scripted, answer, ranged

from boldvision.config import S3
from boldvision.datasets.nsd.download import download
from boldvision.datasets.nsd.integrity import checksums
from boldvision.datasets.nsd.s3 import Bucket
from boldvision.errors import UserError

BODY = gzip.compress(b"a volume" * 1000)
PARTS = [BODY[:40], BODY[40:]]
MD5 = hashlib.md5(BODY).hexdigest()


def b64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def crc32(body: bytes) -> bytes:
    return zlib.crc32(body).to_bytes(4, "big")


def composite(function) -> str:
    return b64(function(b"".join(map(function, PARTS)))) + "-2"


def sha256(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


SHA256, CRC32 = "x-amz-checksum-sha256", "x-amz-checksum-crc32"
KMS = {"ETag": f'"{"0" * 32}"', "x-amz-server-side-encryption": "aws:kms"}
CASES = {
    "md5": ({"ETag": f'"{MD5}"'}, "md5"),
    "crc32 beside an ETag that looks like md5": (
        {"ETag": f'"{"0" * 32}"', CRC32: b64(crc32(BODY))},
        "crc32",
    ),
    "sha256 beside an ETag of KMS": (KMS | {SHA256: b64(sha256(BODY))}, "sha256"),
    "crc32 beside an ETag of KMS": (KMS | {CRC32: b64(crc32(BODY))}, "crc32"),
    "sha256 of two parts": (KMS | {SHA256: composite(sha256)}, "sha256"),
    "crc32 of two parts": (KMS | {CRC32: composite(crc32)}, "crc32"),
    "KMS": (KMS, "size and gzip checksum only"),
    "a weak ETag": ({"ETag": f'W/"{MD5}"'}, "size and gzip checksum only"),
    "an ETag of 64 digits": ({"ETag": f'"{"ab" * 32}"'}, "size and gzip checksum only"),
    "no ETag": ({}, "size and gzip checksum only"),
    "a checksum that is none": ({"ETag": '"x"', CRC32: "?-x"}, "size and gzip checksum only"),
}


@pytest.fixture
def fetched(tmp_path):
    """Download BODY, sent as `sent`, from a server with such headers."""
    servers = []

    def fetch(headers, sent: bytes = BODY, name: str = "name.gz", part_status: int = 200):
        def reply(request):
            if request["method"] == "HEAD":
                size = len(sent)
                if "partnumber" in request["path"].lower():
                    if part_status != 200:
                        return answer(part_status)
                    size = len(PARTS[0])
                shown = headers
                if "x-amz-checksum-mode" not in request:
                    shown = {k: v for k, v in headers.items() if "checksum" not in k}
                return answer(200, Content_Length=size, **shown)
            # Nothing weak matches (RFC 9110, 13.1.1), as in real servers.
            if request.get("if-match", "").startswith('"w/'):
                return answer(412)
            start, stop = map(int, request["range"].removeprefix("bytes=").split("-"))
            etag = headers.get("ETag")
            right = ranged(sent, etag or "", start, stop + 1)
            return right if etag else right.replace(b"ETag: \r\n", b"")

        servers.append(Scripted(reply))
        bucket = Bucket(S3(bucket="own-server", endpoint=servers[-1].address))
        return download(bucket, {name: tmp_path / name})

    yield fetch
    for server in servers:
        server.listener.close()


@pytest.mark.survives(
    "places",
    "A server whose ETags are no md5: of KMS, weak, of 64 digits, or none",
    "S3's own checksums are compared, else size and gzip checksum; the log says which",
)
@pytest.mark.parametrize(("headers", "by"), CASES.values(), ids=CASES)
def test_verified_by(headers, by, fetched, tmp_path, capfd):
    [entry] = fetched(headers)
    assert (tmp_path / "name.gz").read_bytes() == BODY
    assert f"verified: 1 by {by}\n" in capfd.readouterr().out
    assert entry.etag == headers.get("ETag", "").replace('"', "")
    assert entry.sha256 == sha256(BODY).hex()
    fetched(headers)  # there already
    assert f"verified: 1 by {by}\n" in capfd.readouterr().out


@pytest.mark.survives(
    "results",
    "Bytes that do not have the checksum of the bucket: damaged on the way or there",
    "They are fetched once more; then the job stops, names the checksum and keeps nothing",
)
@pytest.mark.parametrize("case", [case for case, (_, by) in CASES.items() if "only" not in by])
def test_damaged_bytes(case, fetched, tmp_path):
    damaged = gzip.compress(b"a wrong one" * 1000)
    damaged = damaged[: len(BODY)].ljust(len(BODY), b"\0")
    with pytest.raises(UserError, match=r"name: the bytes do not have the .*, twice"):
        fetched(CASES[case][0], damaged, "name")
    assert not list(tmp_path.iterdir())


def test_a_size_alone_is_named_as_such(fetched, tmp_path, capfd):
    (tmp_path / "name.tsv").write_bytes(BODY + b"surplus")
    fetched({"ETag": '"of-no-known-form"'}, name="name.tsv")
    said = capfd.readouterr().out
    assert "name.tsv: size only (ETag of-no-known-form; no checksum)" in said
    assert "verified: 1 by size only" in said
    assert (tmp_path / "name.tsv").read_bytes() == BODY


@pytest.mark.parametrize("part_status", [400, 501])
def test_a_server_that_does_not_tell_the_size_of_parts(part_status, fetched, capfd):
    fetched(CASES["sha256 of two parts"][0], part_status=part_status)
    assert "verified: 1 by size and gzip checksum only" in capfd.readouterr().out


def test_an_empty_object(fetched, tmp_path):
    fetched({"ETag": f'"{hashlib.md5().hexdigest()}"'}, b"", "name")
    assert (tmp_path / "name").read_bytes() == b""


def test_checksums_of_a_head():
    both = {"ETag": f'"{MD5}-3"', "ChecksumSHA256": b64(sha256(BODY)), "ChecksumCRC32": "AAAA"}
    found = [(c.algorithm, c.parts) for c in checksums(both)]
    assert found == [("sha256", 0), ("md5", 3)]
    assert checksums({"ETag": f'"{MD5}"', "SSECustomerAlgorithm": "AES256"}) == ()
