"""Scenes: small rendered pictures with a layout, colours and one object of a named category.

And what is said about them, in a few words.
"""

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

COLOURS: dict[str, tuple[float, float, float]] = {
    "black": (0.1, 0.1, 0.1),
    "grey": (0.5, 0.5, 0.5),
    "white": (0.9, 0.9, 0.9),
    "red": (0.85, 0.15, 0.15),
    "maroon": (0.45, 0.1, 0.15),
    "orange": (0.9, 0.5, 0.15),
    "brown": (0.5, 0.32, 0.15),
    "yellow": (0.9, 0.85, 0.2),
    "olive": (0.5, 0.5, 0.1),
    "green": (0.2, 0.7, 0.2),
    "lime": (0.55, 0.9, 0.3),
    "teal": (0.1, 0.5, 0.5),
    "turquoise": (0.25, 0.85, 0.8),
    "blue": (0.2, 0.35, 0.85),
    "navy": (0.1, 0.15, 0.45),
    "violet": (0.5, 0.25, 0.85),
    "purple": (0.5, 0.1, 0.5),
    "magenta": (0.9, 0.2, 0.75),
    "pink": (0.9, 0.6, 0.7),
}
"""RGB in [0, 1]; a colour has the name of the nearest."""

PHRASES = (
    "a {size} {colour} {object} {place} on a {bottom} ground",
    "a {colour} {object} under a {top} sky",
    "{top} sky over {bottom} ground with a {size} {colour} {object}",
    "there is a {colour} {object} {place}",
    "{place} a {size} {object} which is {colour}",
)
PLACES = ("high", "low", "left", "right", "central")

SCENE_SEED = 1_000_000
"""Of scenes that networks are trained on: far from the seeds of the miniature dataset."""


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


def caption(scene: Scene) -> list[str]:
    """What some people say about a scene, two to five phrases, always the same of it."""
    random = numpy_generator(scene.category, "caption", str(scene.radius), *map(str, scene.centre))
    words = {
        "size": "small" if scene.radius < 0.27 else "large" if scene.radius > 0.31 else "",
        "colour": colour_name(scene.colour),
        "object": CATEGORIES[scene.category],
        "place": _place(*scene.centre),
        "top": colour_name(scene.top),
        "bottom": colour_name(scene.bottom),
    }
    chosen = random.permutation(len(PHRASES))[: random.integers(2, len(PHRASES), endpoint=True)]
    return [_grammatical(PHRASES[i].format(**words)) for i in chosen]


def vocabulary() -> list[str]:
    """Every word that a caption may hold, sorted."""
    phrases = " ".join(PHRASES).split()
    said = {word for word in phrases if not word.startswith("{")}
    return sorted({"an", "small", "large", *PLACES, *COLOURS, *CATEGORIES, *said})


def colour_name(colour: np.ndarray) -> str:
    """Name of the nearest of `COLOURS`."""
    distances = np.square(np.array(list(COLOURS.values())) - colour).sum(axis=1)
    return list(COLOURS)[int(distances.argmin())]


def _place(x: float, y: float) -> str:
    across = "left" if x < 0.43 else "right" if x > 0.57 else ""
    down = "high" if y < 0.43 else "low" if y > 0.57 else ""
    return f"{down} {across}".strip() or "central"


def _grammatical(text: str) -> str:
    """One space between words, and "an" before a vowel."""
    words = text.split()
    following = [*words[1:], ""]
    return " ".join(
        "an" if word == "a" and after[:1] in tuple("aeiou") else word
        for word, after in zip(words, following, strict=True)
    )
