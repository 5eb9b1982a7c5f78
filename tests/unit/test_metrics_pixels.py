import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.color import rgb2gray

from boldvision.metrics.pixels import pixcorr, ssim, unit_range
from boldvision.metrics.protocols import PROTOCOLS, resize


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    noise = gaussian_filter(rng.normal(size=(1, 60, 50, 3)), (0, 3, 3, 0))
    stimulus = (255 * (noise - noise.min()) / np.ptp(noise)).astype(np.uint8)
    other = np.clip(stimulus + rng.normal(size=stimulus.shape) * 25, 0, 255).astype(np.uint8)
    return stimulus, other


def ssim_by_definition(a, b, sigma):
    """Wang et al. 2004, with the mean over pixels 5 or more from the border."""

    def blur(x):
        return gaussian_filter(x, sigma, truncate=3.5)

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    value = (2 * mean_a * mean_b + 0.01**2) * (2 * covariance + 0.03**2)
    value /= (mean_a**2 + mean_b**2 + 0.01**2) * (var_a + var_b + 0.03**2)
    return value[5:-5]


def test_ssim_of_the_image_and_of_columns(pair):
    a, b = (rgb2gray(image[0] / 255) for image in pair)
    image = ssim(stimuli=pair[0], reconstructions=pair[1])
    columns = ssim(stimuli=pair[0], reconstructions=pair[1], variant="columns")
    np.testing.assert_allclose(image, ssim_by_definition(a, b, 1.5)[:, 5:-5].mean(), atol=1e-7)
    np.testing.assert_allclose(columns, ssim_by_definition(a, b, (1.5, 0)).mean(), atol=1e-7)


def test_ssim_grey_weights():
    grey = rgb2gray(np.eye(3)[None])
    np.testing.assert_allclose(grey[0], [0.2125, 0.7154, 0.0721])


def test_ssim_and_pixcorr_of_equal_images_are_one(pair):
    for metric in (ssim, pixcorr):
        np.testing.assert_allclose(metric(stimuli=pair[0], reconstructions=pair[0]), 1)


def test_pixcorr_is_pearson_over_pixels_and_colours(pair):
    expected = np.corrcoef(pair[0].ravel(), pair[1].ravel())[0, 1]
    found = pixcorr(stimuli=pair[0], reconstructions=pair[1])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    grey = np.full_like(pair[0], 128)
    assert np.isnan(pixcorr(stimuli=pair[0], reconstructions=grey)).all()


@pytest.mark.parametrize(("role", "px"), [("pixels", 425), ("segmentation", 512)])
def test_resize_default_of_pil_is_bicubic(pair, role, px):
    image = Image.fromarray(pair[0][0])
    found = resize(pair[0], PROTOCOLS["brain_diffuser"].steps("reconstruction", role))[0]
    np.testing.assert_array_equal(found, np.asarray(image.resize((px, px))))


def test_dynadiff_resizes_as_torchvision_resizes_pil(pair):
    protocol = PROTOCOLS["dynadiff"]
    for kind in ("stimulus", "reconstruction"):
        image = Image.fromarray(pair[0][0]).resize((512, 512), Image.Resampling.BILINEAR)
        expected = torchvision.transforms.functional.resize(image, (224, 224))
        found = resize(pair[0], protocol.steps(kind, "alexnet"))[0]
        np.testing.assert_array_equal(found, np.asarray(expected))


@pytest.mark.survives(
    "results",
    "Reconstructions are not of the size that the paper's code expects",
    "Stimulus and reconstruction pass through the same sizes, so a perfect copy still scores 1",
)
@pytest.mark.parametrize("protocol", list(PROTOCOLS))
@pytest.mark.parametrize("px", [32, 425, 512, 600])
def test_a_perfect_copy_of_any_size_is_perfect(protocol, px):
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
    copies = np.asarray(small.resize((px, px), Image.Resampling.BICUBIC))[None]
    seen = {
        kind: resize(copies, PROTOCOLS[protocol].steps(kind, "pixels"))
        for kind in ("stimulus", "reconstruction")
    }
    for metric in (ssim, pixcorr):
        found = metric(stimuli=seen["stimulus"], reconstructions=seen["reconstruction"])
        np.testing.assert_allclose(found, 1, atol=1e-6)


def test_pictures_of_512_px_are_compared_as_the_papers_code_does():
    picture = np.random.default_rng(0).integers(0, 256, (1, 512, 512, 3), dtype=np.uint8)
    found = resize(picture, PROTOCOLS["dynadiff"].steps("reconstruction", "pixels"))[0]
    np.testing.assert_array_equal(found, np.asarray(Image.fromarray(picture[0]).resize((425, 425))))


def test_mindeye_resizes_tensors_without_antialias(pair):
    large = np.repeat(np.repeat(pair[0], 6, axis=1), 6, axis=2)
    x = torch.from_numpy(unit_range(large)).permute(0, 3, 1, 2)
    for px in (256, 224):
        x = torchvision.transforms.functional.resize(x, (px, px), antialias=False)
    found = resize(large, PROTOCOLS["mindeye"].steps("reconstruction", "clip"))
    np.testing.assert_allclose(found, x.permute(0, 2, 3, 1).numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("protocol", "role", "px"),
    [
        ("dynadiff", "pixels", 425),
        ("dynadiff", "inception", 224),
        ("dynadiff", "segmentation", 512),
        ("brain_diffuser", "pixels", 425),
        ("mindeye", "alexnet", 256),
        ("mindeye", "inception", 342),
        ("mindeye", "efficientnet", 255),
        ("mindeye", "swav", 224),
    ],
)
def test_sizes_of_the_protocols(pair, protocol, role, px):
    for kind in ("stimulus", "reconstruction"):
        found = resize(pair[0], PROTOCOLS[protocol].steps(kind, role))
        assert found.shape == (1, px, px, 3)


def test_protocols_name_their_efficientnet_and_ssim():
    weights = torchvision.models.EfficientNet_B1_Weights
    assert weights.DEFAULT.name == PROTOCOLS["mindeye"].efficientnet == "IMAGENET1K_V2"
    assert PROTOCOLS["dynadiff"].efficientnet == "IMAGENET1K_V1"
    assert [PROTOCOLS[name].ssim for name in ("dynadiff", "mindeye", "brain_diffuser")] == [
        "image",
        "image",
        "columns",
    ]
