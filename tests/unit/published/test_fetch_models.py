"""Downloads from a server on this machine that stands in for the hosts, with all that goes wrong between."""

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from helpers import REPOSITORY, error_line, run_program, tree
from published import NAME, RECIPE, Published

from virnucflow.cli import Failure, InputError
from virnucflow.published.catalogue import PublishedFile, read_recipe
from virnucflow.published.download import BLOCK, Lock, Patience, download, fetch_files, git_blob, take_files

IMPATIENT = Patience(attempts=3, wait=0.01, timeout=0.5)
CONTENT = bytes(range(256)) * (16 * BLOCK // 256)
NUMBER = len(CONTENT)
MANY = 4096  # blocks, of one who does not stop sending
CHUNKED = "Transfer-Encoding: chunked\r\n"
ESCAPES = "\x1b[31m\x9b\x07"  # what a terminal would obey


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


class Host(ThreadingHTTPServer):
    """Serves the files of a folder. `faults` has what happens to a path's next requests, one after another."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.folder, self.faults, self.requests, self.sent = folder, {}, [], 0
        self.base = f"http://127.0.0.1:{self.server_port}"
        self.closing = threading.Event()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def handle_error(self, request, address) -> None:
        """The client goes away: that is part of the tests."""


class Answer(BaseHTTPRequestHandler):
    server: Host

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        self.server.requests.append((name, start))
        faults = self.server.faults.get(name, [])
        fault = faults.pop(0) if faults else ""
        if fault.isdecimal():
            self.send_error(int(fault))
            return
        if fault in ("redirect", "redirect with a body"):
            self.send_response(302)
            self.send_header("Location", f"{self.server.base}/elsewhere/{name}")
            self.end_headers()
            for _ in range(MANY if fault == "redirect with a body" else 0):
                self.wfile.write(bytes(BLOCK))
                self.server.sent += BLOCK
            return
        if fault.startswith("raw "):  # what comes before the content, as it is
            self.wfile.write(fault.removeprefix("raw ").encode("latin-1") + b"\r\n\r\n")
            self.wfile.write((self.server.folder / name).read_bytes())
            return
        if fault.startswith("endless"):
            self.wfile.write(f"HTTP/1.1 200 OK\r\n{CHUNKED if 'chunked' in fault else ''}\r\n".encode())
            for _ in range(MANY):
                self.wfile.write(chunk(bytes(BLOCK)) if "chunked" in fault else bytes(BLOCK))
                self.server.sent += BLOCK
            return
        if fault == "chunks that end early":
            self.protocol_version = "HTTP/1.1"
            self.wfile.write(f"HTTP/1.1 200 OK\r\n{CHUNKED}\r\n".encode() + chunk(CONTENT[:BLOCK]))
            return
        if fault == "no length, cut":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n" + CONTENT[:BLOCK])
            return
        content = (self.server.folder / name.removeprefix("elsewhere/")).read_bytes()
        if fault == "changed":
            content = content[:-1] + bytes([content[-1] ^ 1])
        if fault == "short":
            content = content[:-10]
        if fault == "no ranges":
            start = 0
        if start >= len(content) > 0:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if fault == "login":
            self.send_header("Content-Type", "text/html; charset=utf-8")
        if start:
            first = start + 1 if fault == "other range" else start
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if fault == "stall":
            self.wfile.write(content[start : start + BLOCK])
            self.wfile.flush()
            self.server.closing.wait(5)
        elif fault == "cut":
            self.wfile.write(content[start : (start + len(content)) // 2])
        else:
            self.wfile.write(content[start:])


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "file").write_bytes(CONTENT)
    server = Host(tmp_path / "host")
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()


def get(host: Host, path: Path, size: int | None = NUMBER, patience: Patience = IMPATIENT) -> list[int]:
    """Download the file; gives the bytes at which the requests began."""
    download(f"{host.base}/file", path, size, patience)
    assert path.read_bytes() == CONTENT
    return [start for name, start in host.requests if name == "file"]


# What a server or a network does, and from where the file is asked for then.
FAULTS = {
    "nothing": ([], [0]),
    "a cut": (["cut"], [0, NUMBER // 2]),
    "two cuts": (["cut", "cut"], [0, NUMBER // 2, NUMBER * 3 // 4]),
    "a cut, and no ranges": (["cut", "no ranges"], [0, NUMBER // 2]),
    "a cut, and another range": (["cut", "other range"], [0, NUMBER // 2, 0]),
    "503, then success": (["503", "503"], [0, 0, 0]),
    "429, then success": (["429"], [0, 0]),
    "a server that stalls": (["stall"], [0, BLOCK]),
    "a redirect": (["redirect"], [0]),
    "a redirect that does not stop sending": (["redirect with a body"], [0]),
    "no length": (["raw HTTP/1.1 200 OK"], [0]),
    "a part that was not asked for": ([f"raw HTTP/1.1 206 X\r\nContent-Range: bytes 0-{NUMBER - 1}/{NUMBER}"], [0]),
    "a part, and it does not say which": (["raw HTTP/1.1 206 Partial Content"], [0, 0]),
    "another part than was asked for": (["raw HTTP/1.1 206 X\r\nContent-Range: bytes 5-9/10"], [0, 0]),
    "a part of another length": (
        [f"raw HTTP/1.1 206 X\r\nContent-Range: bytes 0-9/{NUMBER}\r\nContent-Length: 7"],
        [0, 0],
    ),
    "a part that ends before it begins": (["raw HTTP/1.1 206 X\r\nContent-Range: bytes 0--1/0"], [0, 0]),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("size", [NUMBER, None])
def test_the_right_file_comes(fault: str, size: int | None, host: Host, tmp_path: Path) -> None:
    faults, starts = FAULTS[fault]
    host.faults["file"] = list(faults)
    assert get(host, tmp_path / "x", size) == starts
    assert host.sent < MANY * BLOCK / 2, "a redirect's body was taken"


def test_a_later_run_goes_on(host: Host, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(CONTENT[:1234])
    assert get(host, tmp_path / "x") == [1234]
    assert get(host, tmp_path / "x") == [1234], "what is whole is asked for again"


def test_more_than_there_is(host: Host, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(CONTENT + b"more")
    assert get(host, tmp_path / "x") == [NUMBER + 4, 0]


def failure(url: str, path: Path, size: int | None = NUMBER) -> str:
    with pytest.raises(Failure) as caught:
        download(url, path, size, IMPATIENT)
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize(
    ("faults", "message", "requests"),
    [
        (["404"], "the server says 404 Not Found; check the address in config/models.yaml", 1),
        (["403"], "the server says 403 Forbidden", 1),
        (["login"], "a web page came, not the file; log in to the network", 1),
        (["503"] * 9, "the server says 503 Service Unavailable; run again to go on, or bring the file by hand", 3),
        (["stall"] * 9, "Read timed out.; run again to go on", 3),
        (["cut"] * 9, "run again to go on", 3),
        (["no length, cut"] * 9, f"the answer ended after {BLOCK} of {NUMBER} bytes; run again to go on", 3),
        (["chunks that end early"] * 9, "run again to go on", 3),
        (["endless"], f"has more than {NUMBER} bytes: not what was published; nothing was kept", 1),
        (["endless, chunked"], f"has more than {NUMBER} bytes: not what was published; nothing was kept", 1),
        (["raw HTTP/1.1 200 OK\r\nContent-Length: abc"], "says Content-Length abc, which is no length", 1),
        (["raw HTTP/1.1 200 OK\r\nContent-Length: -5"], "says Content-Length -5, which is no length", 1),
        (["raw HTTP/1.1 200 OK\r\nContent-Length: " + "9" * 5000], "says Content-Length 999", 1),
        (["raw HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5"], "Content-Length 5, 5, which is no", 1),
        (["raw HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6"], "multiple unmatching values (5, 6)", 1),
        (["raw HTTP/1.1 200 OK\r\nContent-Encoding: gzip"], "came encoded (gzip), which was not asked for", 1),
        ([f"raw HTTP/1.1 404 {ESCAPES}Gone{ESCAPES}"], "the server says 404 ?[31m??Gone?[31m??; check the address", 1),
        ([f"raw HTTP/1.1 503 {ESCAPES}" + "x" * 9999] * 9, "the server says 503 ?[31m??xxx", 3),
        ([f"raw HTTP/1.1 200 OK\r\nContent-Encoding: {ESCAPES}"], "came encoded (?[31m??)", 1),
        (["raw HTTP/1.1 302 X\r\nLocation: gopher://x\x1b"], "for 'gopher://x%1B'; run again", 1),
        (["raw HTTP/1.1 302 X\r\nLocation: http://[::1"], "run again to go on, or bring the file by hand", 1),
        (["raw HTTP/1.1 302 X\r\nLocation: http://\xff/"], "run again to go on, or bring the file by hand", 1),
        (["raw HTTP/1.1 302 X\r\nLocation: file:///etc/passwd"], "No connection adapters were found for 'file:///", 1),
        ([f"raw SSH-2.0-{ESCAPES}"] * 9, "run again to go on, or bring the file by hand", 3),
        (["raw HTTP/1.1 200 OK\r\n" + "x" * 99_999] * 9, "run again to go on, or bring the file by hand", 3),
        (["raw HTTP/1.1 200 OK\r\n" + "x: y\r\n" * 999] * 9, "run again to go on, or bring the file by hand", 3),
        (["raw HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked"] * 9, "run again to go on, or bring the file by ha", 3),
        (["raw HTTP/1.1 206 X\r\nContent-Range: bytes 1-9/10"] * 9, "does not go on from here; beginning anew", 3),
        (["short"], f"has {NUMBER - 10} bytes, not {NUMBER}: not what was published; nothing was kept", 1),
    ],
)
def test_faults_that_stay_end_in_one_line(faults: list, message: str, requests: int, host: Host, tmp_path) -> None:
    host.faults["file"] = faults
    said = failure(f"{host.base}/file", tmp_path / "x")
    assert said.startswith(f"{host.base}/file: ") and message in said and len(host.requests) == requests
    assert len(said) < 600
    assert host.sent < NUMBER + MANY * BLOCK / 2, "the rest was taken too"
    assert not (tmp_path / "x").exists() or (tmp_path / "x").stat().st_size <= NUMBER, "it was written"


def test_a_server_that_redirects_for_ever(host: Host, tmp_path: Path) -> None:
    host.faults |= {"elsewhere/" * n + "file": ["redirect"] * 99 for n in range(99)}
    assert "redirects" in failure(f"{host.base}/file", tmp_path / "x")


def test_no_network(tmp_path: Path) -> None:
    assert "Connection refused; run again to go on" in failure("http://127.0.0.1:9/file", tmp_path / "x")
    said = failure("http://nowhere.invalid/file", tmp_path / "x")
    assert "nowhere.invalid" in said and "published_files" in said
    assert "http:/file" in failure("http:/file", tmp_path / "x")


def test_no_disk(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").symlink_to("/dev/full")
    assert f"{tmp_path / 'x'}: No space left on device; make room" in failure(f"{host.base}/file", tmp_path / "x")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    assert "y: 0.0 GB to come, 0.0 GB free; make room" in failure(f"{host.base}/file", tmp_path / "y")
    assert not (tmp_path / "y").exists()


# Files that are held to what is known of them.


def published_file(host: Host, **known: object) -> PublishedFile:
    return PublishedFile("folder/file", f"{host.base}/file", "", "", **known)


@pytest.fixture
def lock(tmp_path: Path) -> Lock:
    return Lock(tmp_path / "lock.json")


def blob() -> str:
    return hashlib.sha1(b"blob %d\0" % NUMBER + CONTENT).hexdigest()


def sha256() -> str:
    return hashlib.sha256(CONTENT).hexdigest()


def fetch(file: PublishedFile, folder: Path, lock: Lock) -> Path:
    path = fetch_files([file], folder, lock, IMPATIENT)[file.name]
    assert path == folder / "folder" / "file" and path.read_bytes() == CONTENT
    assert list(folder.rglob("*.part")) == []
    return path


@pytest.mark.parametrize("known", [{"sha256": sha256()}, {"git_blob": blob()}, {"size": NUMBER}, {}], ids=str)
def test_a_second_run_asks_for_nothing(known: dict, host: Host, tmp_path: Path, lock: Lock) -> None:
    file = published_file(host, **known)
    fetch(file, tmp_path / "d", lock)
    assert git_blob(tmp_path / "d" / "folder" / "file") == blob()
    fetch(file, tmp_path / "d", Lock(lock.path))
    assert len(host.requests) == 1


@pytest.mark.parametrize("known", [{"sha256": sha256()}, {"git_blob": blob()}, {}], ids=str)
def test_a_damaged_file_is_fetched_again(known: dict, host: Host, tmp_path: Path, lock: Lock, caplog) -> None:
    file = published_file(host, **known)
    fetch(file, tmp_path / "d", lock).write_bytes(CONTENT[:-1] + b"x")
    fetch(file, tmp_path / "d", lock)
    assert len(host.requests) == 2 and "fetching it again" in caplog.text


@pytest.mark.parametrize("known", [{"sha256": sha256()}, {"git_blob": blob()}], ids=str)
def test_a_part_of_another_file_is_thrown_away(known: dict, host: Host, tmp_path: Path, lock: Lock, caplog) -> None:
    (tmp_path / "d" / "folder").mkdir(parents=True)
    (tmp_path / "d" / "folder" / "file.part").write_bytes(b"x" * 1000)
    fetch(published_file(host, **known), tmp_path / "d", lock)
    assert [start for _, start in host.requests] == [1000, 0] and "beginning anew" in caplog.text


def test_a_part_of_a_file_without_checksum_is_not_trusted(host: Host, tmp_path: Path, lock: Lock) -> None:
    (tmp_path / "d" / "folder").mkdir(parents=True)
    (tmp_path / "d" / "folder" / "file.part").write_bytes(b"x" * 1000)
    fetch(published_file(host), tmp_path / "d", lock)
    assert [start for _, start in host.requests] == [0]


@pytest.mark.parametrize(
    ("known", "message"),
    [({"sha256": sha256()}, f"not the {sha256()} that was published"), ({"git_blob": blob()}, f"not the {blob()}")],
    ids=["sha256", "git_blob"],
)
def test_another_file_than_published_is_refused(known, message, host: Host, tmp_path: Path, lock: Lock) -> None:
    host.faults["file"] = ["changed"] * 9
    with pytest.raises(Failure, match="what came is not what was published") as caught:
        fetch(published_file(host, **known), tmp_path / "d", lock)
    assert message in str(caught.value) and [p for p in (tmp_path / "d").rglob("*") if p.is_file()] == []


def test_what_has_no_checksum_is_locked_at_the_first_fetch(host: Host, tmp_path: Path, lock: Lock, caplog) -> None:
    file = published_file(host)
    fetch(file, tmp_path / "d", lock)
    assert json.loads(lock.path.read_text()) == {f"{host.base}/file": sha256()}
    assert "was published without a checksum" in caplog.text
    shutil.rmtree(tmp_path / "d")
    host.faults["file"] = ["changed"] * 9
    with pytest.raises(Failure, match=f"not the {sha256()} of the first fetch; if it was changed for good, edit"):
        fetch(file, tmp_path / "d", Lock(lock.path))
    host.faults.clear()
    fetch(file, tmp_path / "d", Lock(lock.path))


@pytest.mark.parametrize(
    "content",
    [
        "{", "", "[]", "null", "7", '"x"', '{"a": 1}', '{"a": null}', '{"a": ["x"]}', '{"a": "short"}', "\udcff", "NaN",
        "[" * 99_999, '{"a":' * 9999, " " * (1 << 20), "9" * 9999, '{"a": "' + "A" * 64 + '"}',
    ],
)  # fmt: skip
def test_a_damaged_lock_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError) as caught:
        Lock(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ") and said.endswith("; restore it, or delete it to trust what comes next")
    assert said.isprintable() and len(said) < len(str(path)) + 300


def test_files_brought_by_hand(host: Host, tmp_path: Path, lock: Lock) -> None:
    file = published_file(host, sha256=sha256())
    path = tmp_path / "d" / "folder" / "file"
    with pytest.raises(InputError, match=f"{path}: no such file; bring it from {host.base}/file"):
        take_files([file], tmp_path / "d", lock)
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(InputError, match="that was published; bring it again from"):
        take_files([file], tmp_path / "d", lock)
    path.write_bytes(CONTENT)
    assert take_files([file], tmp_path / "d", lock) == {"folder/file": path}
    assert host.requests == []


# The program.


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return Published(tmp_path_factory.mktemp("published"))


@pytest.fixture
def hosted(published: Published, tmp_path: Path) -> Iterator[tuple[Host, Path]]:
    server = Host(published.folder)
    yield server, published.write_catalogue(tmp_path / "models.yaml", server.base)
    server.closing.set()
    server.shutdown()
    server.server_close()


def run_fetch(catalogue: Path, model: Path, *more: object, code: int = 0) -> str:
    quick = ["--attempts", 2, "--wait", 0.01, "--timeout", 5]
    said = run_program("fetch_models", "--catalogue", catalogue, "--model", model, *quick, *more, code=code)
    return error_line(said) if code else said


def test_fetch_then_nothing_to_do_then_repair(hosted: tuple[Host, Path], tmp_path: Path) -> None:
    host, catalogue = hosted
    host.faults[RECIPE.esm2_weights] = ["cut"]
    pack = tmp_path / "models" / NAME
    assert f"{pack} is ready" in run_fetch(catalogue, pack)
    files, requests = tree(tmp_path / "models"), len(host.requests)
    assert requests == len(RECIPE.files) + 1
    times = {path: path.stat().st_mtime_ns for path in pack.iterdir()}
    assert f"{pack} is there and whole: nothing to do" in run_fetch(catalogue, pack)
    assert {path: path.stat().st_mtime_ns for path in pack.iterdir()} == times
    (pack / "esm2.safetensors").write_bytes(b"damaged")
    assert "is damaged (esm2.safetensors); making it again" in run_fetch(catalogue, pack)
    (pack / "classifier.safetensors").unlink()
    (tmp_path / "models" / "downloads" / RECIPE.classifier).write_bytes(b"damaged")
    assert "fetching it again" in run_fetch(catalogue, pack)
    assert len(host.requests) == requests + 1 and tree(tmp_path / "models") == files


def test_nothing_is_left_of_a_pack_that_could_not_be_made(hosted: tuple[Host, Path], tmp_path: Path) -> None:
    host, catalogue = hosted
    host.faults[RECIPE.classifier] = ["404"]
    said = run_fetch(catalogue, tmp_path / "models" / NAME, code=1)
    assert f"{RECIPE.classifier}: the server says 404 Not Found" in said
    assert not (tmp_path / "models" / NAME).exists()
    run_fetch(catalogue, tmp_path / "models" / NAME)
    assert len(host.requests) == len(RECIPE.files) + 1, "what was fetched is fetched again"


def test_packs_share_their_files(hosted: tuple[Host, Path], tmp_path: Path) -> None:
    host, catalogue = hosted
    run_fetch(catalogue, tmp_path / "models" / NAME)
    before = len(host.requests)
    run_fetch(catalogue, tmp_path / "models" / "esm2-3b")
    assert len(host.requests) == before


def test_unknown_pack_and_bad_catalogue(tmp_path: Path) -> None:
    catalogue = tmp_path / "models.yaml"
    catalogue.write_text((REPOSITORY / "config" / "models.yaml").read_text())
    said = run_fetch(catalogue, tmp_path / "virnucpro-700", code=2)
    assert "knows no pack 'virnucpro-700'; set model_pack to one of virnucpro-500, virnucpro-300, esm2-3b" in said
    catalogue.write_text("packs: {a: {}}")
    assert "not a table of models" in run_fetch(catalogue, tmp_path / "a", code=2)
    catalogue.write_text("packs: [")
    assert "not a table of models" in run_fetch(catalogue, tmp_path / "a", code=2)


@pytest.mark.parametrize(
    "name", ["virnucpro-300", "virnucpro-500", "esm2-3b", "esm2-650m", "esm2-150m", "esm2-35m", "esm2-8m"]
)
def test_every_pack_of_the_catalogue_has_its_files(name: str) -> None:
    recipe = read_recipe(REPOSITORY / "config" / "models.yaml", name)
    assert bool(recipe.classifier) == bool(recipe.chunk_length) == name.startswith("virnucpro")
    assert all(file.url.startswith("https://") and file.licence and file.citation for file in recipe.files.values())
    without = {file.name for file in recipe.files.values() if not file.has_checksum}
    assert without <= {f"esm2_{size}_UR50D.pt" for size in ("t30_150M", "t12_35M", "t6_8M")}
    assert all("/main/" not in file.url and "/master/" not in file.url for file in recipe.files.values())


CATALOGUE = (REPOSITORY / "config" / "models.yaml").read_text()


def laughs(merge: str) -> str:
    """A text that PyYAML's own merge keys, or whoever formats it, makes 2**60 values of."""
    lines = ["a0: &a0 {x: y}"] + [f"a{n}: &a{n} {{{merge}: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 60)]
    return "\n".join(lines) + "\n"


def changed(old: str, new: str) -> str:
    assert CATALOGUE.count(old) >= 1
    return CATALOGUE.replace(old, new)


@pytest.mark.parametrize(
    ("content", "message"),
    {
        "empty": ("", "it: Expected `object`"),
        "a list": ("[]", "it: Expected `object`, got `array`"),
        "deep nesting": ("[" * 99_999, "not a table of models"),
        "deep tables": ("{a: " * 9999, "not a table of models"),
        "large": (" " * (1 << 20), "has more than 262144 bytes"),
        "not text": ("\udcff", "not UTF-8 text (byte 0)"),
        "control characters": ("\x1b[31m", "not a table of models"),
        "a tag": ("!!python/object/apply:os.system ['touch victim']", "it: Expected `object`, got `array`"),
        "laughs": (laughs("l") + CATALOGUE, "it: Object contains unknown field `a0`"),
        "merged laughs": (laughs("<<") + CATALOGUE, "it: Object contains unknown field `a0`"),
        "laughs for a pack": (
            laughs("l")
            + "packs: {virnucpro-500: *a59}\nfiles: {}\nreference: {source: x, chunk_length: 500, runs: []}",
            "unknown field `a0`",
        ),
        "laughs in a pack": (CATALOGUE + "x: &x [y]\nz: [*x, *x]", "unknown field `x`"),
        "a key that is a table": ("{? {a: b} : c}", "not a table of models"),
        "a pack that is a text": (
            changed("  virnucpro-500:\n", "  virnucpro-500: x\n  other:\n"),
            "pack virnucpro-500: Expected `object`, got `str`",
        ),
        "a line end less": (changed("500_model.pth\n", "500_model.pth\ufeff"), "not a table of models"),
        "a text for a number": (
            changed("chunk_length: 500\n    esm2", "chunk_length: x\n    esm2"),
            "Expected `int | null`, got `str` - at `$.chunk_length`",
        ),
        "another reference": (
            changed("reference: [dnabert_s, esm2, scores]", "reference: [weights]"),
            "Invalid enum value",
        ),
        "an unknown key": (
            changed("size: 1025", "length: 1025"),
            "file DNABERT-S/config.json: Object contains unknown field `length`",
        ),
        "a list for a size": (
            changed("size: 1025", "size: [1025]"),
            "Expected `int | null`, got `array` - at `$.size`",
        ),
        "a negative size": (changed("size: 1025", "size: -1"), "Expected `int` >= 0"),
        "a huge size": (changed("size: 1025", "size: " + "9" * 9999), "Expected `int | null`, got `str`|out of range"),
        "a short checksum": (changed("sha256: d54c", "sha256: d5"), "Expected `str` matching regex"),
        "a list for an address": (
            changed("url: https://hug", "url: [https://hug]\n    x: https://hug"),
            "file DNABERT-S/pytorch_model.bin",
        ),
        "an address with blanks": (changed("url: https://hug", "url: https:// hug"), "Expected `str` matching regex"),
        "another protocol": (changed("url: https://hug", "url: file:///hug"), "Expected `str` matching regex"),
        "an unknown number": (changed("layer_norm_eps", "epsilon"), "dnabert_s: unknown epsilon"),
        "a missing number": (changed("      layer_norm_eps: 1.0e-12\n", ""), "missing required field `layer_norm_eps`"),
        "not a number": (changed("1.0e-12", ".nan"), "dnabert_s: Expected `float`, got `str`"),
        "NaN": (changed("1.0e-12", "nan"), "Expected `float` > 0.0 - at `$.layer_norm_eps`"),
        "too many layers": (
            changed("num_layers: 36", "num_layers: 99999"),
            "int` <= 1000 - at `$.num_layers`",
        ),
        "no heads": (
            changed("attention_heads: 40", "attention_heads: 0"),
            "int` >= 1 - at `$.attention_heads`",
        ),
        "heads that do not divide": (
            changed("attention_heads: 40", "attention_heads: 39"),
            "which does not divide",
        ),
        "a file that is not there": (changed("weights: esm2_t36_3B_UR50D.pt", "weights: x.pt"), "files has no x.pt"),
        "no file": (changed("weights: esm2_t36_3B_UR50D.pt, ", ""), "'' is no name of a file in a folder"),
        "a file elsewhere": (changed("weights: esm2_t36_3B_UR50D.pt", "weights: ../x"), "'../x' is no name of a file"),
        "a file anywhere": (changed("weights: esm2_t36_3B_UR50D.pt", "weights: /x"), "'/x' is no name of a file"),
        "a name with escapes": (changed("weights: esm2_t36_3B_UR50D.pt", 'weights: "x\\e[31m"'), "'x?[31m' is no name"),
    }.values(),
)
def test_a_damaged_catalogue_is_refused(content: str, message: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "models.yaml"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError) as caught:
        read_recipe(path, "virnucpro-500")
    said = str(caught.value)
    assert said.startswith(f"{path}: ") and said.endswith("; compare with the workflow's own")
    assert any(part in said for part in message.split("|")), said
    assert said.isprintable() and len(said) < len(str(path)) + 500
    assert [file.name for file in tmp_path.iterdir()] == ["models.yaml"]


def test_the_catalogue_may_use_aliases_and_merge_nothing(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_text(CATALOGUE.replace("files:\n", "files:\n  laughs: {x: [&x [y], *x, *x]}\n", 1))
    assert read_recipe(path, "virnucpro-500") == read_recipe(REPOSITORY / "config" / "models.yaml", "virnucpro-500")
