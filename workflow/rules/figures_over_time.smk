# Items on the time-resolved split: as published, and leakage-free.
wildcard_constraints:
    variant="|_leakage_free",


rule make_figure_4:
    """Reconstructions over seven shifts of the window, General and Specialized."""
    input:
        PLAN.scores("figure_4{variant}"),
        pictures=PLAN.pictures("figure_4{variant}"),
        stimuli=PLAN.stimuli("figure_4{variant}"),
        trials=expand(PATHS.trials, subject=PLAN.first_subject),
    output:
        pdf=f"{RESULTS}/{{scope}}/figures/figure_4{{variant}}.pdf",
        png=report(
            f"{RESULTS}/{{scope}}/figures/figure_4{{variant}}.png",
            caption="../report/figure_4.rst",
            category="Figures",
            labels={"item": "Figure 4{variant}", "scope": "{scope}"},
        ),
    log:
        f"{PATHS.logs}/{{scope}}/figure_4{{variant}}.log",
    benchmark:
        f"{PATHS.benchmarks}/{{scope}}/figure_4{{variant}}.tsv"
    conda:
        "../../envs/report.yaml"
    resources:
        # The face detector takes 1 GB, and a second for a picture of 512 px.
        mem_mb=4000,
        runtime=60,
    params:
        **DATA,
        **CONFIG.figures.figure_4.model_dump(),
        rows=PLAN.rows("figure_4{variant}"),
        split=PLAN.split("figure_4{variant}"),
        windows=WINDOWS,
        timing=TIMING,
        blur_faces=CONFIG.blur_faces,
        code=CODE.script("figure_4"),
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
        f"{PATHS.logs}/{{scope}}/figure_5{{variant}}.log",
    benchmark:
        f"{PATHS.benchmarks}/{{scope}}/figure_5{{variant}}.tsv"
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        **DATA,
        **CONFIG.figures.figure_5.model_dump(),
        rows=PLAN.rows("figure_5{variant}"),
        split=PLAN.split("figure_5{variant}"),
        windows=WINDOWS,
        timing=TIMING,
        code=CODE.script("figure_5"),
    script:
        "../scripts/figure_5.py"


rule make_leakage:
    """Scores of the time-resolved splits over the shift of the window, and their differences."""
    input:
        PLAN.scores("leakage"),
        trials=expand(PATHS.trials, subject=PLAN.first_subject),
        splits=PLAN.splits("leakage"),
    output:
        pdf=f"{RESULTS}/{{scope}}/figures/leakage.pdf",
        png=report(
            f"{RESULTS}/{{scope}}/figures/leakage.png",
            caption="../report/leakage.rst",
            category="Figures",
            labels={"item": "Leakage", "scope": "{scope}"},
        ),
    log:
        f"{PATHS.logs}/{{scope}}/leakage.log",
    benchmark:
        f"{PATHS.benchmarks}/{{scope}}/leakage.tsv"
    conda:
        "../../envs/report.yaml"
    resources:
        # A bootstrap for every window of every split.
        mem_mb=1000,
        runtime=60,
    params:
        **DATA,
        **CONFIG.figures.leakage.model_dump(),
        rows=PLAN.rows("leakage"),
        windows=WINDOWS,
        timing=TIMING,
        samples=CONFIG.metrics.bootstrap,
        seed=CONFIG.seed,
        code=CODE.script("leakage"),
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
        f"{PATHS.logs}/{{scope}}/temporal_generalization{{variant}}.log",
    benchmark:
        f"{PATHS.benchmarks}/{{scope}}/temporal_generalization{{variant}}.tsv"
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        **DATA,
        **CONFIG.figures.temporal_generalization.model_dump(),
        rows=PLAN.rows("temporal_generalization{variant}"),
        split=PLAN.split("temporal_generalization{variant}"),
        windows=WINDOWS,
        code=CODE.script("temporal_generalization"),
    script:
        "../scripts/temporal_generalization.py"
