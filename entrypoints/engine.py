"""How the frozen front of a network runs on this machine, as fast as it can: used by extract.py.

On a CPU OpenVINO where it can be imported, else torch with BatchNorm folded into the convolutions; in bfloat16 where
the processor has it and the features stay what they are in float32. On a GPU torch with autocast.
"""

import copy
import warnings
from pathlib import Path

import torch
from backbone import Normalised
from distributed import say
from model import UserError, normalise

# The most that an engine's features may differ from those of float32, as a share of how much those differ from image
# to image. Their cosine would not do: one image's features are nearly another's. Measured with random ResNet50s: of
# heads that learnt on either, 99 % of the predictions were the same at 0.02, 98 % at 0.03, 50 to 90 % at 0.2.
MOST_NOISE = 0.03


def choose_engine(front, sample, mean, std, args):
    """A function: uint8 images (n, 3, size, size) -> features (n, *shape), float32 on the CPU; `name` says what it is.

    `sample` is some such images, on which an engine has to give what float32 gives. Raises UserError where float32
    itself gives no numbers.
    """
    with torch.inference_mode():
        wanted = front(normalise(sample, mean, std)).float()
    if not wanted.isfinite().all():
        raise UserError(f"backbone {args.backbone} makes numbers of these images that are not finite")
    for engine in candidates(front, sample, mean, std, args):
        noise = measure_noise(engine(sample), wanted)
        if noise <= MOST_NOISE:
            break
        say(f"WARNING: not {engine.name}: its noise is {noise:.2f} of the features' spread, above {MOST_NOISE}")
    say(f"engine {engine.name}; on {len(sample)} images its noise is {noise:.4f} of the features' spread")
    return engine


def measure_noise(found, wanted):
    """How much features (n, ...) differ from the wanted ones, as a share of how those differ from image to image."""
    spread = (wanted - wanted.mean(0)).norm()
    least = 1e-3 * wanted.norm() + torch.finfo().tiny  # images that are all alike have no spread
    return ((found - wanted).norm() / spread.clamp_min(least)).item()


def candidates(front, sample, mean, std, args):
    """Engines in the order in which they are tried, each made when it is asked for; the last one is float32."""
    half = args.precision == "auto"
    if torch.cuda.is_available():
        if half:
            ampere = torch.cuda.get_device_capability()[0] >= 8  # older ones emulate bfloat16
            yield CudaEngine(front, mean, std, torch.bfloat16 if ampere else torch.float16)
        yield CudaEngine(front, mean, std, torch.float32)
        return
    half = half and has_bfloat16()
    if args.engine != "torch":
        yield from openvino_engines(front, sample, mean, std, ["bf16", "f32"] if half else ["f32"])
    if half:
        yield TorchEngine(front, mean, std, torch.bfloat16)
    yield TorchEngine(front, mean, std, torch.float32)


def has_bfloat16():
    """Whether the processor has it. Torch's own answer counts AVX-512, which emulates it, slower than float32."""
    path = Path("/proc/cpuinfo")
    known = set(path.read_text().split()) if path.exists() else set()
    return bool(known & {"avx512_bf16", "amx_bf16", "bf16"})  # the last on ARM


class TorchEngine:
    """Plain torch on the CPU: channels last, BatchNorm folded."""

    def __init__(self, front, mean, std, dtype):
        self.name = f"torch {name_of(dtype)}"
        self.front = fold(front).to(dtype=dtype, memory_format=torch.channels_last)
        self.mean, self.std, self.dtype = mean, std, dtype

    @torch.inference_mode()
    def __call__(self, images):
        images = normalise(images, self.mean, self.std)
        return self.front(images.to(dtype=self.dtype, memory_format=torch.channels_last)).float()


class CudaEngine:
    """Torch on the GPU; uint8 travels there, a quarter of the bytes."""

    def __init__(self, front, mean, std, dtype):
        self.name = f"cuda {name_of(dtype)}"
        self.module = Normalised(fold(front), mean, std).cuda().to(memory_format=torch.channels_last)
        self.dtype = dtype

    @torch.inference_mode()
    def __call__(self, images):
        images = images.pin_memory().cuda(non_blocking=True).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cuda", dtype=self.dtype, enabled=self.dtype != torch.float32):
            return self.module(images).float().cpu()


class OpenVino:
    """OpenVINO's runtime on the CPU."""

    def __init__(self, compiled, precision):
        self.compiled, self.name = compiled, f"openvino {precision}"

    def __call__(self, images):
        return torch.from_numpy(self.compiled(images.numpy())[0].copy())


def openvino_engines(front, sample, mean, std, precisions):
    """An engine of each precision; none, with a line in the log, without OpenVINO or where it cannot do the network."""
    try:
        import openvino
    except ImportError as error:
        say(f"no OpenVINO ({error}): torch computes the features, which takes longer")
        return
    settings = {"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # the tracer's, about Python numbers of our own fixed sizes
            module = Normalised(front, mean, std).eval()
            graph = openvino.convert_model(module, example_input=sample[:2], input=[-1, *sample.shape[1:]])
        for precision in precisions:
            hint = {"INFERENCE_PRECISION_HINT": precision}
            yield OpenVino(openvino.Core().compile_model(graph, "CPU", settings | hint), precision)
    except Exception as error:  # it fails in many ways: an operation it lacks, a branch the tracer cannot follow
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        say(f"WARNING: OpenVINO cannot convert this network, torch computes the features: {reason}")


def fold(front):
    """A copy with BatchNorm folded into the convolution before it; a mere copy where the network cannot be traced."""
    from torch.fx.experimental.optimization import fuse

    try:
        return fuse(front)
    except Exception as error:  # control flow that depends on data, in many ways
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        say(f"BatchNorm is not folded, the network cannot be traced: {reason}")
        return copy.deepcopy(front)


def name_of(dtype):
    return {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}[dtype]
