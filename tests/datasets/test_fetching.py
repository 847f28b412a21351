"""Fetching archives: what comes short, wrong or not at all."""

from __future__ import annotations

import errno
import hashlib
import http.client
import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.data import archives, incoming
from bench.errors import InputError
from bench.events import DataRead, Event
from tests.datasets.toys import refused, visible


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """`serve(body, length)` answers /toy2-8.tgz with the body, claiming that length."""
    answers: dict[str, tuple[bytes, int | str]] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path not in answers:
                self.send_error(404)
                return
            body, length = answers[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    def start(body: bytes | None = None, length: int | str | None = None) -> str:
        if body is not None:
            answers["/toy2-8.tgz"] = (body, len(body) if length is None else length)
        return f"http://127.0.0.1:{server.server_port}/"

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield start
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.usefixtures("toy")
def test_a_fetched_archive_becomes_the_dataset(
    archive: Path, data: Path, serve: Callable[..., str]
) -> None:
    base, seen = serve(archive.read_bytes()), list[Event]()
    dataset = incoming.fetch("toy-8", base=base, tell=seen.append)
    size = archive.stat().st_size
    assert dataset.manifest.origin == f"fetched from {base}toy2-8.tgz"
    assert dataset.manifest.archive.published
    assert DataRead("download", size, size) in seen
    assert visible(data) == ["toy-8"]
    assert sorted(p.suffix for p in (data / "toy-8").iterdir()) == [
        ".bin",
        ".bin",
        ".json",
        ".parquet",
        ".parquet",
    ]


@pytest.mark.usefixtures("toy")
def test_a_download_cut_short_is_said(archive: Path, data: Path, serve: Callable[..., str]) -> None:
    size = archive.stat().st_size
    base = serve(archive.read_bytes()[:100], size)
    text = f"{base}toy2-8.tgz broke off after 100 of {size} bytes; fetch it again"
    refused(data, text, lambda: incoming.fetch("toy-8", base=base))


@pytest.mark.usefixtures("toy")
def test_a_download_with_a_wrong_digest_is_said(
    archive: Path, data: Path, serve: Callable[..., str]
) -> None:
    body = archive.read_bytes() + b"\0"
    base = serve(body)
    text = (
        f"{base}toy2-8.tgz is not the published archive: its sha256 is "
        f"{hashlib.sha256(body).hexdigest()}, its md5 {hashlib.md5(body).hexdigest()}; nothing of "
        "it was kept"
    )
    refused(data, text, lambda: incoming.fetch("toy-8", base=base))


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("length", ["abc", "-5", "9" * 5000, "1e3", "٣"])
def test_a_length_that_is_none_is_not_believed(
    archive: Path, serve: Callable[..., str], length: str
) -> None:
    base = serve(archive.read_bytes(), length.encode().decode("latin-1"))
    assert incoming.fetch("toy-8", base=base).doubt == ""


@pytest.mark.usefixtures("toy")
def test_an_archive_for_which_there_is_no_room_is_not_fetched(
    archive: Path, data: Path, serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = serve(archive.read_bytes())
    monkeypatch.setattr(incoming, "free_bytes", lambda _: 100)
    with pytest.raises(InputError, match=r"toy2-8.tgz has 0.00 GB; 0.00 GB are free in "):
        incoming.fetch("toy-8", base=base)
    assert visible(data) == []


@pytest.mark.usefixtures("toy")
def test_a_missing_archive_on_the_server_is_said(data: Path, serve: Callable[..., str]) -> None:
    base = serve()
    text = f"{base}toy2-8.tgz answered 404 Not Found"
    refused(data, text, lambda: incoming.fetch("toy-8", base=base))


@pytest.mark.usefixtures("toy")
def test_an_unreachable_server_is_said(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(
        InputError, match=r"^http://127.0.0.1:9/toy2-8.tgz cannot be reached \(.*refused\); an arc"
    ):
        incoming.fetch("toy-8", base="http://127.0.0.1:9")
    assert visible(data) == []


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("base", ["", "http://[::1", "x:y", f"http://{'a' * 70}.invalid"])
def test_an_address_that_is_none_is_said(data: Path, base: str) -> None:
    with pytest.raises(InputError, match=r"toy2-8.tgz cannot be reached \(.*\); an archive"):
        incoming.fetch("toy-8", base=base)
    assert visible(data) == []


@pytest.mark.usefixtures("toy")
def test_a_server_that_never_answers_is_said(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(archives, "TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        base = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(InputError, match=r"cannot be reached \(timed out\); an archive"):
            incoming.fetch("toy-8", base=base)
    assert visible(data) == []


@pytest.mark.usefixtures("toy")
def test_a_network_that_fails_in_the_middle_is_not_blamed_on_the_disk(
    archive: Path, serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> bytes:
        raise OSError(errno.EHOSTUNREACH, "No route to host")

    monkeypatch.setattr(http.client.HTTPResponse, "read", lost)
    with pytest.raises(InputError, match=r"toy2-8.tgz cannot be reached \(.*No route to host\)"):
        incoming.fetch("toy-8", base=serve(archive.read_bytes()))


def test_a_dataset_without_an_archive_is_not_fetched(pictures: Path, data: Path) -> None:
    incoming.import_local(pictures, name="mine")
    text = "dataset 'mine' has no archive to fetch: it is a set of your own"
    refused(data, text, lambda: incoming.fetch("mine"))
    text = "dataset 'synthetic-fine' has no archive to fetch: it is generated on first use"
    refused(data, text, lambda: incoming.fetch("synthetic-fine"))
