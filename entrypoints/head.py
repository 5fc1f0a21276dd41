"""The last layer while it learns: on standardised features, and a plain layer again when the model is saved."""

import torch
from model import set_submodule
from torch import nn


class StandardizedHead(nn.Module):
    """The last layer on standardised features: (features - mean) / std, measured once, channel by channel.

    Features of a frozen backbone have a common offset and very different scales, on which a linear layer learns slowly
    at a low learning rate and diverges at a high one. `fold` gives the plain layer that computes the same.
    """

    def __init__(self, layer, mean, std, keep):
        super().__init__()
        self.layer = layer
        trailing = (1,) * (layer.weight.dim() - 2)  # a convolution's height and width
        self.register_buffer("mean", mean.view(-1, *trailing), persistent=False)
        self.register_buffer("std", std.view(-1, *trailing), persistent=False)
        if keep:  # weights that were trained on features as they are: the same function in the new units
            with torch.no_grad():
                layer.bias += self.offset(layer.weight)
                layer.weight *= self.std

    def forward(self, features):
        return self.layer((features - self.mean) / self.std)

    def offset(self, weight):
        return (weight * self.mean).flatten(1).sum(1)

    @torch.no_grad()
    def fold(self):
        self.layer.weight /= self.std
        self.layer.bias -= self.offset(self.layer.weight)
        return self.layer


@torch.no_grad()
def standardize_head(network, head, batches, keep):
    """Wrap the layer named `head`; mean and spread come from `batches` of images. Returns the wrapper."""
    seen = []
    layer = network.get_submodule(head)
    # What reaches the head, as (samples, channels): a convolutional head sees every position as a sample.
    hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].movedim(1, -1).flatten(0, -2).cpu()))
    for images in batches:
        network(images)
    hook.remove()
    features = torch.cat(seen).double()
    std = features.std(0, correction=0)
    # A feature that hardly varies here must not become the loudest one where it does.
    std = std.clamp_min(0.05 * std.mean() or 1.0)
    device = layer.weight.device
    wrapper = StandardizedHead(layer, features.mean(0).float().to(device), std.float().to(device), keep)
    set_submodule(network, head, wrapper)
    return wrapper
