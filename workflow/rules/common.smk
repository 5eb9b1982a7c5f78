from boldvision import plugins
from boldvision.config.load import load_config
from boldvision.errors import UserError
from boldvision.fingerprint import Code
from boldvision.launcher import announce_launcher
from boldvision.jobs import Jobs, as_json, one_of
from boldvision.paths import MODEL, Paths
from boldvision.shipped import ROOT
from boldvision.plan import Plan
from boldvision.trials import splits
from snakemake.exceptions import WorkflowError

try:
    CONFIG = load_config(config)
    PLAN = Plan(CONFIG)
    if workflow.is_main_process:  # not again in every job: it walks through all outputs
        PLAN.dataset.check_places(CONFIG)
except UserError as error:
    raise WorkflowError(str(error)) from None

announce_launcher()

# Jobs find the library from every working directory, and in conda environments, where Snakemake
# unsets PYTHONPATH. Strict mode is Snakemake's own prefix.
shell.prefix(
    "set -euo pipefail; export PYTHONPATH={ROOT:q}${{PYTHONPATH:+:$PYTHONPATH}}; "
)
# Rules that compute name their code, `code=CODE.stage(...)` or `CODE.script(...)`: an edit of it runs
# them again. Rules that download do not: what they fetch is vouched for by digests, and to fetch 190 GB
# again is no answer to an edit.
CODE = Code()
JOBS = Jobs(CONFIG)
PATHS = Paths(CONFIG.dataset)
RESOURCES, RESULTS = PATHS.resources, PATHS.results

# In the miniature, every download is wrapped in a server of the simulated bucket on loopback.
BUCKET_FOLDER = CONFIG.s3.serve or []
# Raw data are removed once they are prepared, unless they are kept.
RAW = directory if CONFIG.keep_raw else lambda folder: temp(directory(folder))
RETRIES = 0 if CONFIG.s3.serve else 3

# What the scripts of tables and figures are told about the data.
DATA = {
    "dataset": CONFIG.dataset,
    "simulated": CONFIG.miniature is not None,
}
TIMING = {"stimulus_s": JOBS.dataset.stimulus_s, "trial_s": JOBS.dataset.trial_s}
WINDOWS = {name: window.model_dump() for name, window in CONFIG.windows.items()}


def more_each_try(mem_mb):
    """Memory of a job, as much again at each retry: a cluster kills what takes more than it asked for."""
    return lambda wildcards, attempt: mem_mb * attempt


wildcard_constraints:
    scope=one_of(CONFIG.scopes),
    subject=one_of(CONFIG.subjects),
    session=r"\d\d",
    subjects=rf"({one_of(CONFIG.subjects)})(\+({one_of(CONFIG.subjects)}))*",
    window=r"[a-z][a-z0-9_]*([+-]\d+)?",
    seed=r"\d+",
    run=JOBS.runs_of(),
    split=one_of(splits.names()),
    preprocessing=one_of(CONFIG.preprocessing),
    generator=one_of(CONFIG.generators),
    test_set=one_of(CONFIG.test_sets),
    metrics=one_of(CONFIG.metrics.sets),
