"""The committed page is what its sources and the API's OpenAPI document make, small enough, and free of inline code."""

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser.install import WEB, install, run

SIZE_BYTES_MAX = 120_000


@pytest.fixture(scope="module")
def web() -> Path:
    return install(WEB)


def test_committed_page_is_what_its_sources_build(web: Path, tmp_path: Path) -> None:
    """Another result? `make web` builds it anew."""
    run(["npx", "vite", "build", "--outDir", str(tmp_path), "--emptyOutDir"], web)
    assert contents(tmp_path) == contents(web / "dist")


def test_types_are_those_of_the_openapi_document(web: Path, tmp_path: Path) -> None:
    """Others? `make web` writes them anew."""
    document = subprocess.run([sys.executable, "-m", "api", "openapi"], capture_output=True, check=True).stdout
    (tmp_path / "openapi.json").write_bytes(document)
    run(["npx", "openapi-typescript", str(tmp_path / "openapi.json"), "-o", str(tmp_path / "schema.d.ts")], web)
    assert (tmp_path / "schema.d.ts").read_text() == (web / "src" / "api" / "schema.d.ts").read_text()
    run(["npx", "tsc", "--noEmit"], web)


def test_what_is_loaded_at_first_is_at_most_120_kilobytes_gzipped() -> None:
    files = contents(WEB / "dist")
    html = files["index.html"].decode()
    first = [content for name, content in files.items() if name == "index.html" or f'"./{name}"' in html]
    assert len(first) >= 3
    assert sum(len(gzip.compress(content)) for content in first) <= SIZE_BYTES_MAX


def test_page_has_no_inline_code_and_no_foreign_address() -> None:
    html = (WEB / "dist" / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", html)
    assert all(address.startswith("./") for address in re.findall(r'(?:src|href)="([^"]*)"', html))


@pytest.mark.parametrize("folder", [WEB, Path(__file__).parent], ids=["web", "browser"])
def test_lock_files_name_no_registry(folder: Path) -> None:
    packages = json.loads((folder / "package-lock.json").read_text())["packages"]
    assert not [name for name, package in packages.items() if "resolved" in package]


def test_a_tab_left_open_for_an_hour_keeps_ten_minutes(web: Path) -> None:
    """Sixty updates a second, each a swap, for an hour."""
    folder = web / "node_modules" / ".history-test"  # inside, so that it finds react
    run(["npx", "vite", "build", "--ssr", "src/live/useIndex.ts", "--outDir", str(folder), "--emptyOutDir"], web)
    script = """
        globalThis.location = new URL("http://page/");
        const { grown } = await import(process.argv[1]);
        let feed = { index: null, isConnected: false, samples: [], happenings: [] };
        for (let n = 0; n < 60 * 3600; n++) {
          feed = grown(feed, { index_id: "i", generation: n, count: n, base: { name: `b${n >> 12}`, count: n }, tail: { entries: 0 },
            rates: {}, lag: 0, freshness_ms: null, coverage: { offsets: { 0: n } } }, n * 1000 / 60);
        }
        console.log(feed.samples.length, feed.happenings.length, Math.round((feed.samples.at(-1).at - feed.samples[0].at) / 1000));
    """
    samples, happenings, span_s = run(
        ["node", "--input-type=module", "-e", script, str(folder / "useIndex.js")], web
    ).split()
    assert (int(samples), int(happenings)) == (1200, 60)
    assert 590 <= int(span_s) <= 660


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
