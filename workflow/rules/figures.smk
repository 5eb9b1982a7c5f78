rule make_figure_4:
    """Reconstructions over seven shifts of the window, General and Specialized."""
    input:
        PLAN.scores("figure_4"),
        pictures=PLAN.pictures("figure_4"),
        trials=expand(
            f"{RESULTS}/trials/{{subject}}.parquet", subject=PLAN.first_subject
        ),
        stimuli=expand(f"{RESOURCES}/images/{{subject}}.h5", subject=PLAN.first_subject),
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
    conda:
        "../../envs/report.yaml"
    params:
        **DATA,
        **CONFIG.figures["figure_4"],
        rows=PLAN.rows("figure_4"),
        windows=WINDOWS,
        code=fingerprint("boldvision.report"),
    script:
        "../scripts/figure_4.py"


rule make_figure_5:
    """Scores over sixteen shifts of the window, General and Specialized."""
    input:
        PLAN.scores("figure_5"),
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
    conda:
        "../../envs/report.yaml"
    params:
        **DATA,
        **CONFIG.figures["figure_5"],
        rows=PLAN.rows("figure_5"),
        windows=WINDOWS,
        code=fingerprint("boldvision.report"),
    script:
        "../scripts/figure_5.py"


rule make_temporal_generalization:
    """Scores of every trained window on every test window."""
    input:
        PLAN.scores("temporal_generalization"),
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
    conda:
        "../../envs/report.yaml"
    params:
        **DATA,
        **CONFIG.figures["temporal_generalization"],
        rows=PLAN.rows("temporal_generalization"),
        windows=WINDOWS,
        code=fingerprint("boldvision.report"),
    script:
        "../scripts/temporal_generalization.py"
