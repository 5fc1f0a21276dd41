"""The standardised head: it computes what the plain layer computes that it is folded into."""

from pathlib import Path

import pytest
from entrypoint_runs import ALONE, ENTRYPOINTS
from forked import run_forked_python

CHECK = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
from torch import nn
from head import standardize_head

torch.manual_seed(0)
kind, keep = sys.argv[2], sys.argv[3] == "keep"
layer = nn.Linear(5, 3) if kind == "linear" else nn.Conv2d(5, 3, 1)
network = nn.Sequential(nn.Identity(), layer)
shape = (40, 5) if kind == "linear" else (10, 5, 2, 2)
# Offsets and scales as features have them, one channel that never varies.
scale = torch.tensor([1.0, 30.0, 0.1, 4.0, 0.0]).view(-1, *(1,) * (len(shape) - 2))
batches = [torch.randn(shape) * scale + 7 for _ in range(3)]
before = network(batches[0])
wrapped = standardize_head(network, "1", batches, keep)
standardized = network(batches[0])
features = torch.cat(batches).movedim(1, -1).flatten(0, -2)
assert torch.allclose(wrapped.mean.flatten(), features.mean(0), atol=1e-4)
assert torch.allclose(wrapped.std.flatten()[:2], features.std(0, correction=0)[:2], rtol=1e-4)
assert torch.isfinite(standardized).all()
assert torch.allclose(before, standardized, atol=1e-3) == keep
network[1] = wrapped.fold()
assert type(network[1]) is type(layer)
assert torch.allclose(network(batches[0]), standardized, atol=1e-3)
"""


@pytest.mark.parametrize(("kind", "keep"), [("linear", "new"), ("linear", "keep"), ("conv", "keep")])
def test_folding_changes_nothing(image_python: Path, kind: str, keep: str) -> None:
    done = run_forked_python(image_python, "-c", CHECK, ENTRYPOINTS, kind, keep, env=ALONE)
    assert done.returncode == 0, done.stderr
