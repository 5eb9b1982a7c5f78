rule make_figure_3:
    """Decoders side by side on the same images."""
    input:
        PLAN.scores("figure_3"),
        pictures=PLAN.pictures("figure_3"),
        stimuli=PLAN.stimuli("figure_3"),
    output:
        pdf=f"{RESULTS}/{{scope}}/figures/figure_3.pdf",
        png=report(
            f"{RESULTS}/{{scope}}/figures/figure_3.png",
            caption="../report/figure_3.rst",
            category="Figures",
            labels={"item": "Figure 3", "scope": "{scope}"},
        ),
    log:
        f"{PATHS.logs}/{{scope}}/figure_3.log",
    benchmark:
        f"{PATHS.benchmarks}/{{scope}}/figure_3.tsv"
    conda:
        "../../envs/report.yaml"
    resources:
        # The face detector takes 1 GB, and a second for a picture of 512 px.
        mem_mb=4000,
        runtime=60,
    params:
        **DATA,
        **CONFIG.figures.figure_3.model_dump(),
        rows=PLAN.rows("figure_3"),
        blur_faces=CONFIG.blur_faces,
        code=CODE.script("figure_3"),
    script:
        "../scripts/figure_3.py"


rule make_figure_6:
    """Scores over six durations of the window."""
    input:
        PLAN.scores("figure_6"),
    output:
        pdf=f"{RESULTS}/{{scope}}/figures/figure_6.pdf",
        png=report(
            f"{RESULTS}/{{scope}}/figures/figure_6.png",
            caption="../report/figure_6.rst",
            category="Figures",
            labels={"item": "Figure 6", "scope": "{scope}"},
        ),
    log:
        f"{PATHS.logs}/{{scope}}/figure_6.log",
    benchmark:
        f"{PATHS.benchmarks}/{{scope}}/figure_6.tsv"
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        **DATA,
        **CONFIG.figures.figure_6.model_dump(),
        rows=PLAN.rows("figure_6"),
        windows=WINDOWS,
        code=CODE.script("figure_6"),
    script:
        "../scripts/figure_6.py"


rule make_figure_7_8:
    """The best and the worst reconstructions, a column per subject."""
    input:
        PLAN.scores("figure_{number}"),
        pictures=PLAN.pictures("figure_{number}"),
        stimuli=PLAN.stimuli("figure_{number}"),
    output:
        pdf=f"{RESULTS}/{{scope}}/figures/figure_{{number}}.pdf",
        png=report(
            f"{RESULTS}/{{scope}}/figures/figure_{{number}}.png",
            caption="../report/figure_7_8.rst",
            category="Figures",
            labels={"item": "Figure {number}", "scope": "{scope}"},
        ),
    log:
        f"{PATHS.logs}/{{scope}}/figure_{{number}}.log",
    benchmark:
        f"{PATHS.benchmarks}/{{scope}}/figure_{{number}}.tsv"
    wildcard_constraints:
        number="7|8",
    conda:
        "../../envs/report.yaml"
    resources:
        # The face detector takes 1 GB, and a second for a picture of 512 px.
        mem_mb=4000,
        runtime=60,
    params:
        **DATA,
        **CONFIG.figures.figure_7_8.model_dump(),
        rows=PLAN.rows("figure_{number}"),
        blur_faces=CONFIG.blur_faces,
        code=CODE.script("figure_7_8"),
    script:
        "../scripts/figure_7_8.py"


rule make_figure_9:
    """Scores over the number of training sessions, pretrained on other subjects or not."""
    input:
        PLAN.scores("figure_9"),
    output:
        pdf=f"{RESULTS}/{{scope}}/figures/figure_9.pdf",
        png=report(
            f"{RESULTS}/{{scope}}/figures/figure_9.png",
            caption="../report/figure_9.rst",
            category="Figures",
            labels={"item": "Figure 9", "scope": "{scope}"},
        ),
    log:
        f"{PATHS.logs}/{{scope}}/figure_9.log",
    benchmark:
        f"{PATHS.benchmarks}/{{scope}}/figure_9.tsv"
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        **DATA,
        **CONFIG.figures.figure_9.model_dump(),
        rows=PLAN.rows("figure_9"),
        all_sessions=lambda wildcards: CONFIG.subjects[
            PLAN.first_subject(wildcards)
        ].sessions,
        code=CODE.script("figure_9"),
    script:
        "../scripts/figure_9.py"
