from boldvision.errors import UserError
from boldvision.fingerprint import fingerprint
from boldvision.workflow import (
    as_json,
    evaluations,
    load_config,
    read_runs,
    rows_for_script,
    test_windows,
)
from snakemake.exceptions import WorkflowError

try:
    CONFIG = load_config(config)
    RUNS = read_runs(CONFIG.runs_table)
    ITEMS = {
        (scope, item): evaluations(CONFIG, RUNS, scope, item)
        for scope in CONFIG.scopes
        for item in RUNS["item"].unique()
    }
except UserError as error:
    raise WorkflowError(str(error)) from None

RESOURCES = f"resources/{CONFIG.dataset}"
RESULTS = f"results/{CONFIG.dataset}"
MODEL = "{run}/{subjects}/{window}/seed-{seed}"


wildcard_constraints:
    scope="|".join(CONFIG.scopes),
    subject="|".join(CONFIG.subjects),
    session=r"\d\d",
    subjects=r"subj\d\d(\+subj\d\d)*",
    window=r"[a-z][a-z0-9_]*([+-]\d+)?",
    seed=r"\d+",
    run="|".join(CONFIG.runs),
    preprocessing="|".join(CONFIG.preprocessing),
    generator="|".join(CONFIG.generators),
    test_set="|".join(CONFIG.test_sets),
    metrics="|".join(CONFIG.metrics.sets),


def runs_of(decoder):
    """Wildcard pattern: the runs of a decoder."""
    return "|".join(name for name in CONFIG.runs if CONFIG.run(name).decoder == decoder)


def bold_folder(run, subject):
    """Folder of the clean series that a run uses."""
    return f"{RESULTS}/bold/{CONFIG.run(run).preprocessing}/{subject}"


def clean_series(run, subject):
    """Clean series of all sessions of a subject."""
    sessions = range(1, CONFIG.subjects[subject].sessions + 1)
    return [
        f"{bold_folder(run, subject)}/session{session:02d}.npy" for session in sessions
    ]


def training_series(wildcards):
    """Clean series that a model is trained on."""
    subjects = wildcards.subjects.split("+")
    return [
        file for subject in subjects for file in clean_series(wildcards.run, subject)
    ]


def of_training_subjects(pattern):
    """Input function: one file of each subject that a model is trained on."""
    return lambda wildcards: expand(pattern, subject=wildcards.subjects.split("+"))


def run_settings(wildcards):
    """A run's settings, its generator and its window, as JSON."""
    run = CONFIG.run(wildcards.run)
    generator = CONFIG.generators[run.generator] if hasattr(run, "generator") else None
    return as_json(run=run, generator=generator, window=CONFIG.window(wildcards.window))


def scores(scope, item):
    """Scores, and their summaries, that a table or figure is made of."""
    tails = [e.scores for e in ITEMS[scope, item]]
    return expand(
        f"{RESULTS}/metrics/{{tail}}.{{suffix}}", tail=tails, suffix=["parquet", "json"]
    )


def reconstructions(scope, item):
    """Folders of reconstructions that a figure shows."""
    return [f"{RESULTS}/reconstructions/{e.reconstruction}" for e in ITEMS[scope, item]]
