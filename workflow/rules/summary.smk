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
        f"logs/{CONFIG.dataset}/{{scope}}/scorecard.log",
    conda:
        "../../envs/report.yaml"
    params:
        **DATA,
        tables=PLAN.table_rows,
        seed=CONFIG.seed,
        code=REPORT_CODE,
    script:
        "../scripts/scorecard.py"


rule check_known_answer:
    """The miniature's answer is known: decoding works where it can and fails where it must."""
    input:
        PLAN.checked_files,
        truth=f"{RESOURCES}/truth",
    output:
        report(
            f"{RESULTS}/{{scope}}/known_answer.json",
            caption="../report/known_answer.rst",
            category="Summary",
            labels={"item": "Known answer", "scope": "{scope}"},
        ),
    log:
        f"logs/{CONFIG.dataset}/{{scope}}/known_answer.log",
    conda:
        "../../envs/report.yaml"
    params:
        checked=PLAN.checked_rows,
        windows=WINDOWS,
        seed=CONFIG.seed,
        code=REPORT_CODE,
    script:
        "../scripts/known_answer.py"
