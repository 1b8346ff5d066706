"""The page of an API that wants a key and lies below a path, without servers: the index alone answers."""

from pathlib import Path

from tests.api_gallery import Gallery, digit, running_api, settings_for
from tests.browser.driver import Driver
from tests.keys import add_key, revoke


def test_a_person_signs_in_once_and_the_browser_sends_the_key_with_everything(browser: Driver, tmp_path: Path) -> None:
    settings = settings_for(tmp_path, root_path="/below")
    Gallery(settings).put({f"digit/{n}": digit(n) for n in range(3)})
    key = add_key(settings.keys_file, "Ada", "search")

    def revoked() -> None:
        assert revoke(settings, "Ada") == 0

    with running_api(settings) as address:
        browser.run("sign in", address, outside={"revoke": revoked}, key=key, name="Ada")
