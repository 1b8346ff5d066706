"""Many who search with large images at once: small searches go on, and whoever is over its share is told when to come again."""

import io
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.api_gallery import Gallery, digit, running_api, settings_for
from tests.keys import add_key, bearer

LARGE_CLIENTS = 24
LASTS_S = 12.0


@pytest.mark.thorough
def test_a_crowd_with_large_images_keeps_nobody_else_waiting(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    Gallery(settings).put({f"digit/{n}": digit(n) for n in range(20)})
    greedy, modest = (add_key(settings.keys_file, name, "search") for name in ("greedy", "modest"))
    noise = np.random.default_rng(0).integers(0, 256, (1600, 1600, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "JPEG", quality=90)
    large = file.getvalue()
    assert len(large) > 2**20
    with running_api(settings) as address:

        def ask(key: str, image: bytes, client: httpx.Client) -> tuple[httpx.Response, float]:
            began_s = time.monotonic()
            headers = {**bearer(key), "Content-Type": "application/octet-stream"}
            response = client.post(f"{address}/v1/search?k=1&with=source", content=image, headers=headers)
            return response, time.monotonic() - began_s

        with httpx.Client(timeout=60) as client:
            for image in (digit(1), large):
                assert ask(modest, image, client)[0].status_code == 200  # both children have started
            quiet_s = max(ask(modest, large, client)[1] for _ in range(3))
        answers: list[tuple[httpx.Response, float]] = []
        until_s = time.monotonic() + LASTS_S

        def crowd() -> None:
            with httpx.Client(timeout=60) as client:
                while time.monotonic() < until_s:
                    answers.append(ask(greedy, large, client))
                    if answers[-1][0].status_code != 200:
                        time.sleep(float(answers[-1][0].headers["Retry-After"]))

        threads = [threading.Thread(target=crowd) for _ in range(LARGE_CLIENTS)]
        for thread in threads:
            thread.start()
        small, large_modest = [], []
        with httpx.Client(timeout=60) as client:
            while time.monotonic() < until_s:
                small.append(ask(modest, digit(1), client))
                if len(small) % 20 == 0:
                    large_modest.append(ask(modest, large, client))
        for thread in threads:
            thread.join()
    codes = {(response.status_code, response.json().get("code")) for response, _ in answers}
    took_s = sorted(took for response, took in answers if response.status_code == 200)
    told = f"quiet {quiet_s:.2f} s; greedy {len(took_s)} of {len(answers)}, median {took_s[len(took_s) // 2]:.2f} s, {codes}; "
    told += f"small {len(small)}, worst {max(took for _, took in small):.2f} s; large of the modest one {[round(t, 2) for _, t in large_modest]}"
    print(told)
    assert {response.status_code for response, _ in [*small, *large_modest]} == {200}, told
    assert codes <= {(200, None), (429, "over-share"), (503, "busy")}, told
    assert (429, "over-share") in codes, told
    assert len(small) > 50, told
    assert sorted(took for _, took in small)[len(small) // 2] < quiet_s, told
