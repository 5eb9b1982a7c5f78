rule make_gallery:
    """A page of reconstructions: by subject, decoder, image and window."""
    input:
        PLAN.scores("gallery"),
        pictures=PLAN.pictures("gallery"),
        stimuli=PLAN.stimuli("gallery"),
        trials=PLAN.trials("gallery"),
    output:
        directory(f"{RESULTS}/{{scope}}/gallery"),
    log:
        f"logs/{CONFIG.dataset}/{{scope}}/gallery.log",
    conda:
        "../../envs/report.yaml"
    params:
        **DATA,
        rows=PLAN.rows("gallery"),
        windows=WINDOWS,
        gallery=CONFIG.gallery.model_dump(),
        blur_faces=CONFIG.blur_faces,
        code=REPORT_CODE,
    script:
        "../scripts/gallery.py"
