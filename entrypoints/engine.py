"""How a network, or its frozen front, runs on this machine as fast as it can: used by extract.py and by serve.py.

On a CPU OpenVINO where it can be imported, else torch with BatchNorm folded into the convolutions; on a GPU torch with
autocast, few images as a CUDA graph. Travels into model.tar.gz, so it imports nothing of the training's.
"""

import copy
import warnings
from pathlib import Path

import torch
from model import first_line, normalise
from torch import nn


def candidates(front, sample, mean, std, half, openvino, say):
    """Engines in the order in which they should be tried, each made when it is asked for; the last one is float32.

    An engine is a function: uint8 images (n, 3, size, size) -> what `front` makes of them, float32 on the CPU; its
    `name` says what it is, `is_torch` whether torch's threads do it. `sample` is some such images, `half` whether this
    machine's half precision may be used, `openvino` whether OpenVINO may, `say` takes a line for the log.
    """
    types = [dtype for dtype in (half and native_half(), torch.float32) if dtype]
    if torch.cuda.is_available():
        yield from (CudaEngine(front, mean, std, dtype, say) for dtype in types)
        return
    if openvino:
        yield from openvino_engines(front, sample, mean, std, [name_of(dtype) for dtype in types], say)
    yield from (TorchEngine(front, mean, std, dtype, say) for dtype in types)


def native_half():
    """The half precision that this machine does not emulate, or None."""
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.get_device_capability()[0] >= 8 else torch.float16
    return torch.bfloat16 if has_bfloat16() else None


def has_bfloat16():
    """Whether the processor has it. Torch's own answer counts AVX-512, which emulates it, slower than float32."""
    path = Path("/proc/cpuinfo")
    known = set(path.read_text().split()) if path.exists() else set()
    return bool(known & {"avx512_bf16", "amx_bf16", "bf16"})  # the last on ARM


class Normalised(nn.Module):
    """uint8 images in: a quarter of the bytes to move, and one pass less over them."""

    def __init__(self, front, mean, std):
        super().__init__()
        self.front = front
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))

    def forward(self, images):
        return self.front((images.float() / 255 - self.mean) / self.std)


class TorchEngine:
    """Plain torch on the CPU: channels last, BatchNorm folded."""

    is_torch = True

    def __init__(self, front, mean, std, dtype, say):
        self.name = f"torch {name_of(dtype)}"
        self.front = fold(front, say).to(dtype=dtype, memory_format=torch.channels_last)
        self.mean, self.std, self.dtype = mean, std, dtype

    @torch.inference_mode()
    def __call__(self, images):
        images = normalise(images, self.mean, self.std)
        return self.front(images.to(dtype=self.dtype, memory_format=torch.channels_last)).float()


class CudaEngine:
    """Torch on the GPU; uint8 travels there, a quarter of the bytes. Used by one thread at a time.

    float32 is what cuDNN makes of it, TF32: 0.0007 off and, on an H100, 2.5 times as fast as without.
    """

    is_torch = True
    most_graphed = 8  # images, as many as serve.py runs at once; 32 keep the GPU busy without

    def __init__(self, front, mean, std, dtype, say):
        self.name = f"cuda {name_of(dtype)}"
        self.module = Normalised(fold(front, say), mean, std).cuda().to(memory_format=torch.channels_last)
        self.dtype, self.say = dtype, say
        self.graphs = {}  # number of images -> (graph, where it reads them, where it leaves the answer)
        self.pool = torch.cuda.graph_pool_handle()

    @torch.inference_mode()
    def __call__(self, images):
        if len(images) <= self.most_graphed and len(images) not in self.graphs:
            try:
                self.graphs[len(images)] = self.capture(images)
            except RuntimeError as error:  # the network waits for a result within
                self.say(f"no CUDA graph of this network: {first_line(error)}")
                self.most_graphed = 0
        if len(images) > self.most_graphed:
            return self.run(images.pin_memory().cuda(non_blocking=True)).cpu()
        graph, given, made = self.graphs[len(images)]
        given.copy_(images)
        graph.replay()
        return made.cpu()

    def run(self, images):
        images = images.contiguous(memory_format=torch.channels_last)
        # Without autocast's cache, which must not outlive the capture of a graph.
        with torch.autocast("cuda", dtype=self.dtype, enabled=self.dtype != torch.float32, cache_enabled=False):
            return self.module(images).float()

    def capture(self, images):
        """All kernels of a forward pass, to be started as one: starting each takes longer than a GPU's work on it."""
        given, stream = images.cuda(), torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self.run(given)  # what libraries do when they are first used must not be captured
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
            made = self.run(given)
        return graph, given, made


class OpenVino:
    """OpenVINO's runtime on the CPU."""

    is_torch = False

    def __init__(self, compiled, precision):
        self.compiled, self.name = compiled, f"openvino {precision}"

    def __call__(self, images):
        return torch.from_numpy(self.compiled(images.numpy())[0].copy())


def openvino_engines(front, sample, mean, std, precisions, say):
    """An engine of each precision; none, with a line in the log, without OpenVINO or where it cannot do the network."""
    try:
        import openvino
    except ImportError as error:
        say(f"no OpenVINO ({error}): torch does it, which takes longer")
        return
    settings = {"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # the tracer's, about Python numbers of our own fixed sizes
            # Traced here, since OpenVINO would have torch check the trace by further passes.
            traced = torch.jit.trace(Normalised(front, mean, std).eval(), sample[:2], check_trace=False)
            graph = openvino.convert_model(traced, input=[-1, *sample.shape[1:]])
        for precision in precisions:
            hint = {"INFERENCE_PRECISION_HINT": precision}
            yield OpenVino(openvino.Core().compile_model(graph, "CPU", settings | hint), precision)
    except Exception as error:  # it fails in many ways: an operation it lacks, a branch the tracer cannot follow
        say(f"WARNING: OpenVINO cannot convert this network, torch does it: {first_line(error)}")


def fold(front, say):
    """A copy with BatchNorm folded into the convolution before it; a mere copy where the network cannot be traced."""
    from torch.fx.experimental.optimization import fuse

    try:
        return fuse(front)
    except Exception as error:  # control flow that depends on data, in many ways
        say(f"BatchNorm is not folded, the network cannot be traced: {first_line(error)}")
        return copy.deepcopy(front)


def name_of(dtype):
    return {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}[dtype]
