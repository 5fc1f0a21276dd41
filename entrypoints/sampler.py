"""How busy the machine is, as AWS's profiler writes it: JSON lines, a file a minute. Started by profiler.py.

    FOLDER/system/incremental/<YYYYMMDDHH>/<epoch second of the minute>.<node>.json

Types, names and dimensions are those of AWS's own files (a job's profiler-output/system), which smdebug's readers know.
Values are of the whole machine, as there: in percent, a second or bytes a second, since the sample before.
"""

import json
import os
import threading
import time
from pathlib import Path

import torch

LEAST_SECONDS = 0.05  # the kernel counts a core's time in hundredths of a second


class Sampler(threading.Thread):
    """Writes a sample every `interval` seconds until it is closed. `why` says what it cannot do, and why."""

    def __init__(self, folder, node, interval):
        super().__init__(daemon=True, name="sampler")
        self.folder, self.node, self.interval = Path(folder, "system", "incremental"), node, interval
        self.closed = threading.Event()
        self.minute, self.file = None, None
        self.files, self.why = 0, None
        self.sources = []
        for source in [Machine, *([Gpus] if torch.cuda.is_available() else [])]:
            try:
                self.sources.append(source())
            except Exception as error:  # psutil or NVML is missing, or not allowed to look
                self.why = f"no metrics of the {source.__name__.lower()}: {type(error).__name__}: {error}"
        self.start()

    def run(self):
        """The training goes on whatever happens here: a disk is full, a GPU falls off the bus."""
        try:
            while not self.closed.wait(self.interval):
                self.write(time.time())
            self.write(time.time())
        except Exception as error:
            self.why = f"system metrics end early: {type(error).__name__}: {error}"

    def close(self):
        self.closed.set()
        self.join()
        if self.file is not None:
            os.close(self.file)
            self.file = None

    def write(self, now):
        """One sample. Nothing stays in a buffer, so a process that is killed loses none."""
        lines = []
        for source in self.sources:
            for kind, name, dimension, value in source.sample():
                line = {"Type": kind, "Name": name, "Dimension": dimension, "Value": round(value, 2)}
                lines.append(json.dumps(line | {"NodeId": self.node, "Timestamp": round(now, 6)}) + "\n")
        if lines:
            os.write(self.open(now), "".join(lines).encode())

    def open(self, now):
        """The file of this minute."""
        minute = int(now // 60) * 60
        if minute != self.minute:
            if self.file is not None:
                os.close(self.file)
            folder = self.folder / time.strftime("%Y%m%d%H", time.gmtime(minute))
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{minute}.{self.node}.json"
            self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            self.minute = minute
            self.files += 1
        return self.file


class Machine:
    """Cores, memory, disks and network, from psutil."""

    def __init__(self):
        import psutil

        self.psutil = psutil
        self.before = self.count()

    def count(self):
        """What only grows: (time, seconds of each core, (operations, bytes read, written), (bytes received, sent))."""
        cores = self.psutil.cpu_times(percpu=True)
        disk = self.psutil.disk_io_counters()  # None where the container may not look
        disk = disk and (disk.read_count + disk.write_count, disk.read_bytes, disk.write_bytes)
        cards = [card for name, card in self.psutil.net_io_counters(pernic=True).items() if name != "lo"]
        network = sum(card.bytes_recv for card in cards), sum(card.bytes_sent for card in cards)
        return time.perf_counter(), cores, disk, network

    def sample(self):
        before, (now, cores, disk, network) = self.before, self.count()
        seconds = now - before[0]
        if seconds < LEAST_SECONDS:
            return
        self.before = now, cores, disk, network
        for i, (was, core) in enumerate(zip(before[1], cores, strict=True)):
            yield "cpu", f"cpu{i}", "CPUUtilization", 100 - share(was, core, "idle")  # AWS counts waiting as use
            yield "cpu", f"cpu{i}", "I/OWaitPercentage", share(was, core, "iowait")
        yield "memory", "MemoryUsedPercent", "", self.psutil.virtual_memory().percent
        if disk:
            names = ("IOPS", "ReadThroughputInBytesPerSecond", "WriteThroughputInBytesPerSecond")
            for name, was, value in zip(names, before[2], disk, strict=True):
                yield "i/o", name, "", (value - was) / seconds
        for name, was, value in zip(
            ("ReceiveBytesPerSecond", "TransmitBytesPerSecond"), before[3], network, strict=True
        ):
            yield "network", name, "Algorithm", (value - was) / seconds


def share(before, after, field):
    """A core's time in that state in percent; 0 for a state that the system does not count."""
    passed = sum(after[:8]) - sum(before[:8])  # further ones, of guests, are in them already
    spent = getattr(after, field, 0) - getattr(before, field, 0)
    return min(100.0, max(0.0, 100 * spent / passed)) if passed > 0 else 0.0


class Gpus:
    """Every GPU of the machine, from NVIDIA's library."""

    def __init__(self):
        import pynvml

        self.nvml = pynvml
        pynvml.nvmlInit()
        self.gpus = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]

    def sample(self):
        for i, gpu in enumerate(self.gpus):
            memory = self.nvml.nvmlDeviceGetMemoryInfo(gpu)
            yield "gpu", f"gpu{i}", "GPUUtilization", float(self.nvml.nvmlDeviceGetUtilizationRates(gpu).gpu)
            yield "gpu", f"gpu{i}", "GPUMemoryUtilization", 100 * memory.used / memory.total
