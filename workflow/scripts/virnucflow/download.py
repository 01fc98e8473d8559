"""Published files: downloaded with resume and retries, and held to what is known of them."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import requests
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential
from tqdm import tqdm

from virnucflow.catalogue import PublishedFile
from virnucflow.cli import Failure, InputError, log, staged
from virnucflow.model_pack import file_sha256

BLOCK = 1 << 16  # bytes that are lost at most when a download is cut
LONGEST_WAIT = 60  # seconds between two attempts


class Patience(NamedTuple):
    """Attempts; seconds to wait after the first, doubled after each; seconds in which a server must send something."""

    attempts: int = 8
    wait: float = 2
    timeout: float = 60


class Passing(Exception):
    """A fault that may be gone soon."""


TEMPORARY = (
    Passing,
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
)


class Lock:
    """What was first fetched from each address that publishes no checksum: a JSON file, for one's own keeping."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.entries = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        except ValueError as error:
            raise InputError(f"{path}: not JSON ({error}); restore it, or delete it to trust what comes next") from None

    def sha256(self, file: PublishedFile) -> str | None:
        return self.entries.get(file.url)

    def record(self, file: PublishedFile, sha256: str) -> None:
        self.entries[file.url] = sha256
        with staged(self.path) as (partial,):
            partial.write_text(json.dumps(self.entries, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def fetch_files(files: Iterable[PublishedFile], folder: Path, lock: Lock, patience: Patience) -> dict[str, Path]:
    """The paths of files in `folder` by their names, after those that are not there, or not whole, were downloaded."""
    found = {}
    for file in files:
        path = folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and (wrong := problem(path, file, lock)):
            log.warning("%s: %s; fetching it again", path, wrong)
            path.unlink()
        if not path.exists():
            _fetch(file, path, lock, patience)
        found[file.name] = path
    return found


def take_files(files: Iterable[PublishedFile], folder: Path, lock: Lock) -> dict[str, Path]:
    """The paths of files that were brought by hand, by their names, after they were found to be the published ones."""
    for file in files:
        path = folder / file.name
        if not path.exists():
            raise InputError(f"{path}: no such file; bring it from {file.url}")
        if wrong := problem(path, file, lock):
            raise InputError(f"{path}: {wrong}; bring it again from {file.url}")
    return {file.name: folder / file.name for file in files}


def problem(path: Path, file: PublishedFile, lock: Lock) -> str | None:
    """What a file differs in from the published one, or nothing. One without a checksum is locked to what it is now."""
    size = path.stat().st_size
    if file.size not in (None, size):
        return f"has {size} bytes, not {file.size}"
    if file.git_blob and (found := git_blob(path)) != file.git_blob:
        return f"git blob {found}, not the {file.git_blob} that was published"
    if file.git_blob and not file.sha256:
        return None
    found, locked = file_sha256(path), lock.sha256(file)
    if file.sha256 and found != file.sha256:
        return f"SHA-256 {found}, not the {file.sha256} that was published"
    if not file.sha256 and locked is None:
        log.warning("%s was published without a checksum: SHA-256 %s from now on (%s)", file.name, found, lock.path)
        lock.record(file, found)
    elif not file.sha256 and found != locked:
        return f"SHA-256 {found}, not the {locked} of the first fetch; if it was changed for good, edit {lock.path}"
    return None


def git_blob(path: Path) -> str:
    """The id that git gives a file's content."""
    with path.open("rb") as file:
        header = b"blob %d\0" % path.stat().st_size
        return hashlib.file_digest(file, lambda: hashlib.sha1(header, usedforsecurity=False)).hexdigest()


def _fetch(file: PublishedFile, path: Path, lock: Lock, patience: Patience) -> None:
    part = path.with_name(path.name + ".part")
    if not file.has_checksum:
        part.unlink(missing_ok=True)  # nothing would show that the file has changed since
    for resumed in (part.exists(), False):
        download(file.url, part, file.size, patience)
        if not (wrong := problem(part, file, lock)):
            os.replace(part, path)
            return
        part.unlink()
        if not resumed:
            raise Failure(f"{file.url}: what came is not what was published: {wrong}; nothing was kept")
        log.warning("%s: %s; beginning anew", part, wrong)


def download(url: str, path: Path, size: int | None, patience: Patience) -> None:
    """Download to `path`, going on after what of it is there already; `size` in bytes, where it is known."""
    attempts = Retrying(
        stop=stop_after_attempt(patience.attempts),
        wait=wait_exponential(patience.wait, max=LONGEST_WAIT),
        retry=retry_if_exception_type(TEMPORARY),
        before_sleep=_say,
        reraise=True,
    )
    try:
        attempts(_transfer, url, path, size, patience.timeout)
    except (Passing, requests.RequestException) as error:
        raise Failure(
            f"{url}: {_reason(error)}; run again to go on, or bring the file by hand and set model_source"
        ) from None
    except OSError as error:
        raise Failure(f"{path}: {error.strerror or error}; make room, or set model to another disk") from None


def _transfer(url: str, path: Path, size: int | None, timeout: float) -> None:
    """One attempt, beginning with what is missing of the file at `path`."""
    start = path.stat().st_size if path.exists() else 0
    if start == size:
        return
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with requests.get(url, headers=headers, stream=True, timeout=timeout) as response:
        status = response.status_code
        if status == 416 or (
            status == 206 and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        ):
            path.unlink()
            raise Passing("the server does not go on from here; beginning anew")
        if status == 429 or status >= 500:
            raise Passing(f"the server says {status} {response.reason}")
        if status not in (200, 206):
            raise Failure(f"{url}: the server says {status} {response.reason}; check the address in config/models.yaml")
        if response.headers.get("Content-Type", "").startswith("text/html"):  # of a proxy, or of a network's login
            raise Failure(f"{url}: a web page came, not the file; log in to the network, or check the address")
        start = start if status == 206 else 0
        total = size
        if "Content-Length" in response.headers:
            total = start + int(response.headers["Content-Length"])
        if size not in (None, total):
            raise Failure(f"{url}: has {total} bytes, not {size}: not what was published; nothing was kept")
        free = shutil.disk_usage(path.parent).free
        if total and total - start > free:
            raise Failure(f"{path}: {(total - start) / 1e9:.1f} GB to come, {free / 1e9:.1f} GB free; make room")
        progress = tqdm(total=total, initial=start, desc=path.stem, unit="B", unit_scale=True, mininterval=2)
        with path.open("ab" if start else "wb") as file, progress:
            for block in response.iter_content(BLOCK):
                file.write(block)
                progress.update(len(block))


def _say(state: RetryCallState) -> None:
    log.warning("%s: %s; trying again", state.args[0], _reason(state.outcome.exception()))


def _reason(error: BaseException) -> str:
    """The innermost cause, in one line."""
    while isinstance(cause := next((a for a in error.args if isinstance(a, BaseException)), None), BaseException):
        error = cause
    reason = getattr(error, "reason", None)
    return " ".join(str(reason if isinstance(reason, BaseException) else error).split()) or type(error).__name__
