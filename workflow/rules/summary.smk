rule make_scorecard:
    """Ours, published, difference and interval of every number of tables 1 and 6."""
    input:
        item_scores("table_1"),
        item_scores("table_6"),
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
    params:
        rows=item_rows("table_6"),
        dataset=CONFIG.dataset,
        simulated=SIMULATED,
        seed=CONFIG.seed,
        code=fingerprint("boldvision.report"),
    script:
        "../scripts/scorecard.py"


rule check_known_answer:
    """The miniature's answer is known: decoding works where it can and fails where it must."""
    input:
        item_scores("table_1"),
        item_scores("figure_5"),
        pictures=lambda wildcards: reconstructions(wildcards.scope, "table_1"),
        stimuli=lambda wildcards: expand(
            f"{RESOURCES}/images/{{subject}}.h5",
            subject=CONFIG.scopes[wildcards.scope].subjects,
        ),
        truth=f"{RESOURCES}/truth",
    output:
        f"{RESULTS}/{{scope}}/known_answer.json",
    log:
        f"logs/{CONFIG.dataset}/{{scope}}/known_answer.log",
    params:
        rows=lambda wildcards: [
            row
            for row in rows_for_script(CONFIG, ITEMS[wildcards.scope, "table_1"])
            if row["run"] == "dynadiff"
        ],
        curve_rows=item_rows("figure_5"),
        windows=WINDOWS,
        code=fingerprint("boldvision.report"),
    script:
        "../scripts/known_answer.py"
