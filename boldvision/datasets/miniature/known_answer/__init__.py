"""What must come out of the miniature: its responses are simulated, so the answer is known.

This package is the miniature's, but the last of all stages: it looks at scores and pictures when
they are there, so it may import `boldvision.report`, and nothing but its own script imports it. The
dataset tells the workflow what is checked by `CHECKED` alone, so this module imports nothing.
"""

CHECKED = (
    "table_1",
    "figure_5",
    "table_4",
    "table_5",
    "table_7",
    "table_8",
    "figure_9",
    "leakage",
)
"""Items that :mod:`.checks` looks at, where a scope has them."""
