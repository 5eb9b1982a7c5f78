"""The last words of a run in which jobs failed."""

import pytest

from boldvision.shipped import ROOT

TOY = f"""
import sys
sys.path.insert(0, "{ROOT}")
include: "{ROOT}/workflow/rules/messages.smk"

rule all:
    input: "saved", "broken", "after"
rule saved:
    output: "saved"
    log: "logs/saved.log"
    retries: 1
    shell: "test -e tried && touch {{output}} || (touch tried; false)"
rule broken:
    output: "broken"
    log: "logs/broken.log"
    shell: "echo why > {{log}}; false"
rule after:
    input: "saved"
    output: "after"
    shell: "touch {{output}}"
"""


@pytest.mark.survives(
    "jobs",
    "A job fails in the middle of a long run",
    "The last lines name its rule and its log; a job that a retry saved is not among them",
)
def test_the_log_of_the_failed_job_is_named_at_the_end(snakemake, tmp_path):
    (tmp_path / "Snakefile").write_text(TOY)
    printed = snakemake(
        *("--cores", "1", "--keep-going", "--workflow-profile", "none"),
        place=tmp_path,
        snakefile=tmp_path / "Snakefile",
        fails=True,
    )
    assert (tmp_path / "after").exists(), printed
    _, last = printed.split("What failed, and the log that says why:\n")
    assert last.startswith("  broken: logs/broken.log\nWith the cause mended")
    assert "saved" not in last
