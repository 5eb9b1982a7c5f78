"""An edit of what is executed changes a fingerprint; prose, types, layout and a touch do not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from boldvision.errors import UserError
from boldvision.fingerprint import LEFT_OUT, Code, is_left_out
from boldvision.statements import read_statements

ROOT = Path(__file__).parents[2]
CLEAN = "boldvision.signal.clean"

LIBRARY = {
    "boldvision/__init__.py": "",
    "boldvision/errors.py": "class UserError(Exception): ...\n",
    "boldvision/seeds.py": "bits = 63\n",
    "boldvision/signal/__init__.py": "",
    "boldvision/signal/clean.py": (
        "from boldvision.errors import UserError\n"
        "from boldvision.signal.volumes import order\n"
        "names = 'table.csv', 'folder', 'missing.csv', 'data/table.csv'\n"
    ),
    "boldvision/signal/volumes.py": "order = 'C'\n",
    "boldvision/signal/table.csv": "value\n0.34\n",
    "boldvision/signal/other.csv": "value\n0.34\n",
    "workflow/scripts/figure_3.py": "from boldvision.signal import volumes\n",
}

EVERYTHING = '''
"""Every kind of statement, written in more than one way."""
from __future__ import annotations
import os.path as path, sys
from . import a
from ..b import c as d
@wraps(f, x=1)
async def g(a, /, b=-1, *c, d, e=1e-7, **k) -> "Text":
    """Prose."""
    async with (x as y, z): await w
    async for i in range(10): yield f"a{i!r:>{n}}" "b" f"{i}" 'c\\u20ac\\U0001fae8'
    return [*c], {**k, 1: 2}, {u"s", b"t\\x00"}, x[1:2, ..., ::3], lambda *a: (yield)
class C(B, metaclass=M):
    field: int
    other: str = "x"
    def m(self): nonlocal q; del self.a.b; global r; self.x: int = 1
try:
    if (n := 3 + 4j) and not (1 < 2 <= 3) or a is not b: x @= y if z else w
except* (A, B) as error: raise E from error
else: assert True, None
finally:
    while 1.0: break
    else: pass
match x:
    case {"a": 1, **rest} | [1, *_] if y: pass
    case C(a=None) as z: pass
f"{a=}" f'{b["k"]:{c}.{d}}' f"{{}}" f"{e:%H:%M}" == f"""{
    f}"""
'''
EVERYTHING_SAYS = "4df6f309a4b5a89ac8326ab00d12dd1631d743da5c03ffc580d665120692ea74"


def write(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.fixture
def root(tmp_path):
    write(tmp_path, LIBRARY)
    return tmp_path


@pytest.fixture
def changes(root):
    """Whether other text of a file changes the fingerprint of `clean`, or of another module."""

    def edit(name, text, module=CLEAN):
        before = Code(root).fingerprint(module)
        write(root, {name: text})
        return Code(root).fingerprint(module) != before

    return edit


def digest(text):
    return read_statements(text.encode(), "boldvision.signal").digest


# Which files count


def test_touch_changes_nothing(root):
    before = Code(root).fingerprint(CLEAN)
    os.utime(root / "boldvision/signal/clean.py", (0, 0))
    write(root, {"boldvision/signal/__pycache__/clean.cpython-311.pyc": ""})
    assert Code(root).fingerprint(CLEAN) == before


def test_edit_changes_and_revert_restores(root, changes):
    before = Code(root).fingerprint(CLEAN)
    assert changes("boldvision/signal/volumes.py", "order = 'F'\n")
    assert changes("boldvision/signal/volumes.py", "order = 'C'\n")
    assert Code(root).fingerprint(CLEAN) == before


def test_only_what_is_imported_counts(root, changes):
    assert not changes("boldvision/seeds.py", "bits = 31\n")
    assert Code(root).modules(CLEAN) == [
        *("boldvision", "boldvision.signal", CLEAN, "boldvision.signal.volumes"),
    ]
    assert not changes("boldvision/signal/clean.py", "order = 'F'", "boldvision.signal.volumes")


@pytest.mark.parametrize(
    "statement",
    [
        "import boldvision.seeds",
        "import boldvision.seeds as s",
        "from boldvision import seeds",
        "from boldvision.seeds import bits",
        "from boldvision.seeds import *",
        "from .. import seeds",
        "from ..seeds import bits",
        "def f():\n    from boldvision import seeds",
        "if True:\n    import boldvision.seeds",
        "try:\n    import boldvision.seeds\nexcept ImportError:\n    pass",
    ],
)
def test_every_form_of_import_is_followed(root, statement):
    write(root, {"boldvision/signal/volumes.py": statement})
    assert "boldvision.seeds" in Code(root).modules(CLEAN)


@pytest.mark.parametrize(
    "statement",
    [
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import boldvision.seeds",
        "import typing\nif typing.TYPE_CHECKING:\n    import boldvision.seeds",
        "from boldvision.seeds import Bits\ndef f(x: Bits) -> Bits:\n    return x",
        "from boldvision.seeds import Bits\ndef f(x: 'list[Bits]'):\n    return x",
        "import seeds",
        "'import boldvision.seeds'",
    ],
)
def test_imports_of_types_are_not_followed(root, statement):
    write(root, {"boldvision/signal/volumes.py": statement})
    assert "boldvision.seeds" not in Code(root).modules(CLEAN)


def test_a_package_counts_with_its_modules(changes):
    assert changes("boldvision/signal/__init__.py", "import os\nos.environ['A'] = ''\n")


def test_data_that_a_module_names_count(changes):
    assert changes("boldvision/signal/table.csv", "value\n0.35\n")
    assert not changes("boldvision/signal/other.csv", "value\n0.35\n")
    assert changes("boldvision/signal/missing.csv", "")
    assert changes("boldvision/signal/data/table.csv", "")


def test_what_is_left_out_is_not_followed(root, changes):
    assert is_left_out("boldvision.errors")
    assert not changes("boldvision/errors.py", "import boldvision.seeds\n")
    assert "boldvision.seeds" not in Code(root).modules(CLEAN)


def test_a_script_is_what_it_imports(root):
    before = Code(root).script("figure_3")(None)
    assert Code(root).script("figure_3")({}) == before
    write(root, {"boldvision/signal/volumes.py": "order = 'F'\n"})
    assert Code(root).script("figure_3")(None) != before
    assert "workflow.scripts.figure_3" in Code(root).modules("workflow.scripts.figure_3")


def test_it_counts_which_module_says_what(root):
    one, other = "boldvision/signal/volumes.py", "boldvision/seeds.py"
    write(root, {one: "import boldvision.seeds\n", other: ""})
    before = Code(root).fingerprint("boldvision.signal.volumes", "boldvision.seeds")
    write(root, {one: "", other: "import boldvision.seeds\n"})
    assert Code(root).fingerprint("boldvision.signal.volumes", "boldvision.seeds") != before


def test_order_and_repetition_do_not_matter(root):
    seeds, code = "boldvision.seeds", Code(root)
    both = code.fingerprint(CLEAN, seeds)
    assert code.fingerprint(seeds, CLEAN) == code.fingerprint(seeds, CLEAN, seeds) == both
    assert code.fingerprint(CLEAN) != both


def test_same_code_elsewhere_is_the_same(root, tmp_path_factory):
    copy = tmp_path_factory.mktemp("copy")
    write(copy, LIBRARY)
    assert Code(copy).fingerprint(CLEAN) == Code(root).fingerprint(CLEAN)


def test_modules_of_a_plug_in_lie_elsewhere(root, tmp_path_factory, monkeypatch):
    plugin = tmp_path_factory.mktemp("plugins")
    write(
        plugin,
        {"toy/__init__.py": "", "toy/train.py": "from . import net\nimport boldvision.seeds"},
    )
    write(plugin, {"toy/net.py": "layers = 1"})
    import boldvision.decoders

    monkeypatch.setattr(boldvision.decoders, "__path__", [*boldvision.decoders.__path__, plugin])
    before = Code(root).stage("toy.train")(None)
    assert "boldvision.seeds" in Code(root).modules("boldvision.decoders.toy.train")
    write(plugin, {"toy/net.py": "layers = 2"})
    assert Code(root).stage("toy.train")(None) != before
    assert "toy" not in sys.modules


def test_unknown_module_is_refused(root):
    with pytest.raises(UserError, match=r"no module 'boldvision\.signals'"):
        Code(root).fingerprint("boldvision.signals")


def test_broken_module_is_named(root):
    write(root, {"boldvision/signal/volumes.py": "order = \n"})
    with pytest.raises(UserError, match=r"volumes\.py: line 1: "):
        Code(root).fingerprint(CLEAN)


@pytest.mark.parametrize("pattern", [p for patterns in LEFT_OUT.values() for p in patterns])
def test_what_is_left_out_exists(pattern):
    files = {path.relative_to(ROOT) for path in (ROOT / "boldvision").rglob("*.py")}
    names = [".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in files]
    assert any(is_left_out(name) and Path(name).match(pattern) for name in names)


# What of a file counts


@pytest.mark.parametrize(
    "text",
    [
        '"""Clean."""\ndef drift(n, m=1):\n    """Drift."""\n    return n + m\nTR_S = 4 / 3\n"s"',
        "def drift(\n    n, m=1,\n):\n    return (n + m)  # one\n\n\nTR_S = (4 / 3)",
        "def drift(n: int, m: int = 1) -> int:\n    return n + m\nTR_S: float = 4 / 3",
        "from __future__ import annotations\ndef drift(n, m=1):\n    return n + m\nTR_S = 4 / 3",
        "def drift(n, m=1):\n    pass\n    k: int\n    return n + m\nTR_S = 4 / 3",
        "from numpy import Array\ndef drift(n: Array, m=1):\n    return n + m\nTR_S = 4 / 3",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import numpy\n"
        "def drift(n: 'numpy.Array', m=1):\n    return n + m\nTR_S = 4 / 3",
    ],
    ids=["docstrings", "layout", "types", "future", "declared", "imported", "type_checking"],
)
def test_prose_layout_and_types_do_not_count(text):
    assert digest(text) == digest("def drift(n, m=1):\n    return n + m\nTR_S = 4 / 3\n")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("TR_S = 4 / 3", "TR_S = '4 / 3'"),
        ("x = 1", "x = 1.0"),
        ("x = 1", "x = True"),
        ("x = None", "x = ..."),
        ("def f(x=1): return", "def f(x=2): return"),
        ("def f(): return None", "def f(): yield None"),
        ("x = {**a, 1: b}", "x = {1: b, **a}"),
        ("x = a[1:]", "x = a[:1]"),
        ("f(print('a'))", "f()"),
        ("x = f'{a}'", "x = f'{a!r}'"),
        ("x = f'{a:.2f}'", "x = f'{a:.3f}'"),
        ("import a", "import a as b"),
        ("from a import b", "from .a import b"),
        ("class C:\n x: int = 1", "class C:\n x = 1"),
        ("class C:\n x: int", "class C:\n y: int"),
        ("class C:\n x: int\n y: int", "class C:\n y: int\n x: int"),
        ("class C:\n x: int", "class C: ..."),
        ("import numpy\nx: numpy.A = numpy.a", "x: numpy.A = numpy.a"),
        ("if TYPED:\n  x = 1", "x = 1"),
        ("def f():\n  x = 1\n  return x", "def f():\n  return 1"),
        ("a = [b, [c]]", "a = [[b, c]]"),
    ],
)
def test_what_is_executed_counts(one, other):
    assert digest(one) != digest(other)


@pytest.mark.survives(
    "results",
    "The message of an error is reworded",
    "Nothing runs again; another error, or another reason for it, counts",
)
def test_what_an_error_is_told_does_not_count():
    told = "def f(x):\n if x > {}: raise {}\n return x"
    before = digest(told.format(1, "A(f'{x}: too many', B)"))
    assert digest(told.format(1, "A('Too many:', len(x), at=__file__) from None")) != before
    assert digest(told.format(1, "A('Too many:', len(x), at=__file__)")) == before
    assert digest(told.format(1, "B(f'{x}: too many', B)")) != before
    assert digest(told.format(2, "A(f'{x}: too many', B)")) != before


def test_fields_of_a_class_count_without_their_types():
    assert digest("class C:\n x: int\n y: str = ''") == digest("class C:\n x: bool\n y: Any = ''")


# Versions of Python


def test_digest_is_the_same_for_ever():
    assert digest(EVERYTHING) == EVERYTHING_SAYS


def other_pythons():
    """Other interpreters of this machine that can read the project."""
    places = [*Path.home().glob(".pyenv/versions/*/bin"), *os.get_exec_path()]
    for minor in {*range(11, 20)} - {sys.version_info.minor}:
        found = (Path(place) / f"python3.{minor}" for place in places)
        yield from [path for path in found if path.exists()][:1]


@pytest.mark.survives(
    "results",
    "The workflow goes on under another version of Python",
    "The code has the same fingerprints, so nothing runs again",
)
def test_digest_does_not_depend_on_the_version_of_python(tmp_path):
    write(tmp_path, {"everything.py": EVERYTHING})
    files = sorted(map(str, [*ROOT.glob("boldvision/**/*.py"), tmp_path / "everything.py"]))
    script = (
        f"import json, pathlib, sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from boldvision.statements import read_statements as read\n"
        "texts = [pathlib.Path(file).read_bytes() for file in sys.argv[1:]]\n"
        "print(json.dumps([read(text, 'a.b').digest for text in texts]))"
    )
    pythons = list(other_pythons())
    if not pythons:
        pytest.skip("no other Python is here")
    own = [read_statements(Path(file).read_bytes(), "a.b").digest for file in files]
    for python in pythons:
        # -I: what is installed for this one, or set for it, is not for another.
        command = [python, "-I", "-c", script]
        printed = subprocess.run([*command, *files], capture_output=True, text=True)
        assert printed.returncode == 0, printed.stderr
        assert json.loads(printed.stdout) == own, python
