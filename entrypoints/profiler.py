"""Where the time of a job goes: seconds per phase always; asked for, system metrics and a timeline. Used by train.py.

OUTPUT/profiler-output/system/...            sampler.py    with --profile-interval
OUTPUT/profiler-output/framework/pevents/... timeline.py   with --profile-interval
OUTPUT/profiler-output/framework/torch/...   torch.profiler, with --profile-torch
"""

import os
import shutil
import time
from collections import Counter, defaultdict
from pathlib import Path

import distributed
from distributed import say
from timeline import PART, PHASE, STEP, Timeline


def seconds_since_process_start():
    """Age of this process: importing torch is seconds of work that no clock started inside the script can see."""
    try:
        started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started
    except (OSError, AttributeError):  # not Linux: by hand on a laptop
        return 0.0


class PhaseTimer:
    """One phase runs at a time, so the phases add up to the age of the process. Parts of a step count as phases, too.

    On a GPU a part lasts as long as handing its work over; waiting for what it calculates is in the last one.
    """

    def __init__(self, phase):
        self.began = self.since = time.perf_counter() - seconds_since_process_start()
        self.phase, self.running = phase, None
        self.seconds = defaultdict(float)
        self.done = Counter()  # steps by mode; a job that goes on begins with those of its earlier run
        self.timeline = self.window = None

    def switch(self, phase):
        """End the phase that runs, and begin another."""
        now = self.part(None)
        if self.timeline:
            self.timeline.add(PHASE, self.phase, self.began, now)
        self.phase, self.began = phase, now

    def part(self, name):
        """Begin a part of the phase that runs: data, forward, backward, optimizer, or None for the rest of it."""
        now = time.perf_counter()
        self.seconds[self.running or self.phase] += now - self.since
        if self.timeline and self.running:
            self.timeline.add(PART, self.running, self.since, now)
        self.running, self.since = name, now
        return now

    def steps(self, loader, mode):
        """Yield the loader's batches. Each is a step, which begins with waiting for its data. Mode: TRAIN or EVAL."""
        name, batches = f"Step:ModeKeys.{mode}", None
        while True:
            began = self.part("data")
            batches = batches or iter(loader)
            batch = next(batches, None)
            self.part(None)
            if batch is None:
                return
            if self.window and mode == "TRAIN":
                self.window.begin(self.done[mode])
            yield batch
            ended = self.part(None)
            if self.timeline:
                self.timeline.add(STEP, name, began, ended, self.done[mode])
            self.done[mode] += 1


class TorchWindow:
    """torch.profiler over the training steps first to last, as a Chrome trace. `why` says why there is none."""

    def __init__(self, folder, node, steps):
        self.first, self.last = (int(number) for number in steps.split("-"))
        self.path = Path(folder, "framework", "torch", f"{node}_steps_{steps}.pt.trace.json")
        self.profile, self.files, self.why = None, 0, f"the training ended before step {self.first}"

    def begin(self, number):
        if number > self.last:
            self.close()
        elif number >= self.first and self.why and not self.profile:
            import torch.profiler

            self.why = None
            # acc_events: else it warns of what it does with a schedule, which it has not.
            self.profile = torch.profiler.profile(record_shapes=True, acc_events=True)
            self.profile.start()

    def close(self):
        if self.profile is None:
            return
        profile, self.profile = self.profile, None
        try:
            profile.stop()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            profile.export_chrome_trace(str(self.path))
            self.files = 1
        except (OSError, RuntimeError) as error:  # a full disk must not end the training
            self.why = f"torch's profile cannot be written: {error}"


class Profiler:
    """The clock of a job, and what watches the job meanwhile. Leaving it, even by an error, writes what is left."""

    def __init__(self, args):
        self.timer = PhaseTimer("initialize")
        self.interval, self.watching = args.profile_interval, []
        folder = Path(args.output_data_dir, "profiler-output")
        first_of_host = os.environ.get("LOCAL_RANK", "0") == "0"
        with distributed.first_of_host_first():
            if first_of_host:
                shutil.rmtree(folder, ignore_errors=True)  # of an earlier run by hand
        host = os.environ.get("SM_CURRENT_HOST", "algo-1")
        node = host if distributed.world_size() == 1 else f"{host}-rank{distributed.rank()}"
        if self.interval:
            self.timer.timeline = Timeline(folder, node, self.timer.began)
            self.watching.append(self.timer.timeline)
        if self.interval and first_of_host:
            from sampler import Sampler

            self.watching.append(Sampler(folder, host, self.interval / 1000))
        if args.profile_torch and distributed.is_main():
            self.timer.window = TorchWindow(folder, node, args.profile_torch)
            self.watching.append(self.timer.window)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Nothing is recorded from now on, but the timer goes on."""
        self.timer.switch(self.timer.phase)
        self.timer.timeline = self.timer.window = None
        for watching in self.watching:
            watching.close()

    def report(self):
        """For metrics.json, after it was closed."""
        why = "; ".join(watching.why for watching in self.watching if watching.why) or None
        if why:
            say(f"WARNING: profiler: {why}")
        if not self.watching:
            why = "profile-interval is 0"
        files = sum(watching.files for watching in self.watching)
        return {"interval_ms": self.interval, "why": why, "files": files}
