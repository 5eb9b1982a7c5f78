"""Writes the table of docs/architecture.md: which rules run again after an edit of which module.

Every module is edited, one at a time, in a copy of the project's code, and the rules are asked for
their parameter `code`, which is what Snakemake compares.
"""

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

from snakemake.api import OutputSettings, ResourceSettings, SnakemakeApi
from snakemake.rules import Rule
from snakemake.settings.types import Quietness

from boldvision import plugins
from boldvision.fingerprint import Code
from boldvision.trials import splits

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- reruns: written by `make docs` -->", "<!-- end of reruns -->"

EDIT = "\nEDITED = True\n"

SUMS = re.compile("make_|check_")
"""Beginnings of rules that the table calls by one name."""


class OtherWildcard(AttributeError):
    """A rule asks for a wildcard that a case does not have."""


class Wildcards(SimpleNamespace):
    """Wildcards of one case: a decoder, a kind of target or network, or a split."""

    def __getattr__(self, name: str) -> str:
        raise OtherWildcard(name)


class Reruns:
    """The rules of the workflow, and a copy of the project's code to edit.

    Parameters
    ----------
    copy : Path
        Folder of the copy.

    Attributes
    ----------
    rules : dict of str to Rule
        All of them, by name.
    before : dict of str to str
        Fingerprint of every rule that has one, or of every case of it: ``reconstruct of …``.
    modules : dict of str to Path
        Dotted names and files of the copy.
    """

    def __init__(self, copy: Path):
        ignored = shutil.ignore_patterns("__pycache__", "*.safetensors")
        for part in ("boldvision", "workflow/scripts"):
            shutil.copytree(ROOT / part, copy / part, ignore=ignored)
        quiet = OutputSettings(quiet={Quietness.ALL})
        with patch.dict(os.environ), SnakemakeApi(quiet) as api:  # the workflow sets variables
            workflow = api.workflow(ResourceSettings(cores=1), snakefile=ROOT / "Snakefile")
            workflow = workflow._workflow  # there is no other way to its rules
        self.copy = copy
        self.rules = {rule.name: rule for rule in workflow.rules}
        self._code, config = workflow.globals["CODE"], workflow.globals["CONFIG"]
        runs = {config.run(name).decoder: Wildcards(run=name) for name in config.run_names}
        targets = {config.target(name).kind: Wildcards(target=name) for name in config.target_names}
        found = {name: Wildcards(split=name) for name in splits.names()}
        trained = {
            name: Wildcards(kind=name)
            for name, folder in plugins.found("networks").items()
            if (folder / "pretrain.py").exists()
        }
        named = (runs, targets, found, trained)
        self._cases = [("", Wildcards()), *(case for cases in named for case in cases.items())]
        self.modules = {
            ".".join(path.relative_to(copy).with_suffix("").parts).removesuffix(".__init__"): path
            for path in sorted(copy.rglob("*.py"))
        }
        self.before = self.fingerprints()

    def fingerprints(self) -> dict[str, str]:
        """Fingerprint of every rule, or case of a rule, as the copy is now."""
        vars(self._code).update(vars(Code(self.copy)))
        coded = {n: rule.params["code"] for n, rule in self.rules.items() if _has_code(rule)}
        return {
            f"{name} of {case}" if case else name: fingerprint
            for name, code in coded.items()
            for case, fingerprint in self._cases_of(code)
        }

    def _cases_of(self, code: Callable) -> Iterator[tuple[str, str]]:
        for case, wildcards in self._cases:
            with suppress(OtherWildcard):
                yield case, code(wildcards)
                if not case:
                    return

    @cached_property
    def effects(self) -> dict[str, set[str]]:
        """What :meth:`after` says of every module."""
        return {module: self.after(module) for module in self.modules}

    def after(self, *modules: str, edit: str = EDIT) -> set[str]:
        """Rules, and cases of rules, that run again when `edit` is at the end of all `modules`."""
        texts = {self.modules[module]: self.modules[module].read_text() for module in modules}
        try:
            for path, text in texts.items():
                path.write_text(text + edit)
            found = self.fingerprints()
        finally:
            for path, text in texts.items():
                path.write_text(text)
        return {name for name in self.before if found[name] != self.before[name]}


def _has_code(rule: Rule) -> bool:
    return "code" in rule.params.keys()  # noqa: SIM118


def table(reruns: Reruns) -> str:
    """Modules after whose edit the same rules run again, and these rules."""
    groups: dict[tuple[str, ...], set[str]] = {}
    for module, effects in reruns.effects.items():
        if effects and reruns.modules[module].stat().st_size:
            groups.setdefault(_summed(reruns.before, effects), set()).add(module)
    order = _summed(reruns.before, set(reruns.before))
    rows = sorted(groups.items(), key=lambda row: [order.index(name) for name in row[0]])
    listed = set().union(*groups.values())
    lines = [
        f"| {', '.join(_shortened(modules, listed))} | {', '.join(r)} |" for r, modules in rows
    ]
    return "\n".join(["| an edit of | runs again |", "|---|---|", *lines])


def _summed(order: Collection[str], names: set[str]) -> tuple[str, ...]:
    """Names of rules in their order; tables and figures under one name."""
    named = (
        "tables, figures" if SUMS.match(name) else f"`{name}`".replace(" of ", "` of `")
        for name in order
        if name in names
    )
    return tuple(dict.fromkeys(named))


def _shortened(modules: set[str], listed: set[str]) -> list[str]:
    """Modules without `boldvision.`; ``package.*`` if all of it that are listed are among them."""
    chosen = set(modules)
    for package in sorted({name.rpartition(".")[0] for name in modules} - {"boldvision"}):
        within = {name for name in listed if f"{name}.".startswith(f"{package}.")}
        if len(within) > 1 and within <= chosen:
            chosen = chosen - within | {f"{package}.*"}
    return [f"`{name.removeprefix('boldvision.')}`" for name in sorted(chosen)]


def page(text: str, rows: str) -> str:
    """The page with `rows` as its table."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{rows}\n{END}{tail}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        rows = table(Reruns(Path(folder)))
    PAGE.write_text(page(PAGE.read_text(), rows))
    print(f"{PAGE.relative_to(ROOT)}: {rows.count(chr(10)) - 1} rows", file=sys.stderr)
