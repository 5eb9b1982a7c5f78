"""What single figures show."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from boldvision.config.section import Distinct, Metric, Section, Shift


class Curves(Section):
    """A figure of curves, or of matrices."""

    metrics: Distinct[Metric] = Field(min_length=1, description="one panel each")


class Comparison(Section):
    """A figure of the curves of several splits, and of their differences."""

    metric: Metric = Field(description="the one that is shown")


class Ranked(Section):
    """Reconstructions, chosen by their rank in a metric."""

    metric: Metric = Field(description="what ranks them")
    images: int = Field(ge=1, le=1000, description="images shown")


class Shifted(Section):
    """Reconstructions from shifted windows."""

    shifts: Distinct[Shift] = Field(min_length=1, description="shifts of the window, TRs")
    trials: int = Field(ge=1, le=1000, description="trials shown")


class Figures(Section):
    """What single figures show."""

    figure_3: Ranked
    figure_4: Shifted
    figure_5: Curves
    figure_6: Curves
    figure_7_8: Ranked
    figure_9: Curves
    leakage: Comparison
    temporal_generalization: Curves

    def metrics(self, item: str) -> Sequence[str]:
        """Metrics that a figure of the runs table shows, for example ``figure_5_leakage_free``."""
        name = item.removesuffix("_leakage_free")
        name = "figure_7_8" if name in ("figure_7", "figure_8") else name
        shown = getattr(self, name, None)
        if isinstance(shown, Curves):
            return shown.metrics
        return [shown.metric] if isinstance(shown, Ranked | Comparison) else []
