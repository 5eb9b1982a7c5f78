rule make_table_1:
    """Decoders compared, mean over subjects."""
    input:
        PLAN.scores("table_1"),
    output:
        csv=report(
            f"{RESULTS}/{{scope}}/tables/table_1.csv",
            caption="../report/table_1.rst",
            category="Tables",
            labels={"item": "Table 1", "scope": "{scope}"},
        ),
        md=f"{RESULTS}/{{scope}}/tables/table_1.md",
        tex=f"{RESULTS}/{{scope}}/tables/table_1.tex",
    log:
        f"logs/{CONFIG.dataset}/{{scope}}/table_1.log",
    conda:
        "../../envs/report.yaml"
    params:
        **DATA,
        rows=PLAN.rows("table_1"),
        code=fingerprint("boldvision.report"),
    script:
        "../scripts/table_1.py"


rule make_table_6:
    """Decoders compared, per subject."""
    input:
        PLAN.scores("table_6"),
    output:
        csv=report(
            f"{RESULTS}/{{scope}}/tables/table_6.csv",
            caption="../report/table_6.rst",
            category="Tables",
            labels={"item": "Table 6", "scope": "{scope}"},
        ),
        md=f"{RESULTS}/{{scope}}/tables/table_6.md",
        tex=f"{RESULTS}/{{scope}}/tables/table_6.tex",
    log:
        f"logs/{CONFIG.dataset}/{{scope}}/table_6.log",
    conda:
        "../../envs/report.yaml"
    params:
        **DATA,
        rows=PLAN.rows("table_6"),
        code=fingerprint("boldvision.report"),
    script:
        "../scripts/table_6.py"
