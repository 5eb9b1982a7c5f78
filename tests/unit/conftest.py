"""Fixtures that several test files share."""

import pytest


@pytest.fixture(scope="module")
def no_gpu():
    """As in the processes that tests start: a GPU computes other bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory, request):
    """A folder of the test file's own."""
    return tmp_path_factory.mktemp(request.module.__name__)


@pytest.fixture(scope="module")
def generator(folder):
    """Settings of a generator of random weights, as small as it can be."""
    from decoder_data import write_generator

    return write_generator(folder / "generator")
