"""What the tests of filters and of batches say of the exact engine, said of Cassandra's."""

from collections.abc import Iterator

import httpx
import pytest

from contract.settings import Settings
from tests.table_gallery import TableGallery, table_api
from tests.unit.test_api_batch import (
    test_256_images_get_the_answers_that_each_alone_would_get as test_256_images_get_the_answers_that_each_alone_would_get,
)
from tests.unit.test_api_batch import (
    test_a_batch_that_asks_for_too_much_is_refused as test_a_batch_that_asks_for_too_much_is_refused,
)
from tests.unit.test_api_filters import (
    test_batch_takes_one_filter_for_all_of_its_queries as test_batch_takes_one_filter_for_all_of_its_queries,
)
from tests.unit.test_api_filters import (
    test_filter_that_is_given_twice_is_refused as test_filter_that_is_given_twice_is_refused,
)
from tests.unit.test_api_filters import (
    test_wrong_filter_gets_400_and_its_place_is_named as test_wrong_filter_gets_400_and_its_place_is_named,
)
from tests.unit.test_api_filters import told

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def api(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TableGallery, httpx.Client]]:
    metadata = {f"digit/{i:02}": told(i) for i in range(60)}
    with table_api(stack, tmp_path_factory.mktemp("api"), 60, metadata, "digit/{:02}") as opened:
        yield opened


@pytest.fixture
def gallery(api: tuple[TableGallery, httpx.Client]) -> TableGallery:
    return api[0]


@pytest.fixture
def client(api: tuple[TableGallery, httpx.Client]) -> httpx.Client:
    return api[1]
