"""One browser for all tests of the page."""

from collections.abc import Iterator

import pytest

from tests.browser.driver import Driver


@pytest.fixture(scope="session")
def browser() -> Iterator[Driver]:
    driver = Driver()
    yield driver
    driver.close()
