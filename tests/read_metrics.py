"""What smdebug's own readers find in a profiler-output folder. Run by test_profiler.py with the image's Python.

    python read_metrics.py FOLDER

Prints {"system": [[type, name, dimension, value, node, timestamp], ...], "framework": [[name, start, seconds, step,
node], ...]} as its last line.
"""

import json
import os
import sys

os.environ["SMDEBUG_LOG_LEVEL"] = "error"

from smdebug.profiler.algorithm_metrics_reader import LocalAlgorithmMetricsReader
from smdebug.profiler.system_metrics_reader import LocalSystemMetricsReader
from smdebug.profiler.utils import TimeUnits

until = 4102444800  # 2100
system = LocalSystemMetricsReader(sys.argv[1]).get_events(0, until, TimeUnits.SECONDS)
framework = LocalAlgorithmMetricsReader(sys.argv[1]).get_events(0, until, TimeUnits.SECONDS)
print(
    json.dumps(
        {
            "system": [[e.type, e.name, e.dimension, e.value, e.node_id, e.timestamp] for e in system],
            "framework": [
                [e.event_name, e.start_time, e.duration / 1e6, (e.event_args or {}).get("step_num"), e.node_id]
                for e in framework
            ],
        }
    )
)
