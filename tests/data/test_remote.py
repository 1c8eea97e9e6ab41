"""Manifests and volumes on paths of fsspec."""

import http.server
import logging
import shutil
import socket
import threading
from functools import partial
from importlib import import_module
from pathlib import Path

import fsspec
import nibabel
import numpy as np
import pytest
from s3_common import SECRET, s3_server

from umd_engine.data import remote
from umd_engine.data.check import check_manifest
from umd_engine.data.content import content_of, stamp_of
from umd_engine.data.gzip_stream import ByteStream
from umd_engine.data.manifest import read_manifest, write_manifest
from umd_engine.data.nifti import read, read_header, write_labels
from umd_engine.data.nifti_header import parse_header
from umd_engine.data.scan import read_scan, scan_geometry
from umd_engine.errors import CorruptFileError, DataError, MissingFileError, ReadTimeoutError, shown

COLUMNS = "cohort,subject,scan_id,modality,image,unit,label,label_set"


@pytest.fixture
def s3(monkeypatch):
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    pytest.importorskip("moto", reason="moto is not installed")
    with s3_server(monkeypatch) as server:
        yield server


@pytest.fixture
def scan(tmp_path):
    """A scan of 9 MB that gzip cannot pack, its label, a label set and a manifest of both."""
    rng = np.random.default_rng(0)
    image = rng.integers(-1000, 3000, (150, 150, 200)).astype(np.int16)
    label = (rng.random(image.shape) < 0.01).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(image, np.diag([1, 2, 3, 1.0])), tmp_path / "a.nii.gz")
    nibabel.save(nibabel.Nifti1Image(label, np.diag([1, 2, 3, 1.0])), tmp_path / "a_label.nii.gz")
    (tmp_path / "labels.json").write_text('{"name": "mine", "labels": {"liver": 1}}')
    row = "petct,a,a_ct,ct,../scans/a.nii.gz,HU,../scans/a_label.nii.gz,../scans/labels.json"
    (tmp_path / "scans.csv").write_text(f"{COLUMNS}\n{row}\n")
    return tmp_path


def upload(scan, url):
    system, root = fsspec.core.url_to_fs(url)
    for name in ("a.nii.gz", "a_label.nii.gz", "labels.json"):
        system.pipe_file(f"{root}/scans/{name}", (scan / name).read_bytes())
    system.pipe_file(f"{root}/tables/scans.csv", (scan / "scans.csv").read_bytes())


def test_a_manifest_and_its_volumes_on_s3(s3, scan, caplog):
    caplog.set_level(logging.DEBUG, logger="umd_engine")
    upload(scan, "s3://scans/data")
    (row,) = read_manifest("s3://scans/data/tables/scans.csv")
    assert remote.url_of(row.images[0]) == "s3://scans/data/scans/a.nii.gz"
    found = read_scan(row)
    assert np.array_equal(found.images[0].voxels, read(scan / "a.nii.gz").voxels)
    assert found.label is not None and found.label_set is not None and found.label_set.ids == {"liver": (1,)}
    assert list(check_manifest("s3://scans/data/tables/scans.csv")) == []
    assert SECRET not in caplog.text


def test_a_header_is_read_from_a_range(s3, scan):
    upload(scan, "s3://scans/data")
    (row,) = read_manifest("s3://scans/data/tables/scans.csv")
    s3.lines.clear()
    assert scan_geometry(row) == ((150, 150, 200), (1.0, 2.0, 3.0))
    assert list(check_manifest("s3://scans/data/tables/scans.csv", deep=False)) == []
    for name in ("a.nii.gz", "a_label.nii.gz"):
        read = s3.requests("GET", name)
        assert read and all(" 206 " in line for line in read)  # partial content
    with ByteStream(row.images[0], block=remote.HEADER_BLOCK) as stream:
        parse_header(stream)
        cache = stream._file._file.cache
        assert cache.miss_count == 1 and cache.total_requested_bytes < 0.1 * (scan / "a.nii.gz").stat().st_size


def test_masks_are_written_to_s3_whole(s3, scan):
    upload(scan, "s3://scans/data")
    like = read_header("s3://scans/data/scans/a.nii.gz")
    labels = np.zeros(like.shape, np.uint8)
    labels[3:9] = 5
    write_labels("s3://scans/run/masks/a.nii.gz", labels, like)
    assert np.array_equal(read("s3://scans/run/masks/a.nii.gz").voxels, labels)
    there = remote.found_below(Path("s3://scans/run/masks"))
    assert there(Path("s3://scans/run/masks/a.nii.gz")) and not there(Path("s3://scans/run/masks/b.nii.gz"))


def test_what_is_wrong_on_s3_is_a_typed_error(s3, scan):
    upload(scan, "s3://scans/data")
    with pytest.raises(MissingFileError, match=r"s3://scans/nothing\.csv: no such manifest"):
        read_manifest("s3://scans/nothing.csv")
    with pytest.raises(MissingFileError, match=r"s3://scans/b\.nii\.gz: no such file"):
        read("s3://scans/b.nii.gz")
    content = (scan / "a.nii.gz").read_bytes()
    fsspec.filesystem("s3").pipe_file("scans/cut.nii.gz", content[: len(content) // 2])
    with pytest.raises(CorruptFileError, match="truncated"):
        read("s3://scans/cut.nii.gz")
    s3_gone = "s3://no-such-bucket/a.nii.gz"
    with pytest.raises(DataError, match="no-such-bucket"):
        read(s3_gone)


def test_a_scan_in_memory_and_over_http_without_ranges(scan):
    upload(scan, "memory://cohort")
    (row,) = read_manifest("memory://cohort/tables/scans.csv")
    wanted = read(scan / "a.nii.gz").voxels
    assert np.array_equal(read_scan(row).images[0].voxels, wanted)
    pytest.importorskip("aiohttp", reason="aiohttp is not installed")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=scan)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/a.nii.gz?signature=abc"
        assert np.array_equal(read(url).voxels, wanted)
        with pytest.raises(MissingFileError) as caught:
            read(url.replace("a.nii", "b.nii"))
        assert "abc" not in str(caught.value) and "b.nii.gz?***" in str(caught.value)
    finally:
        server.shutdown()


def test_a_changed_remote_file_has_another_stamp_and_content(scan):
    local, far = scan / "a.nii.gz", Path("memory://stamps/a.nii.gz")
    fsspec.filesystem("memory").pipe_file("/stamps/a.nii.gz", local.read_bytes())
    before = content_of(far)
    assert before.sha256 == content_of(local).sha256 and before.stamp.size == local.stat().st_size
    assert read(far, hashed=True).content == before and stamp_of(far) == before.stamp
    fsspec.filesystem("memory").pipe_file("/stamps/a.nii.gz", local.read_bytes())
    again = content_of(far)
    assert again.stamp != before.stamp and again.sha256 == before.sha256
    with pytest.raises(DataError, match="no such file"):
        stamp_of(Path("memory://stamps/none.nii"))


def test_an_object_has_the_stamp_of_its_etag(s3, scan):
    upload(scan, "s3://scans/data")
    far = Path("s3://scans/data/scans/a.nii.gz")
    before = content_of(far)
    upload(scan, "s3://scans/data")  # the same bytes: the same ETag
    assert read(far, hashed=True).content == before == content_of(far)
    fsspec.filesystem("s3").pipe_file("scans/data/scans/a.nii.gz", (scan / "a_label.nii.gz").read_bytes())
    assert stamp_of(far) != before.stamp and content_of(far).sha256 == content_of(scan / "a_label.nii.gz").sha256


def test_a_server_that_does_not_answer_is_waited_for_no_longer_than_said(scan):
    pytest.importorskip("aiohttp", reason="aiohttp is not installed")
    upload(scan, "memory://cohort")
    (row,) = read_manifest("memory://cohort/tables/scans.csv")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        far = Path(f"http://127.0.0.1:{silent.getsockname()[1]}/a.nii.gz")
        for look in (read_scan, scan_geometry):
            with pytest.raises(ReadTimeoutError, match=r"http://127\.0\.0\.1:.*not read within 0\.5 s"):
                look(row.model_copy(update={"images": (far,)}), timeout=0.5)


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(
        import_module("fsspec.registry").known_implementations,
        "far",
        {"class": "no_such_package.File", "err": "Install far to go far"},
    )
    with pytest.raises(DataError, match=r"far://x/a\.nii: .*Install far to go far"):
        read("far://x/a.nii")
    with pytest.raises(DataError, match="no file system has the scheme 'farther'"):
        read_manifest("farther://x/scans.csv")


def test_passwords_and_signatures_are_not_shown():
    assert shown(Path("https://me:secret@host/a/b.csv?X-Signature=abc")) == "https://***@host/a/b.csv?***"
    assert shown(Path("s3://bucket/a.nii.gz")) == "s3://bucket/a.nii.gz"
    assert shown(Path("abfs://container@account/a")) == "abfs://container@account/a"
    assert shown(Path("/data/a:/b?.nii")) == "/data/a:/b?.nii" and shown("line 3: /x/y") == "line 3: /x/y"
    error = DataError("cannot be read: https://h/x?k=1", where=Path("https://me:pw@host/x?y"))
    assert str(error).startswith("https://***@host/x?***: ")


def test_a_manifest_of_remote_scans_is_written_and_read_again(scan, tmp_path):
    upload(scan, "memory://cohort")
    rows = read_manifest("memory://cohort/tables/scans.csv")
    write_manifest(tmp_path / "far.csv", rows)
    assert "memory://cohort/scans/a.nii.gz" in (tmp_path / "far.csv").read_text()
    assert read_manifest(tmp_path / "far.csv") == rows


def test_the_url_of_a_path_is_the_one_it_was_made_of():
    for url in ("s3://bucket/a.nii.gz", "https://me@host:80/a?b=c", "file:///data/a.nii", "memory://a/b"):
        assert remote.is_remote(Path(url)) and remote.url_of(Path(url)) == url


def test_a_local_path_is_never_taken_for_a_remote_one(tmp_path, scan):
    for text in ("/a/b.csv", "a:b.csv", "c:/x", "s3:x", "a/s3://b"):
        assert not remote.is_remote(text), text
    folder = tmp_path / "a:b"
    shutil.copytree(scan, folder, ignore=shutil.ignore_patterns("a:b"))
    assert read(folder / "a.nii.gz").path == folder / "a.nii.gz"
