"""A bucket on loopback."""

import gzip
import random
from pathlib import Path

import boto3
import h5py
import pytest
from botocore.config import Config
from fetch_data import BIG, MIB, Relay, pixels, run, shared_ids, write_experiment
from PIL import Image

from boldvision.datasets.miniature.serve import serving
from boldvision.datasets.nsd import keys, transport


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A bucket of one session of 14 files, of which the second has two parts."""
    folder = tmp_path_factory.mktemp("bucket")
    small = [keys.stim_info(), keys.brainmask("subj01"), keys.roi("subj01")]
    small += [keys.responses("subj01")]
    for file_run in range(1, 15):
        small += [keys.design("subj01", 1, file_run), keys.timeseries("subj01", 1, file_run)]
    for key in [*small, keys.expdesign(), keys.stimuli()]:
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        content = key.encode() * 50
        (folder / key).write_bytes(gzip.compress(content) if key.endswith(".gz") else content)
    (folder / BIG).write_bytes(gzip.compress(random.Random(0).randbytes(12 * MIB), 1))
    write_experiment(folder / keys.expdesign())
    with h5py.File(folder / keys.stimuli(), "w") as file:
        file["imgBrick"] = pixels()
    for number, image_id in enumerate(shared_ids(folder), start=1):
        path = folder / keys.shared_image(number, image_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels()[image_id - 1]).save(path)
    return folder


@pytest.fixture(scope="module")
def address(folder):
    with serving(folder, "natural-scenes-dataset") as address:
        yield address


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(transport, "BACKOFF_S", 0.001)


@pytest.fixture
def put(address):
    """Put an object for the length of a test."""
    client = boto3.client(
        "s3",
        endpoint_url=address,
        region_name="us-east-1",
        aws_access_key_id="owner",
        aws_secret_access_key="owner",
        config=Config(s3={"addressing_style": "path"}, proxies={}),
    )
    where = {"Bucket": "natural-scenes-dataset", "ACL": "public-read"}
    before: dict[str, bytes] = {}

    def put(key: str, body: bytes) -> None:
        before[key] = client.get_object(Bucket=where["Bucket"], Key=key)["Body"].read()
        client.put_object(Key=key, Body=body, **where)

    yield put
    for key, body in before.items():
        client.put_object(Key=key, Body=body, **where)


@pytest.fixture
def relay(address):
    relay = Relay(address)
    yield relay
    relay.listener.close()


@pytest.fixture
def root(folder, tmp_path) -> Path:
    run("experiment", tmp_path, None, raw=str(folder))
    return tmp_path
