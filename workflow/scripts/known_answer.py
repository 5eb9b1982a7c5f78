"""The known answer of the miniature: checked, printed and written; fails where it is missed."""

import json
from pathlib import Path

from boldvision.files import atomic
from boldvision.report import known_answer, results
from boldvision.report.log import logged


def main(snakemake):
    """Check the default run and write ``known_answer.json``."""
    params = snakemake.params
    trained = [
        (e, Path(row["reconstructions"]) / f"{e.window}.h5", Path(row["stimuli"]))
        for e, row in zip(results.read(params.rows), params.rows, strict=True)
    ]
    over_time = results.read(params.curve_rows)
    truth = json.loads((Path(snakemake.input.truth) / "truth.json").read_text())
    peak_s = truth[results.one_subject(over_time)]["peak_s"]
    record = known_answer.check(
        [
            *known_answer.check_identification(trained),
            *known_answer.check_silence(over_time, params.windows),
            *known_answer.check_peak(over_time, params.windows, peak_s),
        ]
    )
    with atomic(snakemake.output[0]) as part:
        part.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    with logged(snakemake.log[0]):  # type: ignore[name-defined]
        main(snakemake)  # type: ignore[name-defined]
