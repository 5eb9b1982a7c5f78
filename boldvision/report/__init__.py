"""Tables and figures. What a user has set for Matplotlib is read by none of them."""

import os

# Matplotlib reads both when it is imported, and stops at a file or a name that it cannot read.
os.environ["MATPLOTLIBRC"] = os.devnull
os.environ["MPLBACKEND"] = "agg"
