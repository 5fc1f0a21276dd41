"""The network and its preprocessing: the one definition that train.py and serve.py share.

See the docstrings of train.py and serve.py. Travels into model.tar.gz beside serve.py, so it needs nothing but torch,
torchvision and Pillow. torchvision takes seconds to import, and a training on cached features needs none of it.
"""

import contextlib
import difflib
import io
import json
import math
import random
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# What PIL may read. Its other formats are old code that nobody needs, and one of them starts a program.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
LONGEST = 4  # times the shorter side
AUXILIARY_HEADS = ("AuxLogits", "aux1", "aux2")  # of inception_v3 and googlenet, of use only when training from scratch


class UserError(Exception):
    """Something the user can mend. Its text is one line and becomes SageMaker's FailureReason."""


def first_line(error):
    """Of an error's text, for a message of one line; its kind where it has no text."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


# ---- preprocessing


def decode_image(source):
    """Bytes or a path -> an upright RGB image (3, height, width) of uint8, transparency made white.

    ValueError says why it cannot be read.
    """
    data = source if isinstance(source, bytes | bytearray) else Path(source).read_bytes()
    try:
        # Reads the header, and refuses a picture of a billion pixels.
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            if opened.format == "JPEG" and opened.mode in ("L", "RGB"):
                with contextlib.suppress(RuntimeError):  # broken: PIL says how
                    return decode_jpeg(data)
            return torch.from_numpy(np.array(decode_with_pil(opened))).permute(2, 0, 1)
    except Exception as error:  # PIL's decoders fail in many ways: KeyError, struct.error, zlib.error, ...
        unknown = isinstance(error, Image.UnidentifiedImageError)
        reason = "its format is unknown" if unknown else " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"not a readable image: {reason}") from error


def decode_jpeg(data):
    """The same pixels as PIL's in half the time, and other threads run meanwhile."""
    from torchvision.io import ImageReadMode
    from torchvision.io import decode_jpeg as decode

    buffer = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    return decode(buffer, mode=ImageReadMode.RGB, apply_exif_orientation=True)


def decode_with_pil(image):
    """In RGB. Copies are avoided: of 100 million pixels each has 400 MB."""
    image.load()
    with contextlib.suppress(Exception):  # EXIF may hold anything
        ImageOps.exif_transpose(image, in_place=True)  # cameras store the rotation beside the pixels
    if image.mode == "I" or image.mode.startswith("I;16"):  # PIL would clip 16 bits at 255, not scale them
        image = Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8))
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image)
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def plain_view(image, size):
    """(3, height, width) -> (3, size, size), uint8: the shorter side scaled to 256/224 of size, then the centre."""
    from torchvision.transforms.v2 import functional

    height, width = image.shape[-2:]
    if max(height, width) > LONGEST * min(height, width):  # one of 1 x 60000 would be scaled to gigabytes
        image = functional.center_crop(image, [min(height, LONGEST * width), min(width, LONGEST * height)])
    image = functional.resize(image, [round(size * 256 / 224)], antialias=True)
    return functional.center_crop(image, [size, size])


def random_view(image, size, key):
    """(3, height, width) -> (3, size, size), uint8: a random crop, perhaps flipped; the same for the same key.

    Drawn as torchvision's RandomResizedCrop draws, but not from torch's generator, which all threads share.
    """
    from torchvision.transforms.v2 import functional

    draw = random.Random(key)
    height, width = image.shape[-2:]
    for _ in range(10):
        area = height * width * draw.uniform(0.08, 1)
        ratio = math.exp(draw.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top, left = draw.randint(0, height - h), draw.randint(0, width - w)
            break
    else:  # a very long picture: its middle, as near to the allowed ratios as can be
        w, h = min(width, round(height * 4 / 3)), min(height, round(width * 4 / 3))
        top, left = (height - h) // 2, (width - w) // 2
    view = functional.resized_crop(image, top, left, h, w, [size, size], antialias=True)
    return functional.horizontal_flip(view) if draw.random() < 0.5 else view


def normalise(images, mean, std):
    """uint8 (n, 3, height, width) -> float32, on the same device, as the network takes them."""
    mean, std = (torch.tensor(values, device=images.device).view(3, 1, 1) for values in (mean, std))
    return (images.float() / 255 - mean) / std


# ---- the network


def check_backbone(name):
    """Raise UserError unless torchvision has a classifier of that name."""
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)  # classifiers only: no detection, no video
    if name not in known:
        near = difflib.get_close_matches(name, known, n=5, cutoff=0.5) or known
        raise UserError(f"unknown backbone {name!r}: use a torchvision classifier such as {', '.join(near)}")


def build_network(backbone, image_size):
    """A torchvision classifier with random weights and its 1000-class head, in eval mode, and the name of that head."""
    import torchvision

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # googlenet and inception_v3 announce a slower initialisation
        network = torchvision.models.get_model(backbone, weights=None)
    for name in AUXILIARY_HEADS:
        if hasattr(network, name):
            setattr(network, name, None)
            network.aux_logits = False
    if hasattr(network, "transform_input"):  # torchvision's weights of these two expect their own normalisation
        network.transform_input = True
    # Convolutional heads (squeezenet) count too. The last of them is the classifier: auxiliary heads come earlier.
    layers = [(n, m) for n, m in network.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    heads = [n for n, m in layers if (m.out_features if isinstance(m, nn.Linear) else m.out_channels) == 1000]
    network.eval()
    try:
        with torch.inference_mode():
            network(torch.zeros(1, 3, image_size, image_size))
    except (AssertionError, RuntimeError) as error:
        raise UserError(
            f"backbone {backbone} cannot take images of image-size {image_size}: {first_line(error)}"
        ) from error
    return network, heads[-1]


def replace_head(network, head, classes):
    """Put a fresh last layer with `classes` outputs in place of the one named `head`, and return it."""
    old = network.get_submodule(head)
    if isinstance(old, nn.Linear):
        new = nn.Linear(old.in_features, classes)
    else:
        new = nn.Conv2d(old.in_channels, classes, kernel_size=old.kernel_size)
    set_submodule(network, head, new)
    return new


def set_submodule(network, name, module):
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, module)


@torch.no_grad()
def calibrate_batch_norm(network, batches):
    """Set BatchNorm's statistics to the average over `batches` of images; returns whether there is any BatchNorm.

    A random network in eval mode would otherwise normalise with mean 0 and variance 1, which its layers do not have.
    """
    layers = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the plain average over all batches
        layer.train()
    for images in batches if layers else ():
        network(images)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        layer.eval()
    return bool(layers)


# ---- saving and loading


@contextlib.contextmanager
def written_beside(path):
    """Give a temporary name beside `path` that replaces it at the end, so that no half-written file is ever seen."""
    temporary = Path(path).with_name(Path(path).name + ".part")
    yield temporary
    temporary.replace(path)


def save_model(model_dir, state, description):
    """model.pt, the state_dict of the whole network on the CPU, and model.json, what load_model needs to know."""
    for name, tensor in state.items():
        state[name] = tensor.detach().cpu().contiguous()
    with written_beside(Path(model_dir, "model.pt")) as path:
        torch.save(state, path)
    with written_beside(Path(model_dir, "model.json")) as path:
        path.write_text(json.dumps(description, indent=2) + "\n")


def load_model(model_dir):
    """(network in eval mode, model.json) from what save_model wrote. Reads tensors only, never pickled code."""
    description = json.loads(Path(model_dir, "model.json").read_text())
    network, head = build_network(description["backbone"], description["image_size"])
    replace_head(network, head, len(description["classes"]))
    network.load_state_dict(torch.load(Path(model_dir, "model.pt"), map_location="cpu", weights_only=True))
    return network.eval(), description
