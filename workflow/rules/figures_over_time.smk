# Items on the time-resolved split: as published, and leakage-free.
wildcard_constraints:
    variant="|_leakage_free",


rule make_figure_4:
    """Reconstructions over seven shifts of the window, General and Specialized."""
    input:
        PLAN.scores("figure_4{variant}"),
        pictures=PLAN.pictures("figure_4{variant}"),
        stimuli=PLAN.stimuli("figure_4{variant}"),
        trials=expand(
            f"{RESULTS}/trials/{{subject}}.parquet", subject=PLAN.first_subject
        ),
    output:
        pdf=f"{RESULTS}/{{scope}}/figures/figure_4{{variant}}.pdf",
        png=report(
            f"{RESULTS}/{{scope}}/figures/figure_4{{variant}}.png",
            caption="../report/figure_4.rst",
            category="Figures",
            labels={"item": "Figure 4{variant}", "scope": "{scope}"},
        ),
    log:
        f"logs/{CONFIG.dataset}/{{scope}}/figure_4{{variant}}.log",
    conda:
        "../../envs/report.yaml"
    params:
        **DATA,
        **CONFIG.figures.figure_4.model_dump(),
        rows=PLAN.rows("figure_4{variant}"),
        split=PLAN.split("figure_4{variant}"),
        windows=WINDOWS,
        blur_faces=CONFIG.blur_faces,
        code=REPORT_CODE,
    script:
        "../scripts/figure_4.py"


rule make_figure_5:
    """Scores over sixteen shifts of the window, General and Specialized."""
    input:
        PLAN.scores("figure_5{variant}"),
    output:
        pdf=f"{RESULTS}/{{scope}}/figures/figure_5{{variant}}.pdf",
        png=report(
            f"{RESULTS}/{{scope}}/figures/figure_5{{variant}}.png",
            caption="../report/figure_5.rst",
            category="Figures",
            labels={"item": "Figure 5{variant}", "scope": "{scope}"},
        ),
    log:
        f"logs/{CONFIG.dataset}/{{scope}}/figure_5{{variant}}.log",
    conda:
        "../../envs/report.yaml"
    params:
        **DATA,
        **CONFIG.figures.figure_5.model_dump(),
        rows=PLAN.rows("figure_5{variant}"),
        split=PLAN.split("figure_5{variant}"),
        windows=WINDOWS,
        code=REPORT_CODE,
    script:
        "../scripts/figure_5.py"


rule make_leakage:
    """Scores of both time-resolved splits over the shift of the window, and their difference."""
    input:
        PLAN.scores("leakage"),
        trials=expand(
            f"{RESULTS}/trials/{{subject}}.parquet", subject=PLAN.first_subject
        ),
    output:
        pdf=f"{RESULTS}/{{scope}}/figures/leakage.pdf",
        png=report(
            f"{RESULTS}/{{scope}}/figures/leakage.png",
            caption="../report/leakage.rst",
            category="Figures",
            labels={"item": "Leakage", "scope": "{scope}"},
        ),
    log:
        f"logs/{CONFIG.dataset}/{{scope}}/leakage.log",
    conda:
        "../../envs/report.yaml"
    params:
        **DATA,
        **CONFIG.figures.leakage.model_dump(),
        rows=PLAN.rows("leakage"),
        windows=WINDOWS,
        samples=CONFIG.metrics.bootstrap,
        seed=CONFIG.seed,
        code=REPORT_CODE,
    script:
        "../scripts/leakage.py"


rule make_temporal_generalization:
    """Scores of every trained window on every test window."""
    input:
        PLAN.scores("temporal_generalization{variant}"),
    output:
        pdf=f"{RESULTS}/{{scope}}/figures/temporal_generalization{{variant}}.pdf",
        png=report(
            f"{RESULTS}/{{scope}}/figures/temporal_generalization{{variant}}.png",
            caption="../report/temporal_generalization.rst",
            category="Figures",
            labels={"item": "Temporal generalization{variant}", "scope": "{scope}"},
        ),
    log:
        f"logs/{CONFIG.dataset}/{{scope}}/temporal_generalization{{variant}}.log",
    conda:
        "../../envs/report.yaml"
    params:
        **DATA,
        **CONFIG.figures.temporal_generalization.model_dump(),
        rows=PLAN.rows("temporal_generalization{variant}"),
        split=PLAN.split("temporal_generalization{variant}"),
        windows=WINDOWS,
        code=REPORT_CODE,
    script:
        "../scripts/temporal_generalization.py"
