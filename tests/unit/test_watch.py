"""The live view of a terminal: within 80 columns, plain when piped, and steered by nobody."""

import io
import json
import os
import pty
import threading
import tty
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from lookalike_client import Client
from lookalike_client.keys import BEFORE, NEXT, Keys
from lookalike_client.watch import WIDTH, _neighbour, line, panel, watch
from tests.api_gallery import Gallery, digit, free_port, running_api, settings_for


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    settings = settings_for(tmp_path)
    gallery = Gallery(settings)
    gallery.put({"a" * 250: digit(0), "turns \u202e and \u2066": digit(1)})
    gallery.reject("truncated")
    with running_api(settings) as address:
        yield address


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_panel_fits_80_columns_and_says_what_is_unknown(address: str) -> None:
    lines = panel(Client(address).index(), address, [0.0, 5.0])
    text = "\n".join(lines)
    assert max(map(len, lines)) <= WIDTH < 80
    assert "images      2\n" in text
    assert "lag         unknown" in text
    assert "1 truncated" in text
    assert "kafka" in text
    assert "\u202e" not in text


def test_terminal_is_drawn_over_and_a_pipe_gets_plain_lines(address: str) -> None:
    terminal, pipe = Terminal(), io.StringIO()
    assert watch(address, 0.01, looks=2, output=terminal) == 0
    assert terminal.getvalue().count("\x1b[12F\x1b[J") == 1
    assert watch(address, 0.01, looks=2, output=pipe) == 0
    assert "\x1b" not in pipe.getvalue()
    assert [" images=2 " in told for told in pipe.getvalue().splitlines()] == [True, True]
    assert "lag=unknown" in line(Client(address).index())


def test_panel_names_the_collections_and_keys_lead_through_them(address: str) -> None:
    names = ["cats", "default", "dogs"]
    lines = panel(Client(address).index(), address, [], "default", names)
    assert lines[1:3] == ["collection  default", "tab         cats, dogs"]
    many = panel(Client(address).index(), address, [], "c" * 63, [f"c{n:062}" for n in range(200)])
    assert max(map(len, many)) <= WIDTH
    reached = ["default"]
    for key in (NEXT, NEXT, BEFORE, ""):
        reached.append(_neighbour(names, reached[-1], key))
    assert reached == ["default", "dogs", "cats", "dogs", "dogs"]


def test_keys_are_read_from_a_terminal_until_it_closes() -> None:
    ours, theirs = pty.openpty()
    tty.setcbreak(theirs)
    with os.fdopen(theirs) as terminal:
        keys = Keys(terminal)
        assert keys.wait(0.01) == ""
        for pressed, meaning in ((b"\t", NEXT), (b"\x1b[D", BEFORE)):
            os.write(ours, pressed)
            assert keys.wait(5) == meaning
        os.write(ours, b"x")
        assert keys.wait(0.05) == ""
    os.close(ours)


def test_collection_that_is_not_there_ends_the_view_with_how_to_create_it(capsys: pytest.CaptureFixture[str]) -> None:
    asked = []

    class Without(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()
            self.wfile.write(json.dumps({"code": "unknown-collection", "detail": "Create it: …"}).encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Without) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        said = io.StringIO()
        assert watch(f"http://127.0.0.1:{server.server_port}", 0.01, output=said, collection="cats") == 1
        server.shutdown()
        thread.join()
    assert (said.getvalue(), capsys.readouterr().err) == ("", "Create it: …\n")
    assert asked == ["/v1/collections/cats/index?"]


def test_api_that_is_away_is_said_and_asked_again() -> None:
    said = io.StringIO()
    assert watch(f"http://127.0.0.1:{free_port()}", 0.01, looks=2, output=said) == 1
    assert said.getvalue().count("does not answer, trying again") == 2


def test_answer_of_another_program_is_said_and_asked_again() -> None:
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(503)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        said = io.StringIO()
        assert watch(f"http://127.0.0.1:{server.server_port}", 0.01, looks=1, output=said) == 1
        server.shutdown()
        thread.join()
    assert "status 503" in said.getvalue()


def test_answers_are_written_as_json_and_failures_beside_them(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    answers, failures = Terminal(), io.StringIO()
    assert watch(address, 0.01, looks=2, output=answers, as_json=True) == 0
    assert [json.loads(told)["count"] for told in answers.getvalue().splitlines()] == [2, 2]
    assert watch(f"http://127.0.0.1:{free_port()}", 0.01, looks=1, output=failures, as_json=True) == 1
    assert failures.getvalue() == ""
    assert "does not answer" in capsys.readouterr().err
