"""What a job did when, as Chrome trace events: chrome://tracing and Perfetto open the files. Written by profiler.py.

    FOLDER/framework/pevents/<YYYYMMDDHH>/<end, microseconds>_<node>_model_timeline.json

Each file is whole and sorted. Events wait in memory for at most a minute (AWS's interval, too), for a step may take a
millisecond: recording one costs a microsecond, and so does writing it.
"""

import json
import time
from pathlib import Path

from model import written_beside

FILE_SECONDS = 60
LINE_BYTES = 110
FILE_EVENTS = 80_000  # below 10 MB
MOST_BYTES = 40_000_000  # of all files; beyond that only phases are written
PHASE, STEP, PART = range(3)  # also the tracks (tid) on which they are drawn
TRACKS = ("phase", "step", "part")


class Timeline:
    """Events of one process. `origin` is the perf_counter at which its clock shows 0."""

    def __init__(self, folder, node, origin):
        self.folder, self.node, self.origin = Path(folder, "framework", "pevents"), node, origin
        self.epoch = round((time.time() - time.perf_counter() + origin) * 1e6)  # microseconds
        self.events = []  # (start, track, end, name, number of a step)
        self.bytes = self.files = 0
        self.full = False
        self.due = time.perf_counter() + FILE_SECONDS
        self.why = None  # nothing is written any more

    def add(self, track, name, start, end, number=None):
        """`start` and `end` are of perf_counter."""
        if self.full and track != PHASE:
            return
        self.events.append((start, track, end, name, number))
        # Not within a step, which would look longer than it was.
        if track != PART and (end >= self.due or len(self.events) >= FILE_EVENTS):
            self.write()

    def write(self):
        """Put what has been recorded into a new file."""
        events, self.events = self.events, []
        self.due = time.perf_counter() + FILE_SECONDS
        self.full = self.full or self.bytes + LINE_BYTES * len(events) > MOST_BYTES
        if self.full:
            events = [event for event in events if event[1] == PHASE]
        if not events or self.why:
            return
        events.sort()
        end = self.epoch + self._microseconds(max(event[2] for event in events))
        hour = time.strftime("%Y%m%d%H", time.gmtime(end / 1e6))
        path = self.folder / hour / f"{end}_{self.node}_model_timeline.json"
        text = ",\n".join([*self._metadata(), *map(self._line, events)])
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with written_beside(path) as beside:
                beside.write_text(f"[\n{text}\n]\n")
        except OSError as error:  # a full disk must not end the training
            self.why = f"the timeline cannot be written: {error}"
            return
        self.bytes += len(text)
        self.files += 1

    def close(self):
        self.write()

    def _metadata(self):
        found = {
            "process_name": {"name": self.node},
            "start_time": {"start_time_since_epoch_in_micros": self.epoch},
        }
        if self.full:
            found["truncated"] = {"reason": f"of steps only the first {MOST_BYTES // 10**6} MB are kept"}
        for name, args in found.items():
            yield json.dumps({"name": name, "ph": "M", "pid": 0, "tid": 0, "args": args})
        for track, name in enumerate(TRACKS):
            yield json.dumps({"name": "thread_name", "ph": "M", "pid": 0, "tid": track, "args": {"name": name}})

    def _line(self, event):
        start, track, end, name, number = event
        ts = self._microseconds(start)
        args = "" if number is None else f',"args":{{"step_num":"{number}"}}'
        return (
            f'{{"name":"{name}","cat":"{TRACKS[track]}","ph":"X","ts":{ts},'
            f'"dur":{self._microseconds(end) - ts},"pid":0,"tid":{track}{args}}}'
        )

    def _microseconds(self, moment):
        return round((moment - self.origin) * 1e6)
