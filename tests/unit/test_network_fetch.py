"""Fetching published networks: a server on loopback, keys that are converted, what remains."""

import datetime
import hashlib
import ipaddress
import json
import os
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from boldvision import cli, plugins, transfer, trust
from boldvision.config.load import load_config
from boldvision.downloads import downloads
from boldvision.errors import UserError
from boldvision.files import only_job
from boldvision.jobs import Jobs
from boldvision.networks.fetch import fetch
from boldvision.networks.settings import BaseNetwork, File
from boldvision.plan import Plan
from tests.unit.config_data import NSD, values_of

STATE = {"old.weight": torch.arange(200_000.0)}


def converted(files, out):
    """As the module `keys` of a kind of network."""
    state = torch.load(files["model.bin"], map_location="cpu", weights_only=True)
    save_file({"new.weight": state["old.weight"]}, out / "model.safetensors")
    (out / "config.json").write_text((files["config.json"]).read_text())


@pytest.fixture(autouse=True)
def kind(monkeypatch):
    """A kind of network, whose `converted` a test may change."""
    keys, usual = SimpleNamespace(converted=converted), plugins.defined

    def defined(*place):
        *module, function = place
        return getattr(keys, function) if module == ["networks", "kind", "keys"] else usual(*place)

    monkeypatch.setattr(plugins, "defined", defined)
    return keys


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serves a folder on loopback; `cut` ends an answer early, `asked` are requests and ranges."""
    monkeypatch.setattr(transfer, "BLOCK", 1000)
    folder = tmp_path / "server"
    folder.mkdir()
    torch.save(STATE, folder / "model.bin")
    (folder / "config.json").write_text("{}")

    class Handler(BaseHTTPRequestHandler):
        cut, asked, leads_to = 0, [], ""

        def do_GET(self):
            self.asked.append((self.path[1:], self.headers.get("Range")))
            if self.leads_to and self.path == "/model.bin":
                self.send_response(302)
                self.send_header("Location", self.leads_to)
                return self.end_headers()
            content = (folder / self.path[1:]).read_bytes()
            first = int((self.headers.get("Range") or "bytes=0-")[6:-1])
            self.send_response(206 if first else 200)
            self.send_header("Content-Length", str(len(content) - first))
            self.send_header("ETag", f'"{hashlib.md5(content).hexdigest()}"')
            self.end_headers()
            self.wfile.write(content[first : type(self).cut or len(content)])

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        Handler.folder, Handler.httpd = folder, httpd
        Handler.url = f"http://127.0.0.1:{httpd.server_port}"
        yield Handler
        httpd.shutdown()
        thread.join()


def digest(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def published(server, **changes) -> dict[str, File]:
    """The served files; the configuration allows https alone."""
    return {
        path.name: File.model_construct(
            url=f"{server.url}/{path.name}", sha256=changes.get(path.stem, digest(path))
        )
        for path in sorted(server.folder.iterdir())
    }


def names(folder) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "networks" / "one"


def test_what_is_converted_remains_and_the_ledger(server, out):
    files = published(server)
    out.mkdir(parents=True)
    (out / "of an older one.bin").touch()
    fetch("kind", files, out)
    assert names(out.parent) == {
        "one/model.safetensors", "one/config.json", "one/ledger.tsv", ".one.lock"
    }  # fmt: skip
    assert torch.equal(load_file(out / "model.safetensors")["new.weight"], STATE["old.weight"])
    header, *lines = (out / "ledger.tsv").read_text().splitlines()
    assert header.split("\t") == ["file", "url", "bytes", "sha256"]
    path = server.folder / "model.bin"
    size = str(path.stat().st_size)
    assert lines[1].split("\t") == ["model.bin", f"{server.url}/model.bin", size, digest(path)]


@pytest.mark.survives(
    "networks",
    "The transfer of a frozen network breaks off, or its job is killed",
    "Whole files are kept and checked again, of the others what came; the next run goes on there",
)
def test_a_transfer_that_breaks_off_goes_on(server, out):
    server.cut = 300_000
    with pytest.raises(UserError, match=r"expected \d+ bytes, the transfer ended after 300000"):
        fetch("kind", published(server), out)
    assert not out.exists()
    server.cut = 0
    server.asked.clear()
    fetch("kind", published(server), out)
    assert server.asked == [("model.bin", None), ("model.bin", "bytes=300000-")]


def test_a_job_that_is_killed_while_it_converts_fetches_nothing_again(server, out, kind):
    def killed(files, place):
        (place / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    kind.converted = killed
    with pytest.raises(KeyboardInterrupt):
        fetch("kind", published(server), out)
    assert not out.exists()
    kind.converted = converted
    server.asked.clear()
    fetch("kind", published(server), out)
    assert server.asked == []
    assert len(load_file(out / "model.safetensors")["new.weight"]) == 200_000


@pytest.mark.survives(
    "networks",
    "A file of a frozen network has not the sha256 of the configuration",
    "It is removed, the error gives both digests, and the folder of the network is not made",
)
def test_another_file_than_the_pinned_one(server, out):
    with pytest.raises(UserError, match=r"model.bin: expected sha256 0{64} \(by the config.*found"):
        fetch("kind", published(server, model="0" * 64), out)
    assert not out.exists()
    assert names(out.with_name("one.partial")) == {"config.json"}
    server.asked.clear()
    fetch("kind", published(server), out)
    assert server.asked == [("model.bin", None)]


@pytest.mark.survives(
    "networks",
    "Nobody publishes the digest of a frozen network",
    "The first one is trusted, said in the log and recorded beside the folder; another is refused",
)
def test_trust_at_first_sight(server, out, capsys):
    files = published(server, model=None)
    fetch("kind", files, out)
    first = digest(server.folder / "model.bin")
    assert f"sha256 {first} is trusted from now on" in capsys.readouterr().out
    assert first in (out / "ledger.tsv").read_text()
    assert list(trust.known(out.parent)) == ["one/model.bin"]
    fetch("kind", files, out)

    torch.save({"old.weight": torch.zeros(3)}, server.folder / "model.bin")
    (out.parent / "one").rename(out.parent / "kept")  # as Snakemake removes it
    advice = rf"\(by trust at first sight\).*delete its line in {out.parent / trust.LEDGER}"
    with pytest.raises(UserError, match=f"expected sha256 {first} {advice}"):
        fetch("kind", files, out)
    assert not out.exists()
    (out.parent / trust.LEDGER).unlink()
    fetch("kind", files, out)
    assert len(load_file(out / "model.safetensors")["new.weight"]) == 3


@pytest.mark.survives(
    "files",
    "What is fetched as a frozen network is a web page, another network, or a malicious pickle",
    "The error names the folder and what was found; nothing in a pickle runs, no folder is made",
)
@pytest.mark.parametrize("content", ["page", "other", "code"])
def test_wrong_archives(server, out, content):
    path = server.folder / "model.bin"
    if content == "page":
        path.write_text("<html>sign in</html>")
    else:
        torch.save({"layer": print if content == "code" else torch.ones(1)}, path)
    with pytest.raises(UserError, match="one: expected files of a network of kind kind") as error:
        fetch("kind", published(server), out)
    assert "`files` of the network" in str(error.value)
    assert not out.exists()


@pytest.mark.survives(
    "networks",
    "A web page comes in place of a network's file whose digest nobody publishes",
    "It is not trusted: nothing is recorded, and the next run fetches the file itself",
)
def test_a_page_is_not_trusted(server, out):
    files, path = published(server, model=None), server.folder / "model.bin"
    right = path.read_bytes()
    path.write_text("<html>sign in</html>")
    with pytest.raises(UserError, match="one: expected files of a network"):
        fetch("kind", files, out)
    assert trust.known(out.parent) == {}
    path.write_bytes(right)
    fetch("kind", files, out)
    assert trust.known(out.parent)["one/model.bin"].sha256 == digest(path)


def test_a_pickle_never_remains(server, out, kind):
    kind.converted = lambda files, place: files["model.bin"].rename(place / "model.bin")
    with pytest.raises(UserError, match=r"found files \['.bin'\] in place of"):
        fetch("kind", published(server), out)
    assert not out.exists()


@pytest.mark.survives(
    "networks",
    "A server sends far more than a network can be, with or without saying so",
    "The transfer stops at 16 GiB, and the error says that it is another file",
)
@pytest.mark.parametrize("stated", [True, False])
def test_endless_files(server, out, monkeypatch, stated):
    monkeypatch.setattr(transfer, "LARGEST", 100_000)
    if not stated:
        kept = server.send_header
        monkeypatch.setattr(
            server, "send_header", lambda s, k, v: k == "Content-Length" or kept(s, k, v)
        )
    with pytest.raises(UserError, match=r"expected at most 100000 bytes, found .*`files` of the"):
        fetch("kind", published(server), out)
    parts = list(out.with_name("one.partial").glob(".model.bin.*"))
    assert sum(part.stat().st_size for part in parts) <= (0 if stated else 100_000)


@pytest.fixture
def trusted(server, tmp_path, monkeypatch):
    """The server speaks https, with a certificate that this machine trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now.replace(year=9999))
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    pem, how = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    public = builder.sign(key, hashes.SHA256()).public_bytes(pem)
    certificate, vouched = tmp_path / "server.pem", tmp_path / "vouched.pem"
    certificate.write_bytes(public + key.private_bytes(pem, how, serialization.NoEncryption()))
    vouched.write_bytes(public)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    server.httpd.socket = context.wrap_socket(server.httpd.socket, server_side=True)
    server.plain, server.url = server.url, server.url.replace("http:", "https:")
    monkeypatch.setenv("SSL_CERT_FILE", str(vouched))
    return server


def test_over_https_by_the_stage(trusted, out, tmp_path):
    files = {name: file.model_dump() for name, file in published(trusted).items()}
    settings = json.dumps({"kind": "kind", "files": files})
    assert cli.main(["network", "--settings", settings, "--out", str(out)]) == 0
    assert (out / "model.safetensors").exists()


@pytest.mark.survives(
    "networks",
    "The server of a frozen network shows a certificate that nobody vouches for, or leads to http",
    "Nothing is fetched, and the error says so",
)
def test_servers_that_nobody_vouches_for(trusted, out, monkeypatch):
    files = published(trusted)
    with ThreadingHTTPServer(("127.0.0.1", 0), trusted.httpd.RequestHandlerClass) as plain:
        thread = threading.Thread(target=plain.handle_request)
        thread.start()
        trusted.leads_to = f"http://127.0.0.1:{plain.server_port}/config.json"
        with pytest.raises(UserError, match=r"model.bin: leads to http:.*nothing vouches for"):
            fetch("kind", files, out)
        thread.join()
    monkeypatch.delenv("SSL_CERT_FILE")
    out.with_name("one.partial").rename(out.with_name("elsewhere"))
    with pytest.raises(UserError, match=r"config.json: .*certificate verify failed"):
        fetch("kind", files, out)


def test_the_configuration_allows_https_and_plain_names_alone():
    file = {"url": "https://somewhere/file"}
    for changes in (
        {"model.bin": {"url": "http://somewhere/file"}},
        {"../model.bin": file},
        {"model.bin": file | {"sha256": "12"}},
    ):
        with pytest.raises(ValidationError):
            BaseNetwork.model_validate({"kind": "kind", "folder": "f", "files": changes})
    BaseNetwork.model_validate({"kind": "kind", "folder": "f", "files": {"model.bin": file}})


@pytest.mark.survives(
    "jobs",
    "Two workflows fetch the same network into one folder",
    "The second waits two minutes and then stops, naming the process that works there",
)
def test_one_job_works_in_a_folder(server, out, monkeypatch):
    monkeypatch.setattr("boldvision.files.PATIENCE_S", 0.1)
    with only_job(out), pytest.raises(UserError, match=f"another job works there .*{os.getpid()}"):
        fetch("kind", published(server), out)
    assert server.asked == []


def test_killed_in_the_middle_of_a_file(server, out):
    """As the machine does it: what was written stays."""
    files = {name: file.model_dump() for name, file in published(server).items()}
    server.cut = 300_000
    code = (
        "import json, os, sys; from pathlib import Path\n"
        "from boldvision import transfer; from boldvision.networks.settings import File\n"
        "from boldvision.networks import fetch; from boldvision import plugins\n"
        "plugins.defined = lambda *_: None\n"
        "transfer._whole = lambda *_: os.kill(os.getpid(), 9)\n"
        "files = {n: File.model_construct(**f) for n, f in json.loads(sys.argv[1]).items()}\n"
        "fetch.fetch('kind', {'model.bin': files['model.bin']}, Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, json.dumps(files), str(out)]
    assert subprocess.run(command, cwd=Path(__file__).parents[2], check=False).returncode == -9
    server.cut = 0
    server.asked.clear()
    fetch("kind", published(server), out)
    assert ("model.bin", "bytes=300000-") in server.asked
    assert (out / "model.safetensors").exists()


def test_networks_are_fetched_where_they_are_used():
    config = load_config(values_of(NSD))
    jobs, found = Jobs(config), downloads(Plan(config), "paper")
    used = {
        config.network(name).folder
        for run in config.run_names
        for settings in (config.run(run), *map(config.target, config.run(run).target_names()))
        for name in settings.network_names()
        if config.network(name).files
    }
    assert set(jobs.fetched_networks) >= used
    assert set(found) & set(jobs.fetched_networks) <= used
    for folder, network in jobs.fetched_networks.items():
        told = json.loads(jobs.network_settings(SimpleNamespace(folder=folder)))
        assert told["kind"] == network.kind
        assert set(told) == {"kind", "files"}
