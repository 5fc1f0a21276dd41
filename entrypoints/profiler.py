"""Where the time of a job goes: seconds per phase (initialize, data, train, evaluate, save), used by train.py."""

import os
import time
from pathlib import Path


def seconds_since_process_start():
    """Age of this process: importing torch is seconds of work that no clock started inside the script can see."""
    try:
        started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started
    except (OSError, AttributeError):  # not Linux: by hand on a laptop
        return 0.0


class PhaseTimer:
    """One phase runs at a time, so the phases add up to the age of the process."""

    def __init__(self, phase):
        self.seconds = {phase: seconds_since_process_start()}
        self.phase = phase
        self.since = time.perf_counter()

    def switch(self, phase):
        """Book the time since the last switch, go on in `phase`, and return the phase that was left."""
        now = time.perf_counter()
        self.seconds[self.phase] = self.seconds.get(self.phase, 0.0) + now - self.since
        left, self.phase, self.since = self.phase, phase, now
        return left

    def waiting(self, loader):
        """Yield the loader's batches; waiting for them counts as the phase "data"."""
        batches = iter(loader)
        while True:
            phase = self.switch("data")
            batch = next(batches, None)
            self.switch(phase)
            if batch is None:
                return
            yield batch
