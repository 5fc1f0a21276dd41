"""Which engine extracts the features: the fastest whose features stay what they are in float32. Used by extract.py."""

import torch
from distributed import say
from engine import candidates
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
    for engine in candidates(front, sample, mean, std, args.precision == "auto", args.engine != "torch", say):
        noise = measure_noise(engine(sample), wanted)
        if noise <= MOST_NOISE:
            break
        say(f"WARNING: not {engine.name}: its noise is {noise:.4f} of the features' spread, above {MOST_NOISE}")
    say(f"engine {engine.name}; on {len(sample)} images its noise is {noise:.4f} of the features' spread")
    return engine


def measure_noise(found, wanted):
    """How much features (n, ...) differ from the wanted ones, as a share of how those differ from image to image."""
    spread = (wanted - wanted.mean(0)).norm()
    least = 1e-3 * wanted.norm() + torch.finfo().tiny  # images that are all alike have no spread
    return ((found - wanted).norm() / spread.clamp_min(least)).item()
