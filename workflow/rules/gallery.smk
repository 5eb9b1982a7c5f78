rule make_gallery:
    """A page of reconstructions: by subject, decoder, image and window."""
    input:
        PLAN.scores("gallery"),
        pictures=PLAN.pictures("gallery"),
        stimuli=PLAN.stimuli("gallery"),
        trials=PLAN.trials("gallery"),
    output:
        directory(PATHS.gallery),
    log:
        f"{PATHS.logs}/{{scope}}/gallery.log",
    benchmark:
        f"{PATHS.benchmarks}/{{scope}}/gallery.tsv"
    conda:
        "../../envs/report.yaml"
    resources:
        # A second for the faces in a picture of 512 px, in some 16,000 pictures; 64 in memory.
        mem_mb=4000,
        runtime=720,
    params:
        **DATA,
        rows=PLAN.rows("gallery"),
        windows=WINDOWS,
        timing=TIMING,
        gallery=CONFIG.gallery.model_dump(),
        blur_faces=CONFIG.blur_faces,
        code=CODE.script("gallery"),
    script:
        "../scripts/gallery.py"
