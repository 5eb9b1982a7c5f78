from boldvision.config.load import load_config
from boldvision.errors import UserError
from boldvision.fingerprint import fingerprint
from boldvision.launcher import announce_launcher
from boldvision.jobs import Jobs, as_json, one_of
from boldvision.datasets.nsd.raw import check_places
from boldvision.shipped import ROOT
from boldvision.workflow import Plan
from snakemake.exceptions import WorkflowError

try:
    CONFIG = load_config(config)
    PLAN = Plan(CONFIG)
    if workflow.is_main_process:  # not again in every job: it walks through all outputs
        check_places(CONFIG)
except UserError as error:
    raise WorkflowError(str(error)) from None

announce_launcher()

# Jobs find the library from every working directory, and in conda environments, where Snakemake
# unsets PYTHONPATH. Strict mode is Snakemake's own prefix.
shell.prefix(
    "set -euo pipefail; export PYTHONPATH={ROOT:q}${{PYTHONPATH:+:$PYTHONPATH}}; "
)
JOBS = Jobs(CONFIG)
RESOURCES = CONFIG.resources
RESULTS = CONFIG.results
MODEL = "{run}/{subjects}/{window}/seed-{seed}"

# In the miniature, every download is wrapped in a server of the simulated bucket on loopback.
BUCKET_FOLDER = CONFIG.s3.serve or []
RETRIES = 0 if CONFIG.s3.serve else 3

# What the scripts of tables and figures are told about the data.
DATA = {
    "dataset": CONFIG.dataset,
    "simulated": CONFIG.miniature is not None,
}
REPORT_CODE = fingerprint(
    "boldvision.report", "boldvision.metrics.intervals", "boldvision.trials.windows"
)
WINDOWS = {name: window.model_dump() for name, window in CONFIG.windows.items()}


wildcard_constraints:
    scope=one_of(CONFIG.scopes),
    subject=one_of(CONFIG.subjects),
    session=r"\d\d",
    subjects=r"subj\d\d(\+subj\d\d)*",
    window=r"[a-z][a-z0-9_]*([+-]\d+)?",
    seed=r"\d+",
    run=JOBS.runs_of(),
    preprocessing=one_of(CONFIG.preprocessing),
    generator=one_of(CONFIG.generators),
    test_set=one_of(CONFIG.test_sets),
    metrics=one_of(CONFIG.metrics.sets),
