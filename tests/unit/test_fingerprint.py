"""An edit of the code changes its fingerprint; a touch does not."""

import os

import pytest

from boldvision.errors import UserError
from boldvision.fingerprint import fingerprint


@pytest.fixture
def root(tmp_path):
    package = tmp_path / "boldvision" / "signal"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "clean.py").write_text("cutoff_s = 128\n")
    (package / "volumes.py").write_text("order = 'C'\n")
    (tmp_path / "boldvision" / "seeds.py").write_text("bits = 63\n")
    return tmp_path


def test_touch_changes_nothing(root):
    before = fingerprint("boldvision.signal", root=root)
    os.utime(root / "boldvision" / "signal" / "clean.py", (0, 0))
    (root / "boldvision" / "signal" / "__pycache__").mkdir()
    (root / "boldvision" / "signal" / "__pycache__" / "clean.pyc").touch()
    assert fingerprint("boldvision.signal", root=root) == before


def test_edit_changes_and_revert_restores(root):
    file = root / "boldvision" / "signal" / "clean.py"
    before = fingerprint("boldvision.signal", root=root)
    file.write_text("cutoff_s = 64\n")
    assert fingerprint("boldvision.signal", root=root) != before
    file.write_text("cutoff_s = 128\n")
    assert fingerprint("boldvision.signal", root=root) == before


def test_prose_and_layout_do_not_count(root):
    file = root / "boldvision" / "signal" / "clean.py"
    file.write_text("def drift(n):\n    return n + 1\n\nTR_S = 4 / 3\n")
    before = fingerprint("boldvision.signal", root=root)
    file.write_text(
        '"""Clean."""\ndef drift(\n    n,\n):\n    """Drift."""\n    return n + 1  # one\n'
        'TR_S = 4 / 3\n"""Seconds."""\n'
    )
    assert fingerprint("boldvision.signal", root=root) == before
    file.write_text('def drift(n):\n    return n + 1\n\nTR_S = "4 / 3"\n')
    assert fingerprint("boldvision.signal", root=root) != before


def test_data_of_a_package_count(root):
    table = root / "boldvision" / "signal" / "table.csv"
    table.write_text("value\n0.34\n")
    before = fingerprint("boldvision.signal", root=root)
    table.write_text("value\n0.35\n")
    assert fingerprint("boldvision.signal", root=root) != before


def test_rename_changes(root):
    before = fingerprint("boldvision.signal", root=root)
    package = root / "boldvision" / "signal"
    (package / "volumes.py").rename(package / "space.py")
    assert fingerprint("boldvision.signal", root=root) != before


def test_only_named_modules_count(root):
    before = fingerprint("boldvision.signal.clean", root=root)
    (root / "boldvision" / "signal" / "volumes.py").write_text("order = 'F'\n")
    (root / "boldvision" / "seeds.py").write_text("bits = 31\n")
    assert fingerprint("boldvision.signal.clean", root=root) == before


def test_order_and_repetition_do_not_matter(root):
    both = fingerprint("boldvision.signal", "boldvision.seeds", root=root)
    assert fingerprint("boldvision.seeds", "boldvision.signal", root=root) == both
    again = ("boldvision.signal", "boldvision.signal.clean", "boldvision.seeds")
    assert fingerprint(*again, root=root) == both
    assert fingerprint("boldvision.signal", root=root) != both


def test_same_code_elsewhere_is_the_same(root, tmp_path_factory):
    copy = tmp_path_factory.mktemp("copy")
    (root / "boldvision").rename(copy / "boldvision")
    moved = fingerprint("boldvision.signal", root=copy)
    (copy / "boldvision").rename(root / "boldvision")
    assert fingerprint("boldvision.signal", root=root) == moved


def test_unknown_module_is_refused(root):
    with pytest.raises(UserError, match=r"no module 'boldvision\.signals'"):
        fingerprint("boldvision.signals", root=root)


def test_library_has_a_fingerprint():
    assert len(fingerprint("boldvision.signal", "boldvision.seeds")) == 16
