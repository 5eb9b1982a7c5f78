"""Lines that are away for a moment, and addresses at which there is nothing."""

import datetime
import errno
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading

import pytest
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from decoder_data import REPOSITORY
from fetch_data import Scripted, answer, arguments, in_turn, ranged

from boldvision.config import S3
from boldvision.datasets.nsd import transport
from boldvision.datasets.nsd.s3 import Bucket, Remote
from boldvision.errors import UserError

FILE = answer(200, ETag='"abc"', Content_Length=200)
UNKNOWN = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
AWAY = {
    "name server": socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
    "network": OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH)),
    "server": ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED)),
}


@pytest.fixture
def line(monkeypatch):
    """A bucket at a name that leads to a server on loopback, after these failures to connect."""
    servers, tried = [], []

    def start(failures, *answers):
        servers.append(Scripted(in_turn(*answers)))
        there = servers[-1].listener.getsockname()
        left = list(failures)

        def connect(_, *rest, **options):
            tried.append(1)
            if left and (failure := left.pop(0)):
                raise failure
            return socket.create_connection(there)

        monkeypatch.setattr(urllib3.util.connection, "create_connection", connect)
        return Bucket(S3(bucket="nsd", endpoint="http://nsd.example:9000")), tried

    yield start
    for server in servers:
        server.listener.close()


@pytest.mark.survives(
    "patience",
    "Name server, network or server are away for a moment",
    "It is asked for again for two minutes; then the job stops, with what the system said",
)
@pytest.mark.parametrize("failure", AWAY.values(), ids=AWAY)
def test_a_line_that_is_away(failure, line):
    bucket, tried = line([failure] * 7, FILE)
    assert bucket.heads(["folder/name"])[0].bytes == 200
    assert len(tried) == transport.ATTEMPTS
    bucket, _ = line([failure] * 8, FILE)
    said = f"8 attempts failed, .*{failure.strerror}.*; run again to resume"
    with pytest.raises(UserError, match=said):
        bucket.heads(["folder/name"])


@pytest.mark.survives(
    "patience",
    "s3.endpoint names no server: an unknown name, or nothing listens there on this machine",
    "After four tries, seven seconds, the job stops: the setting is to be checked",
)
def test_an_address_with_nothing_there(line):
    bucket, tried = line([UNKNOWN] * 9, FILE)
    with pytest.raises(UserError, match=r"4 attempts failed, .*Name or service not known.*`s3`"):
        bucket.heads(["name"])
    assert len(tried) == transport.FEW
    bucket, _ = line([AWAY["name server"], *[UNKNOWN] * 6], FILE)
    assert bucket.heads(["folder/name"])[0].bytes == 200


def test_nothing_listens_on_this_machine():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    bucket = Bucket(S3(bucket="nsd", endpoint=f"http://127.0.0.1:{port}"))
    with pytest.raises(UserError, match=r"4 attempts failed, .*Connection refused.*check `s3`"):
        bucket.heads(["name"])


def test_a_name_that_is_gone_in_the_middle_of_a_transfer(line, monkeypatch):
    monkeypatch.setattr("boldvision.datasets.nsd.s3.PROGRESS", 50)
    body = bytes(range(200))
    cut = ranged(body, '"abc"', 0, 200)[:-100]
    bucket, _ = line([None, *[UNKNOWN] * 6], cut, ranged(body, '"abc"', 100, 200))
    assert b"".join(bucket.stream(Remote("folder/name", 200, "abc", ""))) == body


@pytest.fixture
def encrypted(tmp_path):
    """Address of a server with a certificate that nobody trusts, and its connections."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now.replace(year=9999))
    (tmp_path / "server.pem").write_bytes(
        builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    connections = []

    def serve(listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            connections.append(1)
            try:
                context.wrap_socket(client, server_side=True).close()
            except OSError:
                client.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}", connections


@pytest.mark.survives(
    "patience",
    "The certificate of the server is not trusted",
    "The job stops at once; the message names the variable for a file of certificates",
)
def test_a_certificate_that_is_not_trusted(encrypted, monkeypatch):
    address, connections = encrypted
    for name in transport.BUNDLES:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match=r"not trusted \(self.signed .*\); .* in AWS_CA_BUNDLE"):
        Bucket(S3(bucket="nsd", endpoint=address)).heads(["name"])
    assert len(connections) == 1


@pytest.mark.survives(
    "jobs",
    "Ctrl-C while a download waits for a server",
    "It ends at once; what came is kept",
)
def test_an_interrupt(tmp_path):
    asked, leave = threading.Event(), threading.Event()

    def hang(_):
        asked.set()
        leave.wait(60)
        return b""

    server = Scripted(hang)
    command = [sys.executable, "-m", "boldvision", "fetch"]
    command += arguments("experiment", tmp_path, server.address)
    child = subprocess.Popen(command, cwd=REPOSITORY)
    try:
        assert asked.wait(60)
        child.send_signal(signal.SIGINT)
        assert child.wait(10) == -signal.SIGINT
    finally:
        child.kill()
        leave.set()
        server.listener.close()
