"""What must come out of the miniature: its responses are simulated, so the answer is known."""

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
