"""What a finished training job says about itself: its artifacts in, numbers and one offline HTML page out.

    report = build(artifacts, training_job, tuning_job, trials, rate)  # every number, computed once
    to_json(report)                                                    # the same numbers for `--json` and metrics.json
    summarize(report)                                                  # the same numbers in words, for a terminal
    write(report, folder)                                              # report.html, metrics.json and the CSV files

artifacts.py reads what train.py wrote, job.py what SageMaker says, trials.py the tuning job; metrics.py and cost.py
compute; report.py holds it all; wording.py, charts.py and page.py show it; files.py writes it. Nothing here knows a
client.
scikit-learn, matplotlib and jinja2 are imported inside the functions that need them: `dogbreed --help` must not pay.
"""

from dogbreed_cli.report.cost import FREE, Rate
from dogbreed_cli.report.files import write
from dogbreed_cli.report.report import Report, build, to_json
from dogbreed_cli.report.wording import summarize

__all__ = ["FREE", "Rate", "Report", "build", "summarize", "to_json", "write"]
