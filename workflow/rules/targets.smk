TABLES = ["table_1", "table_6"]
FIGURES = ["figure_4", "figure_5", "temporal_generalization"]


def table(name, scope):
    """Files of a table."""
    return expand(
        f"{RESULTS}/{scope}/tables/{name}.{{suffix}}", suffix=["csv", "md", "tex"]
    )


def figure(name, scope):
    """Files of a figure."""
    return expand(f"{RESULTS}/{scope}/figures/{name}.{{suffix}}", suffix=["pdf", "png"])


def everything(scope):
    """All items of a scope; in the miniature, its known answer as well."""
    return [
        *[file for name in TABLES for file in table(name, scope)],
        *[file for name in FIGURES for file in figure(name, scope)],
        *expand(f"{RESULTS}/{scope}/scorecard.{{suffix}}", suffix=["csv", "html"]),
        *([f"{RESULTS}/{scope}/known_answer.json"] if CONFIG.miniature else []),
    ]


rule paper:
    """Everything, for all subjects and shifts of the paper."""
    input:
        everything("paper"),
    localrule: True


rule table_1:
    input:
        table("table_1", CONFIG.scope),
    localrule: True


rule table_6:
    input:
        table("table_6", CONFIG.scope),
    localrule: True


rule figure_4:
    input:
        figure("figure_4", CONFIG.scope),
    localrule: True


rule figure_5:
    input:
        figure("figure_5", CONFIG.scope),
    localrule: True


rule temporal_generalization:
    input:
        figure("temporal_generalization", CONFIG.scope),
    localrule: True


rule scorecard:
    input:
        expand(f"{RESULTS}/{CONFIG.scope}/scorecard.{{suffix}}", suffix=["csv", "html"]),
    localrule: True
