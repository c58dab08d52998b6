"""A file is looked for in GALAB_DATA, then in the cache, then on the mirrors, and is never taken unverified."""

from __future__ import annotations

import functools
import gzip
import logging
import threading
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pooch
import pytest

from galab.errors import DataError
from galab.tasks.data import load_full
from galab.tasks.data.download import UnavailableError


@pytest.fixture
def mirror(tmp_path):
    """A web server on this machine: its address and the folder that it serves."""
    folder = tmp_path / "mirror"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *values):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", folder
        server.shutdown()
        thread.join()


def check(small, raw):
    np.testing.assert_array_equal(raw.train_images, small.arrays["train-images"])
    np.testing.assert_array_equal(raw.train_labels, small.arrays["train-labels"])
    np.testing.assert_array_equal(raw.test_images, small.arrays["t10k-images"])
    np.testing.assert_array_equal(raw.test_labels, small.arrays["t10k-labels"])


@pytest.mark.parametrize("gzipped", [True, False])
@pytest.mark.parametrize("place", ["GALAB_DATA", "cache"])
def test_files_are_found(small, cache, tmp_path, monkeypatch, gzipped, place):
    folder = cache
    if place == "GALAB_DATA":
        folder = tmp_path / "data"
        monkeypatch.setenv("GALAB_DATA", str(folder))
    small.write(folder, gzipped=gzipped)
    check(small, load_full(small.source))


def test_a_file_that_GALAB_DATA_lacks_is_taken_from_the_cache(small, cache, tmp_path, monkeypatch):
    folder = tmp_path / "data"
    small.write(folder)
    (folder / "small" / "t10k-images.gz").unlink()
    monkeypatch.setenv("GALAB_DATA", str(folder))
    small.write(cache)
    check(small, load_full(small.source))


@pytest.mark.parametrize("kind", ["absent", "file"])
def test_GALAB_DATA_must_be_a_folder(small, cache, tmp_path, monkeypatch, kind):
    small.write(cache)  # would do, but the user's word is not passed over
    path = tmp_path / "elsewhere"
    if kind == "file":
        path.write_text("x")
    monkeypatch.setenv("GALAB_DATA", str(path))
    with pytest.raises(DataError, match=r"expected a folder at '.*elsewhere' \(GALAB_DATA\), found none; create it"):
        load_full(small.source)


@pytest.mark.parametrize("place", ["GALAB_DATA", "cache"])
def test_a_wrong_checksum_names_file_and_hashes(small, cache, tmp_path, monkeypatch, place):
    folder = cache
    if place == "GALAB_DATA":
        folder = tmp_path / "data"
        monkeypatch.setenv("GALAB_DATA", str(folder))
    small.write(folder)
    path = folder / "small" / "train-labels.gz"
    path.write_bytes(gzip.compress(small.payloads["t10k-labels"]))
    expected, got = (small.source.train_labels.digest[7:19], small.source.test_labels.digest[7:19])
    with pytest.raises(DataError, match=rf"'{path}'.*\(sha256 {expected}\), got sha256 {got}; delete or replace"):
        load_full(small.source)


def test_without_network_one_sentence_says_what_to_do(small, cache):
    sentence = r"train-labels of small from a .* none of 2 mirrors \(no connection\); connect .* the four files into"
    with pytest.raises(UnavailableError, match=sentence):
        load_full(small.source)
    assert not cache.exists()


def test_a_download_is_verified_cached_and_not_repeated(small, cache, mirror, caplog):
    address, folder = mirror
    small.write(folder)
    source = replace(small.source, mirrors=("http://127.0.0.1:9/", f"{address}small/"))
    level = pooch.get_logger().level
    with caplog.at_level(logging.DEBUG, "galab"):
        check(small, load_full(source))
    assert "http://127.0.0.1:9/" in caplog.text  # the first mirror was tried
    assert pooch.get_logger().level == level
    assert sorted(p.name for p in (cache / "small").iterdir()) == sorted(small.payloads)
    check(small, load_full(small.source))  # its mirrors do not exist


def test_a_mirror_with_wrong_content_is_passed_over(small, cache, mirror):
    address, folder = mirror
    small.write(folder)
    small.write(folder / "bad")
    (folder / "bad" / "small" / "train-images.gz").write_bytes(b"<html>please log in</html>")
    (folder / "bad" / "small" / "t10k-images.gz").unlink()
    source = replace(small.source, mirrors=(f"{address}bad/small/", f"{address}small/"))
    check(small, load_full(source))


def test_mirrors_that_all_fail_are_told_with_their_reasons(small, cache, mirror):
    address, folder = mirror
    (folder / "train-labels.gz").write_bytes(gzip.compress(b"something else"))
    source = replace(small.source, mirrors=(address, f"{address}nothing/"))
    with pytest.raises(UnavailableError, match=r"from none of 2 mirrors \(HTTP 404, wrong content\)"):
        load_full(source)
    assert not cache.exists()


def test_a_failed_round_is_tried_again(small, cache, monkeypatch):
    calls = []

    def retrieve(url, path, fname, **options):
        calls.append(url)
        if len(calls) <= 2:
            raise ConnectionError
        (path / fname).write_bytes(gzip.compress(small.payloads[fname.removesuffix(".gz")]))

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    check(small, load_full(small.source))
    assert len(calls) == 6


def test_a_cache_that_cannot_be_written_is_no_reason_to_stop(small, cache, mirror, caplog):
    address, folder = mirror
    small.write(folder)
    cache.write_text("in the way")
    check(small, load_full(replace(small.source, mirrors=(f"{address}small/",))))
    assert "could not keep train-images in the cache" in caplog.text
