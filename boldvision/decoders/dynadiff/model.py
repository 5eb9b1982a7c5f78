"""Dynadiff: brain module and adapted generator, as one network that predicts noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn

from boldvision.decoders.dynadiff.brain_module import BrainModule
from boldvision.decoders.dynadiff.settings import Lora, Run
from boldvision.generators.base import Generator

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

CROSS_ATTENTION = ("attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0")


class Dynadiff(nn.Module):
    """Brain module, unconditional tokens and the generator's U-Net.

    Of the U-Net, low-rank adapters are trained, or what else the run's `finetune` names; the VAE is
    not part of it.
    """

    def __init__(
        self,
        voxels: Mapping[str, int],
        n_tr: int,
        generator: Generator,
        settings: Run,
    ):
        super().__init__()
        tokens, width = generator.settings.tokens, generator.settings.width
        self.brain_module = BrainModule(voxels, n_tr, tokens, width, settings.brain_module)
        learned = settings.training.unconditional == "learned"
        self.unconditional = nn.Parameter(torch.zeros(tokens, width), requires_grad=learned)
        self.unet = generator.unet
        finetune(self.unet, settings.finetune, settings.lora)

    def forward(
        self,
        groups: list[tuple[str, torch.Tensor]],
        noisy: torch.Tensor,
        timesteps: torch.Tensor,
        dropped: torch.Tensor,
    ) -> torch.Tensor:
        """Predicted noise.

        Parameters
        ----------
        groups : list of (str, Tensor [B_s, T, V_s])
            Windows by subject.
        noisy : Tensor, [B, C, h, w]
        timesteps : Tensor of int64, [B]
        dropped : Tensor of bool, [B]
            Samples whose condition is replaced by the unconditional tokens.

        Returns
        -------
        Tensor, [B, C, h, w]
        """
        condition = self.brain_module(groups)
        condition = torch.where(
            dropped[:, None, None], self.unconditional.to(condition.dtype), condition
        )
        return self.unet(noisy, timesteps, encoder_hidden_states=condition).sample

    def trained(self) -> dict[str, torch.Tensor]:
        """What a model file holds: every parameter that is trained, by name."""
        return {
            name: parameter.detach()
            for name, parameter in self.named_parameters()
            if parameter.requires_grad
        }


def finetune(unet: UNet2DConditionModel, what: str, lora: Lora) -> None:
    """Make those parameters of a frozen `unet` train that `what` says (paper, Table 3)."""
    if what == "lora":
        return add_lora(unet, lora)
    linear = {n: layer for n, layer in unet.named_modules() if isinstance(layer, nn.Linear)}
    trained: dict[str, list[nn.Module]] = {
        "cross_attention": [layer for n, layer in linear.items() if n.endswith(CROSS_ATTENTION)],
        "linear": list(linear.values()),
        "all": [unet],
        "none": [],
    }
    for module in trained[what]:
        module.requires_grad_(True)


def add_lora(unet: UNet2DConditionModel, settings: Lora) -> None:
    """Add low-rank adapters (Hu et al. 2022) to every cross-attention projection of `unet`."""
    from peft import LoraConfig

    unet.add_adapter(
        LoraConfig(r=settings.rank, lora_alpha=settings.alpha, target_modules=list(CROSS_ATTENTION))
    )


def is_shared(name: str) -> bool:
    """Whether the parameter of that name belongs to all subjects, not to one of them."""
    own = ("brain_module.subject_layers.", "brain_module.timestep_layers.")
    return not name.startswith(own)


def count_parameters(model: Dynadiff) -> dict[str, int]:
    """Parameters of the brain module, and trained (adapters too) and frozen ones of the U-Net."""
    unet = [(p.numel(), p.requires_grad) for p in model.unet.parameters()]
    return {
        "brain_module": sum(p.numel() for p in model.brain_module.parameters()),
        "unet_trained": sum(n for n, trained in unet if trained),
        "unet_frozen": sum(n for n, trained in unet if not trained),
    }
