def item_rows(item):
    """Params function: the evaluations of an item, for its script."""
    return lambda wildcards: rows_for_script(CONFIG, ITEMS[wildcards.scope, item])


def item_scores(item):
    """Input function: the scores of an item."""
    return lambda wildcards: scores(wildcards.scope, item)


SIMULATED = CONFIG.miniature is not None


rule make_table_1:
    """Decoders compared, mean over subjects."""
    input:
        item_scores("table_1"),
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
    params:
        rows=item_rows("table_1"),
        dataset=CONFIG.dataset,
        simulated=SIMULATED,
        code=fingerprint("boldvision.report"),
    script:
        "../scripts/table_1.py"


rule make_table_6:
    """Decoders compared, per subject."""
    input:
        item_scores("table_6"),
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
    params:
        rows=item_rows("table_6"),
        dataset=CONFIG.dataset,
        simulated=SIMULATED,
        code=fingerprint("boldvision.report"),
    script:
        "../scripts/table_6.py"
