"""The model and the images, once for all tests."""

import pytest
import release


@pytest.fixture(scope="session")
def my_model():
    return release.model()


@pytest.fixture(scope="session")
def my_data():
    return release.held_out()
