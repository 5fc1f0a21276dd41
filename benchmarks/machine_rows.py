"""(d) The machine's matrix products as rows, and what share of them each variant of speed.py reaches."""

from statistics import median

from machine import RESNET50
from table import Row


def rows(rates, speeds):
    made = [Row("matrix products", name, "GFLOP/s", [rate / 1e9 for rate in found]) for name, found in rates.items()]
    limits = {  # of a precision: what the better of the two libraries reached
        precision: max(median(found) for name, found in rates.items() if name.endswith(precision))
        for precision in ("f32", "bf16")
    }
    for name, speed in speeds.items():
        if speed.train and not speed.why_not:
            limit = limits[speed.precision]
            shares = [100 * RESNET50 / seconds / limit for seconds in speed.train]
            note = f"of {speed.precision}'s {limit / 1e9:.0f} GFLOP/s, decoding included; the forward pass alone counts"
            made.append(Row("share of the peak", name, "%", shares, note))
    return made
