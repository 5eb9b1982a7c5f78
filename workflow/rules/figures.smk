WINDOWS = {name: window.model_dump() for name, window in CONFIG.windows.items()}


def first_subject(pattern):
    """Input function: a file of the first subject of the scope."""
    return lambda wildcards: expand(
        pattern, subject=CONFIG.scopes[wildcards.scope].subjects[0]
    )


rule make_figure_4:
    """Reconstructions over seven shifts of the window, General and Specialized."""
    input:
        item_scores("figure_4"),
        pictures=lambda wildcards: reconstructions(wildcards.scope, "figure_4"),
        trials=first_subject(f"{RESULTS}/trials/{{subject}}.parquet"),
        stimuli=first_subject(f"{RESOURCES}/images/{{subject}}.h5"),
    output:
        pdf=f"{RESULTS}/{{scope}}/figures/figure_4.pdf",
        png=report(
            f"{RESULTS}/{{scope}}/figures/figure_4.png",
            caption="../report/figure_4.rst",
            category="Figures",
            labels={"item": "Figure 4", "scope": "{scope}"},
        ),
    log:
        f"logs/{CONFIG.dataset}/{{scope}}/figure_4.log",
    params:
        **CONFIG.figures["figure_4"],
        rows=item_rows("figure_4"),
        windows=WINDOWS,
        dataset=CONFIG.dataset,
        simulated=SIMULATED,
        code=fingerprint("boldvision.report"),
    script:
        "../scripts/figure_4.py"


rule make_figure_5:
    """Scores over sixteen shifts of the window, General and Specialized."""
    input:
        item_scores("figure_5"),
    output:
        pdf=f"{RESULTS}/{{scope}}/figures/figure_5.pdf",
        png=report(
            f"{RESULTS}/{{scope}}/figures/figure_5.png",
            caption="../report/figure_5.rst",
            category="Figures",
            labels={"item": "Figure 5", "scope": "{scope}"},
        ),
    log:
        f"logs/{CONFIG.dataset}/{{scope}}/figure_5.log",
    params:
        **CONFIG.figures["figure_5"],
        rows=item_rows("figure_5"),
        windows=WINDOWS,
        dataset=CONFIG.dataset,
        simulated=SIMULATED,
        code=fingerprint("boldvision.report"),
    script:
        "../scripts/figure_5.py"


rule make_temporal_generalization:
    """Scores of every trained window on every test window."""
    input:
        item_scores("temporal_generalization"),
    output:
        pdf=f"{RESULTS}/{{scope}}/figures/temporal_generalization.pdf",
        png=report(
            f"{RESULTS}/{{scope}}/figures/temporal_generalization.png",
            caption="../report/temporal_generalization.rst",
            category="Figures",
            labels={"item": "Temporal generalization", "scope": "{scope}"},
        ),
    log:
        f"logs/{CONFIG.dataset}/{{scope}}/temporal_generalization.log",
    params:
        **CONFIG.figures["temporal_generalization"],
        rows=item_rows("temporal_generalization"),
        windows=WINDOWS,
        dataset=CONFIG.dataset,
        simulated=SIMULATED,
        code=fingerprint("boldvision.report"),
    script:
        "../scripts/temporal_generalization.py"
