rule make_table:
    """A table of the paper: our rows, with the published rows beside them."""
    input:
        PLAN.scores("table_{number}"),
        PLAN.records("table_{number}"),
    output:
        csv=report(
            f"{RESULTS}/{{scope}}/tables/table_{{number}}.csv",
            caption="../report/table.rst",
            category="Tables",
            labels={"item": "Table {number}", "scope": "{scope}"},
        ),
        md=f"{RESULTS}/{{scope}}/tables/table_{{number}}.md",
        tex=f"{RESULTS}/{{scope}}/tables/table_{{number}}.tex",
    log:
        f"logs/{CONFIG.dataset}/{{scope}}/table_{{number}}.log",
    wildcard_constraints:
        number="[1-8]",
    conda:
        "../../envs/report.yaml"
    params:
        **DATA,
        rows=PLAN.rows("table_{number}"),
        caption=PLAN.caption,
        code=REPORT_CODE,
    script:
        "../scripts/table.py"


rule make_differences:
    """Paired differences between our rows of the tables, with intervals and p-values."""
    input:
        PLAN.table_scores,
    output:
        csv=report(
            f"{RESULTS}/{{scope}}/tables/differences.csv",
            caption="../report/differences.rst",
            category="Tables",
            labels={"item": "Differences", "scope": "{scope}"},
        ),
        md=f"{RESULTS}/{{scope}}/tables/differences.md",
        tex=f"{RESULTS}/{{scope}}/tables/differences.tex",
    log:
        f"logs/{CONFIG.dataset}/{{scope}}/differences.log",
    conda:
        "../../envs/report.yaml"
    params:
        **DATA,
        tables=PLAN.table_rows,
        seed=CONFIG.seed,
        code=REPORT_CODE,
    script:
        "../scripts/differences.py"
