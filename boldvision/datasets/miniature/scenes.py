"""Scenes: small rendered pictures with a layout, colours and one object of a named category."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from boldvision.seeds import numpy_generator

Shape = tuple[str, tuple[float, ...], float]
"""How to draw ("polygon" or "ellipse"), coordinates in [-1, 1], and brightness of the fill."""

OBJECTS: dict[str, tuple[Shape, ...]] = {
    "ball": (("ellipse", (-1, -1, 1, 1), 1.0), ("ellipse", (-0.5, -0.6, 0, -0.1), 1.5)),
    "house": (
        ("polygon", (-0.8, 1, -0.8, -0.1, 0.8, -0.1, 0.8, 1), 1.0),
        ("polygon", (-1, -0.1, 0, -1, 1, -0.1), 0.55),
        ("polygon", (-0.2, 1, -0.2, 0.4, 0.2, 0.4, 0.2, 1), 0.4),
    ),
    "tree": (
        ("polygon", (-0.15, 1, -0.15, 0.4, 0.15, 0.4, 0.15, 1), 0.5),
        ("polygon", (-0.8, 0.5, 0, -1, 0.8, 0.5), 1.0),
    ),
    "boat": (
        ("polygon", (-1, 0.4, 1, 0.4, 0.6, 1, -0.6, 1), 0.6),
        ("polygon", (0.05, -1, 0.05, 0.3, 0.8, 0.3), 1.0),
        ("polygon", (-0.05, -0.7, -0.05, 0.3, -0.6, 0.3), 1.3),
    ),
    "fish": (
        ("ellipse", (-1, -0.55, 0.5, 0.55), 1.0),
        ("polygon", (0.3, 0, 1, -0.6, 1, 0.6), 0.7),
        ("ellipse", (-0.75, -0.25, -0.5, 0), 0.2),
    ),
    "ring": (("ellipse", (-1, -1, 1, 1), 1.0), ("ellipse", (-0.5, -0.5, 0.5, 0.5), 0.0)),
    "cross": (
        ("polygon", (-0.35, -1, 0.35, -1, 0.35, 1, -0.35, 1), 1.0),
        ("polygon", (-1, -0.35, 1, -0.35, 1, 0.35, -1, 0.35), 1.0),
    ),
    "car": (
        ("polygon", (-0.6, -0.1, -0.35, -0.6, 0.4, -0.6, 0.7, -0.1), 1.3),
        ("polygon", (-1, -0.1, 1, -0.1, 1, 0.5, -1, 0.5), 1.0),
        ("ellipse", (-0.75, 0.2, -0.2, 0.75), 0.2),
        ("ellipse", (0.2, 0.2, 0.75, 0.75), 0.2),
    ),
}
CATEGORIES = tuple(OBJECTS)


@dataclass(frozen=True)
class Scene:
    """What a picture shows. Colours are RGB in [0, 1], places and sizes fractions of the side."""

    top: np.ndarray
    bottom: np.ndarray
    horizon: float
    category: int
    colour: np.ndarray
    centre: tuple[float, float]
    radius: float


def draw_scene(seed: int, image_id: int) -> Scene:
    """The scene of one image, the same whatever the order of drawing."""
    random = numpy_generator(seed, "scene", image_id)
    top, bottom = random.uniform(0.05, 0.95, (2, 3))
    colour = random.uniform(0, 1, 3)
    while np.abs(colour - (top + bottom) / 2).sum() < 0.9:
        colour = random.uniform(0, 1, 3)
    return Scene(
        top=top,
        bottom=bottom,
        horizon=random.uniform(0.3, 0.7),
        category=int(random.integers(len(CATEGORIES))),
        colour=colour,
        centre=(random.uniform(0.3, 0.7), random.uniform(0.3, 0.7)),
        radius=random.uniform(0.24, 0.34),
    )


def render(scene: Scene, px: int, oversample: int = 4) -> np.ndarray:
    """Picture of a scene, uint8 [px, px, 3], drawn larger and averaged down."""
    side = px * oversample
    height = np.arange(side) / side
    sky = 1 / (1 + np.exp((height - scene.horizon) / 0.06))
    rows = scene.bottom + sky[:, None] * (scene.top - scene.bottom)
    background = (255 * rows).astype(np.uint8)[:, None]
    canvas = Image.fromarray(np.broadcast_to(background, (side, side, 3)).copy())
    pen = ImageDraw.Draw(canvas)
    for kind, coordinates, brightness in OBJECTS[CATEGORIES[scene.category]]:
        points = np.reshape(coordinates, (-1, 2)) * scene.radius + scene.centre
        fill = tuple((255 * np.clip(scene.colour * brightness, 0, 1)).astype(np.uint8).tolist())
        getattr(pen, kind)([tuple(point) for point in points * side], fill=fill)
    return np.asarray(canvas.resize((px, px), Image.Resampling.BOX))


def render_all(seed: int, n_images: int, px: int) -> np.ndarray:
    """Pictures of images 1 to `n_images`, uint8 [n_images, px, px, 3]."""
    return np.stack([render(draw_scene(seed, i), px) for i in range(1, n_images + 1)])
