"""What is said at the end of a run in which jobs failed."""

from boldvision.failures import MOST, tell, what_failed

START = "[Fri Nov 27 12:36:55 2026]\n"


def error(rule, job, log=None):
    named = f"    log: {log} (check log file(s) for error details)\n" if log else ""
    return (
        f"{START}Error in rule {rule}:\n    message: None\n    jobid: {job}\n    output: a, b\n"
        f"{named}    shell:\n        python -m boldvision fetch\n"
    )


def finished(rule, job):
    return f"{START}Finished jobid: {job} (Rule: {rule})\n1 of 4 steps (25%) done\n"


def test_rule_and_log_are_named_once():
    twice = error("evaluate", 7, "logs/a b.log") + "Trying to restart job 7.\n"
    assert what_failed(twice + error("evaluate", 7, "logs/a b.log")).splitlines() == [
        "What failed, and the log that says why:",
        "  evaluate: logs/a b.log",
        "With the cause mended, the same command goes on from here.",
    ]


def test_a_job_that_a_retry_saved_did_not_fail():
    saved = error("download_session", 1, "logs/d.log") + finished("download_session", 1)
    assert what_failed(saved) == ""
    assert "download" not in what_failed(saved + error("evaluate", 11, "logs/e.log"))


def test_jobs_without_log_and_many_jobs():
    assert "  plan: it has no log" in what_failed(error("plan", 1))
    many = what_failed("".join(error("evaluate", i, f"logs/{i}.log") for i in range(MOST + 3)))
    assert many.splitlines()[-2] == "  and 3 more"
    assert len(many.splitlines()) == MOST + 3


def test_nothing_is_said_where_nothing_is_known(tmp_path, capsys):
    (tmp_path / "snakemake.log").write_bytes(b"\xff Complete log\n")
    tell([str(tmp_path / "snakemake.log"), str(tmp_path / "missing.log")])
    assert capsys.readouterr().err == ""
