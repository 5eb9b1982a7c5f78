"""A configuration with every key written out, and its places one by one."""

import copy

from config_data import values_of

from boldvision.config.load import load_config

TEXTS = {
    "coco.endpoint": "http://127.0.0.1:9",
    "coco.folder": "annotations",
    "coco.sha256": "0" * 64,
    "raw": "raw",
    "s3.endpoint": "http://127.0.0.1:9",
    "design.expdesign_sha256": "0" * 64,
    "preprocessing.fmriprep.derivatives": "derivatives",
    "runs_table": "boldvision/decoders/dynadiff/runs.tsv",
    "runs.dynadiff.training.deepspeed": "config/deepspeed_zero2.json",
    "runs.dynadiff_official.weights": "weights",
    "runs.mindeye1.high_level.deepspeed": "config/deepspeed_zero2.json",
    "runs.mindeye1.low_level.deepspeed": "config/deepspeed_zero2.json",
}
NUMBERS = {
    "gallery.images": 100,
    "runs.dynadiff_betas.sessions": 2,
    "test_sets.matrix.trials_at_most": 100,
    "runs.dynadiff.training.gradient_clip": 1.0,
    "runs.mindeye1.high_level.gradient_clip": 1.0,
    "runs.mindeye1.low_level.gradient_clip": 1.0,
}
OTHERS = {
    "runs.dynadiff.training.undecayed": ["bias"],
    "runs.dynadiff.training.one_cycle": {
        "peak_at": 0.3, "start": 25.0, "end": 1e4, "momentum": [0.95, 0.85],
    },
    "networks.clip.files": {
        "model": {"url": "https://127.0.0.1/model", "sha256": "0" * 64},
    },
}  # fmt: skip
JOB = {"runtime": "docker", "image": "image", "licence": "licence", "work": "work"}
FETCHED = {
    "kind": "versatile_diffusion", "folder": "fetched", "repository": "owner/name",
    "revision": "0123abc", "image_px": 512, "tokens": 257, "width": 768, "label": "",
}  # fmt: skip


def whole_config():
    """The default with all defaults written out, and with a value in place of every null."""
    config = load_config(values_of())
    values = config.model_dump(mode="json")
    values["runs"] = {name: config.run(name).model_dump(mode="json") for name in config.run_names}
    for section, read in (("networks", config.network), ("targets", config.target)):
        values[section] = {name: read(name).model_dump(mode="json") for name in values[section]}
    values["generators"]["fetched"] = dict(FETCHED)
    values["preprocessing"]["fmriprep"]["job"] = JOB | {"threads": 2, "mem_gb": 4}
    for place, value in (TEXTS | NUMBERS | OTHERS).items():
        put(values, place.split("."), value)
    load_config(values)
    return values


def places(values, path=()):
    """Path and value of everything in it, mappings and lists included."""
    for key, value in values.items() if isinstance(values, dict) else enumerate(values):
        yield (*path, key), value
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


def changed(values, path, value):
    """A copy with another value at a place."""
    values = copy.deepcopy(values)
    put(values, path, value)
    return values


def put(values, path, value):
    """Set the value of a place."""
    *above, last = path
    for key in above:
        values = values[key]
    values[last] = value


def renamed(values, name, other):
    """A copy in which all that is called `name` is called `other`, keys and values."""
    if isinstance(values, dict):
        return {renamed(k, name, other): renamed(v, name, other) for k, v in values.items()}
    if isinstance(values, list):
        return [renamed(value, name, other) for value in values]
    return other if values == name else values
