from boldvision.report import tables


rule make_table:
    """A table of the paper: our rows, with the published rows beside them."""
    input:
        PLAN.scores("table_{number}"),
        PLAN.models("table_{number}"),
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
        f"{PATHS.logs}/{{scope}}/table_{{number}}.log",
    benchmark:
        f"{PATHS.benchmarks}/{{scope}}/table_{{number}}.tsv"
    wildcard_constraints:
        number="[1-8]",
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        **DATA,
        rows=PLAN.rows("table_{number}"),
        caption=lambda wildcards: tables.caption(int(wildcards.number)),
        code=CODE.script("table"),
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
        f"{PATHS.logs}/{{scope}}/differences.log",
    benchmark:
        f"{PATHS.benchmarks}/{{scope}}/differences.tsv"
    conda:
        "../../envs/report.yaml"
    resources:
        # 0.3 s for each comparison and metric, of 1,000 images; 10,000 sign flips take 0.1 GB.
        mem_mb=1000,
        runtime=60,
    params:
        **DATA,
        tables=PLAN.table_rows,
        seed=CONFIG.seed,
        code=CODE.script("differences"),
    script:
        "../scripts/differences.py"
