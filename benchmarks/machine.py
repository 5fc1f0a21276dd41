"""What this machine can do at most: the rate of large matrix products, in float32 and bfloat16.

    python benchmarks/machine.py [--size 4096] [--rounds 5]

ResNet50 is almost nothing but such products, so this is the limit of one forward pass.
"""

import argparse
import json
import time
from pathlib import Path

RESNET50 = 8.18e9  # floating-point operations for one image of 224x224: two for each multiply-add


def main():
    import torch

    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    a, b = torch.randn(2, args.size, args.size)
    a_half, b_half = a.bfloat16(), b.bfloat16()
    rates = {
        "torch f32": rates_of(lambda: a @ b, args),
        "torch bf16": rates_of(lambda: a_half @ b_half, args),
    }
    for precision in ("f32", "bf16"):
        rates[f"openvino {precision}"] = rates_of(openvino_product(a.numpy(), b.numpy(), precision), args)
    print(
        json.dumps(
            {"rates": rates, "processor": processor() | {"cores": torch.get_num_threads()}, "torch": torch.__version__}
        )
    )


def openvino_product(a, b, precision):
    import openvino
    from openvino import opset13 as ops

    left = ops.parameter(a.shape, a.dtype)
    graph = openvino.Model([ops.matmul(left, ops.constant(b), False, False)], [left])
    compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": 1})
    return lambda: compiled(a)


def rates_of(product, args):
    """Operations per second, of each round after a first one that warms up."""
    product()
    found = []
    for _ in range(args.rounds):
        started = time.perf_counter()
        product()
        found.append(2 * args.size**3 / (time.perf_counter() - started))
    return found


def processor():
    """Its name, and those of its abilities that decide about bfloat16."""
    try:
        found = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return {"name": "unknown", "has": []}
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in found)}
    flags = facts.get("flags", "").split()
    has = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16") if flag in flags]
    return {"name": facts.get("model name", "unknown"), "has": has}


if __name__ == "__main__":
    main()
