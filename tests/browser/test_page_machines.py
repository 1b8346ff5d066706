"""The page over indexes that no server feeds: of two machines, of which one is behind, and of a collection."""

from pathlib import Path

from contract.collections import Collection, settings_of
from gallery.generations.collection_file import write_collection
from gallery.generations.serving import Serving, write_serving
from tests.api_gallery import Gallery, digit, running_api, settings_for
from tests.browser.driver import Driver
from tests.relay import Relay

FEW, ALL = 5, 12


def test_the_page_shows_nothing_that_covers_less_than_it_showed_before(browser: Driver, tmp_path: Path) -> None:
    ahead, behind = (settings_for(tmp_path / name) for name in ("ahead", "behind"))
    Gallery(ahead).put({f"digit/{n}": digit(n) for n in range(ALL)})
    catching_up = Gallery(behind)
    catching_up.put({f"digit/{n}": digit(n) for n in range(FEW)})
    with running_api(ahead), running_api(behind), Relay(ahead.api_port) as proxy:
        browser.run(
            "a machine behind",
            f"http://127.0.0.1:{proxy.port}",
            outside={
                "lead to the one behind": lambda: proxy.lead_to(behind.api_port),
                "catch up": lambda: catching_up.put({f"digit/{n}": digit(n) for n in range(FEW, ALL + 1)}),
                "lead to the one ahead": lambda: proxy.lead_to(ahead.api_port),
            },
            few=FEW,
            all=ALL,
        )


def test_an_address_is_searched_for_in_the_collection_that_is_shown(browser: Driver, tmp_path: Path) -> None:
    """The picture is one that the page itself brings."""
    settings = settings_for(tmp_path, search_by_address=True, private_addresses=True)
    Gallery(settings).put({f"digit/{n}": digit(n) for n in range(FEW)})
    cats = Collection(name="cats", encoder=settings.encoder, partitions=1, created_at_ms=1000)
    own = settings_of(settings, cats)
    Gallery(own).put({f"cat/{n}": digit(n) for n in range(ALL)})
    write_serving(own.index_dir, Serving(settings.encoder))
    write_collection(settings, cats)
    with running_api(settings) as address:
        browser.run("an address in a collection", address, name=cats.name, count=ALL)
