"""The client of a bucket: what it takes from its surroundings, and addresses it refuses."""

import os
from pathlib import Path

import pytest
import yaml
from fetch_data import Scripted, answer, arguments, in_turn

from boldvision import cli
from boldvision.config import S3
from boldvision.config.load import load_config
from boldvision.datasets.miniature.serve import serving
from boldvision.datasets.nsd import faults, keys, transport
from boldvision.datasets.nsd.s3 import Bucket
from boldvision.errors import UserError

ROOT = Path(__file__).parents[3]

SURROUNDINGS = {
    "AWS_PROFILE": "no-such-profile",
    "AWS_MAX_ATTEMPTS": "ten",
    "AWS_RETRY_MODE": "nonsense",
    "AWS_DEFAULTS_MODE": "nonsense",
    "AWS_REGION": "nowhere at all",
    "AWS_DEFAULT_REGION": "nowhere at all",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
    "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT": "nonsense",
    "AWS_METADATA_SERVICE_TIMEOUT": "soon",
    "AWS_REQUEST_CHECKSUM_CALCULATION": "nonsense",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_ACCESS_KEY_ID": "half a key",
    "AWS_DATA_PATH": "/nowhere",
}


@pytest.mark.survives(
    "places",
    "AWS_PROFILE names no profile, ~/.aws/config is broken, AWS_MAX_ATTEMPTS is no number",
    "None of it is read: access is anonymous",
)
def test_the_user_s_aws_configuration_is_not_read(address, folder, tmp_path, monkeypatch):
    (tmp_path / ".aws").mkdir()
    for name in ("config", "credentials"):
        (tmp_path / ".aws" / name).write_text("[default\nregion nowhere\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in SURROUNDINGS.items():
        monkeypatch.setenv(name, value)
    transport._session.cache_clear()
    [remote] = Bucket(S3(endpoint=address)).heads([keys.expdesign()])
    assert remote.bytes == (folder / keys.expdesign()).stat().st_size
    client = transport.anonymous_client(S3(region="us-east-1"))
    assert client.meta.endpoint_url == "https://s3.us-east-1.amazonaws.com"
    assert os.environ["AWS_PROFILE"] == "no-such-profile"
    with serving(tmp_path / ".aws", "nsd-bucket") as own:
        bucket = Bucket(S3(bucket="nsd-bucket", endpoint=own))
        assert bucket.heads(["config"])[0].bytes == 24


def test_proxies_and_certificates_are_taken_from_the_environment(tmp_path, monkeypatch):
    proxy = Scripted(in_turn(answer(200, ETag='"abc"', Content_Length=7)))
    monkeypatch.setenv("HTTP_PROXY", proxy.address)
    bucket = Bucket(S3(bucket="nsd", endpoint="http://nsd.example"))
    assert bucket.heads(["name"])[0].bytes == 7
    assert proxy.requests[0]["path"] == "http://nsd.example/nsd/name"
    proxy.listener.close()
    (tmp_path / "bundle.pem").touch()
    for name in faults.BUNDLES:
        monkeypatch.delenv(name, raising=False)
    for name in faults.BUNDLES:
        with monkeypatch.context() as patch:
            patch.setenv(name, str(tmp_path / "bundle.pem"))
            client = transport.anonymous_client(S3())
            assert client._endpoint.http_session._verify == str(tmp_path / "bundle.pem")
            patch.setenv(name, str(tmp_path / "missing.pem"))
            with pytest.raises(UserError, match=f"{name}: expected a file of certificates"):
                transport.anonymous_client(S3())


@pytest.mark.survives(
    "places",
    "The bucket is in another region, or the region is impossible",
    "The message names the region to set",
)
def test_a_wrong_region():
    moved = answer(301, **{"x-amz-bucket-region": "eu-west-3"})
    for reply, hint in ((moved, "set `s3.region: eu-west-3`"), (answer(301), "check `s3.region`")):
        server = Scripted(in_turn(reply))
        bucket = Bucket(S3(bucket="nsd", endpoint=server.address))
        with pytest.raises(UserError, match=hint):
            bucket.heads(["name"])
        with pytest.raises(UserError, match=hint):
            bucket.keys("folder/")
        server.listener.close()
    with pytest.raises(UserError, match=r"correct `s3\.region` and `s3\.endpoint`"):
        Bucket(S3(region="no_where"))


def test_a_request_that_is_none():
    with pytest.raises(UserError, match="check `s3`"):
        Bucket(S3(bucket="nsd", endpoint="http://127.0.0.1:9")).heads([""])


def test_a_refusal_is_not_asked_again():
    server = Scripted(in_turn(answer(403)))
    with pytest.raises(UserError, match="not readable without credentials"):
        Bucket(S3(bucket="nsd", endpoint=server.address)).heads(["name"])
    assert len(server.requests) == 1
    server.listener.close()


ADDRESSES = {
    "localhost:9000": "expected http://HOST:PORT",
    "ftp://host": "expected http://HOST:PORT",
    "http://": "expected http://HOST:PORT",
    "http://host:port": "expected http://HOST:PORT",
    "http://host:99999": "expected http://HOST:PORT",
    "http://[host": "expected http://HOST:PORT",
    "http://host?key=secret": "expected http://HOST:PORT",
    "http://user:secret@host": "without user and password",
    "user:secret@host": "without user and password",
}


@pytest.mark.survives(
    "places",
    "s3.endpoint without http://, or with a password in it",
    "The configuration is refused; no password is shown",
)
@pytest.mark.parametrize(("endpoint", "expected"), ADDRESSES.items(), ids=ADDRESSES)
def test_addresses_that_are_refused(endpoint, expected, tmp_path, capsys):
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    config["s3"] = {"endpoint": endpoint}
    with pytest.raises(UserError, match=expected) as wrong:
        load_config(config)
    messages = [str(wrong.value)]
    argv = arguments("experiment", tmp_path, None)
    settings = arguments("experiment", tmp_path, None, s3={"endpoint": endpoint})
    for arguments_ in ([*argv, "--endpoint", endpoint], settings):
        assert cli.main(["fetch", *arguments_]) == 1
        messages.append(capsys.readouterr().err)
        assert expected in messages[-1]
    assert not any("user:secret" in message for message in messages)
    assert S3(endpoint="https://minio.example:9000/store").endpoint
