rule make_scorecard:
    """Ours, published, difference and interval of every number of tables 1 and 6."""
    input:
        PLAN.scores("table_1"),
        PLAN.scores("table_6"),
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
        rows=PLAN.rows("table_6"),
        seed=CONFIG.seed,
        code=fingerprint("boldvision.report"),
    script:
        "../scripts/scorecard.py"


rule check_known_answer:
    """The miniature's answer is known: decoding works where it can and fails where it must."""
    input:
        PLAN.scores("table_1"),
        PLAN.scores("figure_5"),
        pictures=PLAN.pictures("table_1"),
        stimuli=expand(f"{RESOURCES}/images/{{subject}}.h5", subject=PLAN.subjects),
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
        rows=PLAN.rows("table_1", run="dynadiff"),
        curve_rows=PLAN.rows("figure_5"),
        windows=WINDOWS,
        code=fingerprint("boldvision.report"),
    script:
        "../scripts/known_answer.py"
