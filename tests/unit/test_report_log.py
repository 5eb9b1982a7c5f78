"""What a script of the workflow says when it fails, on the terminal and in its log."""

import errno
import os
import sys

import pytest

from boldvision.errors import UserError
from boldvision.report.log import announce, logged


@pytest.fixture
def terminal(monkeypatch, tmp_path):
    """What is written to the terminal."""
    with open(tmp_path / "terminal", "w") as file:
        monkeypatch.setattr(sys, "__stderr__", file)
        yield tmp_path / "terminal"


def said(terminal, tmp_path):
    sys.__stderr__.flush()
    return terminal.read_text(), (tmp_path / "logs" / "figure_5.log").read_text()


@pytest.mark.survives(
    "jobs",
    "The script of a table or figure finds its input wrong, or the disk full",
    "One sentence on the terminal and in the log, no traceback, status 1",
)
@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (UserError("scores.json: expected numbers"), "scores.json: expected numbers"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "f.pdf"), "f.pdf: No space left on dev"),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES), "f.pdf"), "f.pdf: Permission"),
    ],
)
def test_a_wrong_input_is_one_sentence(error, sentence, terminal, tmp_path):
    with pytest.raises(SystemExit) as ended, logged(tmp_path / "logs" / "figure_5.log"):
        raise error
    assert ended.value.code == 1
    for text in said(terminal, tmp_path):
        assert text.startswith(f"boldvision figure_5: {sentence}")
        assert text.count("\n") == 1


def test_a_fault_of_the_program_is_a_traceback_in_the_log(terminal, tmp_path):
    with pytest.raises(ZeroDivisionError), logged(tmp_path / "logs" / "figure_5.log"):
        print(1 // 0)
    assert "Traceback" in said(terminal, tmp_path)[1]
    with pytest.raises(FileNotFoundError), logged(tmp_path / "logs" / "figure_5.log"):
        (tmp_path / "none").read_text()


def test_what_is_announced_is_in_the_log_too(tmp_path, capsys):
    with capsys.disabled(), logged(tmp_path / "log"):
        announce("")
    with logged(tmp_path / "log"):
        announce("found")
    assert (tmp_path / "log").read_text() == "found\n"
