rule make_scorecard:
    """Every published number of a scope's tables beside ours."""
    input:
        PLAN.table_scores,
    output:
        csv=f"{RESULTS}/{{scope}}/scorecard.csv",
        html=report(
            f"{RESULTS}/{{scope}}/scorecard.html",
            caption="../report/scorecard.rst",
            category="Summary",
            labels={"item": "Scorecard", "scope": "{scope}"},
        ),
    log:
        f"{PATHS.logs}/{{scope}}/scorecard.log",
    benchmark:
        f"{PATHS.benchmarks}/{{scope}}/scorecard.tsv"
    conda:
        "../../envs/report.yaml"
    resources:
        # A bootstrap for every mean over subjects.
        mem_mb=1000,
        runtime=60,
    params:
        **DATA,
        tables=PLAN.table_rows,
        seed=CONFIG.seed,
        code=CODE.script("scorecard"),
    script:
        "../scripts/scorecard.py"


rule check_known_answer:
    """The miniature's answer is known: decoding works where it can and fails where it must."""
    input:
        PLAN.checked_files,
        truth=f"{RESOURCES}/truth",
    output:
        report(
            PATHS.known_answer,
            caption="../report/known_answer.rst",
            category="Summary",
            labels={"item": "Known answer", "scope": "{scope}"},
        ),
    log:
        f"{PATHS.logs}/{{scope}}/known_answer.log",
    benchmark:
        f"{PATHS.benchmarks}/{{scope}}/known_answer.tsv"
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        checked=PLAN.checked_rows,
        windows=WINDOWS,
        seed=CONFIG.seed,
        code=CODE.script("known_answer"),
    script:
        "../scripts/known_answer.py"
