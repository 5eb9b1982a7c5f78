"""Check a configuration; print its keys as Markdown or JSON Schema, both made from its models."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from math import inf
from typing import Any, get_args

import yaml
from pydantic import BaseModel

from boldvision import plugins
from boldvision.config import Config, Preprocessing
from boldvision.config.load import load_config
from boldvision.config.section import distinct
from boldvision.errors import UserError
from boldvision.files import atomic, reading
from boldvision.plan import Plan
from boldvision.shipped import ROOT

README = ROOT / "config" / "README.md"
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.json"
MARKERS = ("<!-- keys: begin -->", "<!-- keys: end -->")
TYPES = {
    "integer": "int",
    "number": "float",
    "string": "str",
    "boolean": "bool",
    "null": "`null`",
    "object": "mapping",
}
LARGEST, MOST_VALUES = 1_000_000, 100_000
"""Characters and values of a configuration file; the default has 5,500 and 630."""
LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def main(argv: list[str]) -> None:
    """Check configuration files, or print or rewrite what documents them."""
    parser = argparse.ArgumentParser(prog="python -m boldvision config", description=__doc__)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument(
        "--check", nargs="+", metavar="FILE", help="YAML files; later ones override earlier ones"
    )
    action.add_argument("--markdown", action="store_true", help="print the table of keys")
    action.add_argument("--schema", action="store_true", help="print the JSON schema")
    action.add_argument(
        "--docs", action="store_true", help=f"rewrite {README.name} and {SCHEMA.name}"
    )
    options = parser.parse_args(argv)
    if options.check:
        config = Plan(read_config(options.check)).config
        runs = len(config.run_names)
        print(f"{' + '.join(options.check)}: {config.dataset}, {runs} runs: correct")
    elif options.markdown:
        print(markdown())
    elif options.schema:
        print(schema(), end="")
    else:
        write_docs()


def read_config(files: list[str]) -> Config:
    """Read, merge and validate configuration files as Snakemake's ``--configfile`` does.

    Raises
    ------
    UserError
        A file is missing or is not YAML, or a key is unknown, missing or wrong.
    """
    try:
        return load_config(read_values(files))
    except UserError as error:
        raise UserError(f"{' + '.join(files)}: {error}") from None


def read_values(files: list[str]) -> dict[str, Any]:
    """What configuration files say together, before it is validated.

    Raises
    ------
    UserError
        A file is missing or is not YAML.
    """
    from snakemake.utils import update_config

    values: dict[str, Any] = {}
    for file in files:
        update_config(values, _read_yaml(file))
    return values


def schema() -> str:
    """JSON Schema of the configuration; editors complete and check YAML files by it."""
    draft = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(draft | Config.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


def markdown() -> str:
    """Tables of every key: path, type, default, meaning; one of each kind that has its own."""
    tables = [_table(Config, "")]
    for kind in get_args(get_args(Preprocessing)[0]):
        name = kind.model_json_schema()["properties"]["kind"]["const"]
        tables.append(f"### Preprocessing with `kind: {name}`\n\n{_first_line(kind.__doc__)}\n")
        tables.append(_table(kind, "preprocessing.NAME."))
    for section, name in (("targets", "Target"), ("networks", "Network")):
        for kind in plugins.found(section):
            settings = plugins.defined(section, kind, "settings", name)
            title = f"### {section.capitalize()} with `kind: {kind}`"
            tables.append(f"{title}\n\n{_first_line(settings.__doc__)}\n")
            tables.append(_table(settings, f"{section}.NAME."))
    for decoder in plugins.found("decoders"):
        run = plugins.module("decoders", decoder, "settings").Run
        tables.append(f"### Runs with `decoder: {decoder}`\n\n{_first_line(run.__doc__)}\n")
        tables.append(_table(run, "runs.NAME."))
    return "\n".join(tables)


def write_docs() -> None:
    """Rewrite the table of keys in ``config/README.md``, and the JSON Schema."""
    begin, end = MARKERS
    before, rest = README.read_text().split(begin)
    with atomic(README) as part:
        part.write_text(f"{before}{begin}\n{markdown()}{end}{rest.split(end)[1]}")
    with atomic(SCHEMA) as part:
        part.write_text(schema())


def _read_yaml(file: str) -> dict[str, Any]:
    with reading(file, "a YAML file", "correct it"), open(file, encoding="utf-8") as stream:
        text = stream.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise UserError(f"{file}: expected at most {LARGEST:,} characters; found more")
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None or _unfolded(node, {}) > MOST_VALUES:
            found = "none" if node is None else "more: look for aliases (*) of aliases"
            raise UserError(f"{file}: expected 1 to {MOST_VALUES:,} values, found {found}")
        values = loader.construct_document(node)
    if not isinstance(values, dict):
        raise UserError(f"{file}: expected keys and values, found {type(values).__name__}")
    return values


def _unfolded(node: yaml.Node, known: dict[int, float]) -> float:
    """Number of values below a node; those behind an alias count each time, a circle for ever."""
    if id(node) not in known:
        known[id(node)] = inf
        below = node.value if isinstance(node, yaml.CollectionNode) else []
        if isinstance(node, yaml.MappingNode):
            distinct([key.value for key, _ in below if isinstance(key, yaml.ScalarNode)])
            below = [one for pair in below for one in pair]
        known[id(node)] = 1 + sum(_unfolded(one, known) for one in below)
    return known[id(node)]


def _table(model: type[BaseModel], prefix: str) -> str:
    root = model.model_json_schema()
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key, kind, default, meaning in _keys(root, root.get("$defs", {}), prefix):
        cells = (f"`{key}`", kind, default, meaning)
        rows.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join(rows) + "\n"


def _keys(section: dict[str, Any], defs: dict[str, Any], prefix: str) -> Iterator[tuple[str, ...]]:
    """Key, type, default and meaning of a section's entries, each followed by those below it."""
    for name, entry in section["properties"].items():
        below, many = _section(entry)
        meaning = entry.get("description") or (defs[below]["description"] if below else "")
        required = name in section.get("required", [])
        default = "required" if required else _default(entry, below)
        yield prefix + name, _type(entry), default, _first_line(meaning)
        if below:
            yield from _keys(defs[below], defs, f"{prefix}{name}.{'NAME.' if many else ''}")


def _section(entry: dict[str, Any]) -> tuple[str, bool]:
    """Name of the section that an entry holds, or nothing; whether it holds many by name."""
    items = _values(entry)
    if items and "$ref" in items:
        return _name(items), True
    options = [entry, *entry.get("anyOf", [])]
    return next((_name(option) for option in options if "$ref" in option), ""), False


def _values(entry: dict[str, Any]) -> dict[str, Any] | None:
    """What a mapping's names stand for."""
    return next(iter(entry.get("patternProperties", {}).values()), None)


def _type(entry: dict[str, Any]) -> str:
    if "$ref" in entry:
        return "section"
    for options in ("anyOf", "oneOf"):
        if options in entry:
            return " or ".join(dict.fromkeys(_type(option) for option in entry[options]))
    if "format" in entry:
        return str(entry["format"])
    if "enum" in entry or "const" in entry:
        return " or ".join(f"`{value}`" for value in entry.get("enum", [entry.get("const")]))
    if "prefixItems" in entry:
        return f"list of {len(entry['prefixItems'])} {_type(entry['prefixItems'][0])}"
    if entry["type"] == "array":
        return f"list of {_type(entry['items'])}"
    if values := _values(entry):
        return f"mapping of {_type(values)}"
    limits = [f"{sign} {entry[name]:.12g}" for name, sign in LIMITS.items() if name in entry]
    return " ".join([TYPES[entry["type"]], ", ".join(limits)]).strip()


def _default(entry: dict[str, Any], below: str) -> str:
    if isinstance(entry.get("default"), dict) and below:
        return ""
    empty: Any = {"array": [], "object": {}}.get(entry.get("type", ""))
    return f"`{json.dumps(entry.get('default', empty))}`"


def _name(reference: dict[str, str]) -> str:
    return reference["$ref"].rsplit("/", 1)[1]


def _first_line(text: str | None) -> str:
    return (text or "").strip().split("\n")[0]
