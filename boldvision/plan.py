"""What is asked for: the tables and figures of a scope, their files and what these are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from boldvision.config import Config
from boldvision.datasets.choose import dataset_of
from boldvision.errors import UserError
from boldvision.paths import Paths
from boldvision.runs_table import ITEMS, Evaluation, evaluations, runs_of

TABLES = tuple(f"table_{number}" for number in range(1, 9))

STATED_ONCE = {
    "split": ("figure_4", "figure_5", "temporal_generalization"),
    "tr_s": ("figure_4", "temporal_generalization"),
    "test_set": ("temporal_generalization",),
}
"""What these figures and their variants state of all of their rows at once."""

SHOWN = ("figure_3", "figure_4", "figure_7", "figure_8", "gallery")
"""Items that show pictures, and their variants."""


class Plan:
    """The items of the runs table, as the rules see them.

    Methods that take `wildcards` are input or params functions; :meth:`rows`, :meth:`scores` and
    :meth:`pictures` return one, for an item in the scope that is asked for. The item's name may
    hold wildcards, as in ``table_{number}``.

    Parameters
    ----------
    config : Config

    Raises
    ------
    UserError
        The runs table is wrong, or does not fit the configuration.
    """

    def __init__(self, config: Config):
        self.config = config
        self.dataset = dataset_of(config)
        self.paths = Paths(config.dataset)
        runs = runs_of(config)
        self.item_names = [item for item in ITEMS if item in set(runs["item"])]
        self.items = {
            (scope, item): evaluations(self.config, runs, scope, item)
            for scope in self.config.scopes
            for item in self.item_names
        }
        self._check_items()
        self._check_metrics()
        self._check_stated()
        self._check_shown()

    # Targets

    def table(self, name: str, scope: str) -> list[str]:
        """Files of a table."""
        return [
            self.paths.table.format(scope=scope, table=name, kind=kind)
            for kind in ("csv", "md", "tex")
        ]

    def figure(self, name: str, scope: str) -> list[str]:
        """Files of a figure."""
        return [
            self.paths.figure.format(scope=scope, figure=name, kind=kind) for kind in ("pdf", "png")
        ]

    def scorecard(self, scope: str) -> list[str]:
        """Files of the scorecard."""
        return [self.paths.scorecard.format(scope=scope, kind=kind) for kind in ("csv", "html")]

    def official(self, scope: str) -> list[str]:
        """Models of weights that others trained.

        Raises
        ------
        UserError
            Weights are not there.
        """
        runs = {n: self.config.run(n) for n in self.config.run_names if self.config.run(n).label}
        for name, run in runs.items():
            if lacks := run.lacks():
                raise UserError(f"runs.{name}: {lacks}")
        rows = [e for name in self.item_names for e in self.items[scope, name] if e.run in runs]
        return sorted({self.paths.of(self.paths.model_json, e) for e in rows})

    def known_answer(self, scope: str) -> list[str]:
        """The check of the known answer; real data have none."""
        checked = self.dataset.checked and self.config.scopes[scope].known_answer
        return [self.paths.known_answer.format(scope=scope)] if checked else []

    def gallery(self, scope: str) -> list[str]:
        """The page on which reconstructions are looked at, a folder."""
        return [self.paths.gallery.format(scope=scope)]

    def item(self, name: str, scope: str) -> list[str]:
        """Files of a table, a figure or the gallery."""
        if name in TABLES:
            return self.table(name, scope)
        return self.gallery(scope) if name == "gallery" else self.figure(name, scope)

    def items_of(self, scope: str) -> list[str]:
        """Names of the items of a scope, in the order of the runs table."""
        chosen = self.config.scopes[scope].items
        return [name for of, name in self.items if of == scope and name in (chosen or [name])]

    def everything(self, scope: str) -> list[str]:
        """All items of a scope, and what sums them up."""
        return [
            *(file for name in self.items_of(scope) for file in self.item(name, scope)),
            *self._of_tables(scope),
            *self.known_answer(scope),
        ]

    def _of_tables(self, scope: str) -> list[str]:
        """What compares rows of tables, where a scope has some."""
        tables = set(TABLES) & set(self.items_of(scope))
        return [*self.table("differences", scope), *self.scorecard(scope)] if tables else []

    # Tables and figures

    def rows(self, item: str) -> Callable[[Any], list[dict[str, Any]]]:
        """Params function: the evaluations of an item, for its script."""
        return lambda wildcards: [self._row(e) for e in self._item(wildcards, item)]

    def scores(self, item: str) -> Callable[[Any], list[str]]:
        """Input function: the scores of an item, and their summaries."""
        return lambda wildcards: [
            self._row(e)[file]
            for e in self._item(wildcards, item)
            for file in ("parquet", "summary")
        ]

    def pictures(self, item: str) -> Callable[[Any], list[str]]:
        """Input function: the folders of reconstructions that an item shows."""
        return lambda wildcards: [
            self._row(e)["reconstructions"] for e in self._item(wildcards, item)
        ]

    def stimuli(self, item: str) -> Callable[[Any], list[str]]:
        """Input function: the images that the subjects of an item saw."""
        return lambda wildcards: sorted(
            {self._row(e)["stimuli"] for e in self._item(wildcards, item)}
        )

    def trials(self, item: str) -> Callable[[Any], list[str]]:
        """Input function: the trial tables of the subjects of an item."""
        return lambda wildcards: sorted(
            {self._row(e)["trials"] for e in self._item(wildcards, item)}
        )

    def splits(self, item: str) -> Callable[[Any], list[str]]:
        """Input function: the splits of the runs of an item."""
        return lambda wildcards: sorted(
            {
                self.paths.split.format(split=self.config.run(e.run).split, subject=e.subject)
                for e in self._item(wildcards, item)
            }
        )

    def models(self, item: str) -> Callable[[Any], list[str]]:
        """Input function: the models of an item."""
        return lambda wildcards: [self._row(e)["model"] for e in self._item(wildcards, item)]

    def table_rows(self, wildcards: Any) -> dict[str, list[dict[str, Any]]]:
        """Params function: the evaluations of every table of a scope."""
        return self._rows_of(wildcards.scope, TABLES)

    def table_scores(self, wildcards: Any) -> list[str]:
        """Input function: the scores of every table of a scope, and their summaries."""
        return _files(self.table_rows(wildcards), "parquet", "summary")

    def checked_rows(self, wildcards: Any) -> dict[str, list[dict[str, Any]]]:
        """Params function: the evaluations that the known answer is checked on."""
        return self._rows_of(wildcards.scope, self.dataset.checked)

    def checked_files(self, wildcards: Any) -> list[str]:
        """Input function: their scores, and the pictures and stimuli of table 1."""
        items = self.checked_rows(wildcards)
        looked_at = {name: rows for name, rows in items.items() if name == "table_1"}
        return [
            *_files(items, "parquet", "summary"),
            *_files(looked_at, "reconstructions", "stimuli"),
        ]

    def split(self, item: str) -> Callable[[Any], str]:
        """Params function: the split of an item's first run, which a figure states."""
        return lambda wildcards: self.config.run(self._item(wildcards, item)[0].run).split

    def subjects(self, wildcards: Any) -> list[str]:
        """Subjects of a scope."""
        return self.config.scopes[wildcards.scope].subjects

    def first_subject(self, wildcards: Any) -> str:
        """First subject of a scope, the one that figures show."""
        return self.subjects(wildcards)[0]

    # Checks, and files of an evaluation

    def _check_items(self) -> None:
        for name, scope in self.config.scopes.items():
            if unknown := set(scope.items or ()) - set(self.item_names):
                raise UserError(
                    f"scopes.{name}.items: no line of the runs table is for "
                    f"{', '.join(sorted(unknown))}; expected some of {', '.join(self.item_names)}"
                )

    def _check_metrics(self) -> None:
        """What a figure shows is computed for all of its rows."""
        for (_, item), rows in self.items.items():
            gallery = item == "gallery"
            shown = self.config.gallery.metrics if gallery else self.config.figures.metrics(item)
            for name in {evaluation.metrics for evaluation in rows}:
                if missing := set(shown) - set(self.config.metrics.sets[name]):
                    raise UserError(
                        f"{item} shows {', '.join(sorted(missing))}, which metrics.sets.{name} "
                        "lacks: add it there, or change what is shown (`figures`, `gallery`)"
                    )

    def _check_stated(self) -> None:
        """What a figure states once is the same for all of its rows."""
        for (_, item), rows in self.items.items():
            for key in (key for key, figures in STATED_ONCE.items() if item.startswith(figures)):
                named = "row" if key == "test_set" else "run"
                found = {row[named]: row[key] for row in map(self._row, rows)}
                if len(set(found.values())) > 1:
                    several = ", ".join(
                        f"{run} {value:.3g}" if isinstance(value, float) else f"{run} {value}"
                        for run, value in found.items()
                    )
                    raise UserError(
                        f"runs table: {item}: expected {named}s of one {key}, found {several}; "
                        "give them an item each"
                    )

    def _check_shown(self) -> None:
        """What is shown is kept as pictures; of table 1, the known answer looks at them."""
        shown = (*SHOWN, *(item for item in ("table_1",) if item in self.dataset.checked))
        for (_, item), rows in self.items.items():
            for e in rows if item.startswith(shown) else ():
                if self.config.latents_of(e.run, e.test_set):
                    raise UserError(
                        f"runs table: {item}: row {e.row!r} shows pictures, and "
                        f"test_sets.{e.test_set} keeps latents: set `stored: pictures` there, or "
                        "name another test set"
                    )

    def _item(self, wildcards: Any, item: str) -> list[Evaluation]:
        scope, item = wildcards.scope, item.format(**dict(wildcards.items()))
        if (scope, item) not in self.items:
            raise UserError(f"no line of the runs table is for {item!r}")
        return self.items[scope, item]

    def _rows_of(self, scope: str, names: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
        chosen = [name for name in self.items_of(scope) if name in names]
        return {name: [self._row(e) for e in self.items[scope, name]] for name in chosen}

    def _row(self, evaluation: Evaluation) -> dict[str, Any]:
        run = self.config.run(evaluation.run)
        series = self.config.preprocessing[run.preprocessing]
        return {
            **asdict(evaluation),
            "split": run.split,
            "identified": run.identified,
            "tr_s": getattr(series, "tr_s", None),
            "parquet": self.paths.of(self.paths.scores, evaluation),
            "summary": self.paths.of(self.paths.summary, evaluation),
            "model": self.paths.of(self.paths.model_json, evaluation),
            "reconstructions": self.paths.of(self.paths.pictures, evaluation),
            "stimuli": self.paths.of(self.paths.images, evaluation),
            "trials": self.paths.of(self.paths.trials, evaluation),
        }


def _files(items: Mapping[str, list[dict[str, Any]]], *kinds: str) -> list[str]:
    """Files of some kinds of every evaluation, each once."""
    return list(
        dict.fromkeys(row[kind] for rows in items.values() for row in rows for kind in kinds)
    )
