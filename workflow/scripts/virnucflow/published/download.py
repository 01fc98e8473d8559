"""Published files: downloaded with resume and retries, and held to what is known of them."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from re import fullmatch
from typing import NamedTuple

import requests
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential
from tqdm import tqdm

from virnucflow.cli import Failure, InputError, log, staged
from virnucflow.files.foreign import read_json, shown
from virnucflow.packs.pack import file_sha256
from virnucflow.published.catalogue import PublishedFile

NUMBER = "[0-9]{1,18}"  # of bytes, in a header
BLOCK = 1 << 16  # bytes that are lost at most when a download is cut
LONGEST_REASON = 300  # letters
LONGEST_WAIT = 60  # seconds between two attempts


class Patience(NamedTuple):
    """Attempts; seconds to wait after the first, doubled after each; seconds in which a server must send something."""

    attempts: int = 8
    wait: float = 2
    timeout: float = 60


class Passing(Exception):
    """A fault that may be gone soon."""


class Elsewhere(Passing):
    """A server does not give the file from where it was asked to."""


TEMPORARY = (
    Passing,
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
)


class Session(requests.Session):
    """Reads nothing of an answer that redirects: requests would take all of it into memory, at any length."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """The address that an answer sends to, if it does."""
        if target := super().get_redirect_target(resp):
            resp.raw.close()
        return target


class Lock:
    """What was first fetched from each address that publishes no checksum: a JSON file, for one's own keeping."""

    def __init__(self, path: Path) -> None:
        """Raises InputError when the file is not a table of SHA-256 by addresses."""
        self.path = path
        advice = "restore it, or delete it to trust what comes next"
        self.entries = read_json(path, advice) if path.exists() else {}
        values = self.entries.values() if isinstance(self.entries, dict) else [None]
        if not all(isinstance(value, str) and fullmatch("[0-9a-f]{64}", value) for value in values):
            raise InputError(f"{path}: not a table of addresses and SHA-256; {advice}")

    def sha256(self, file: PublishedFile) -> str | None:
        """The SHA-256 that a file's address first gave, if anything was fetched from there."""
        return self.entries.get(file.url)

    def record(self, file: PublishedFile, sha256: str) -> None:
        """Keep what a file's address gave."""
        self.entries[file.url] = sha256
        with staged(self.path) as (partial,):
            partial.write_text(json.dumps(self.entries, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def fetch_files(files: Iterable[PublishedFile], folder: Path, lock: Lock, patience: Patience) -> dict[str, Path]:
    """The paths of files in `folder` by their names, after those that are not there, or not whole, were downloaded."""
    paths = {}
    for file in files:
        path = folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and (wrong := problem(path, file, lock)):
            log.warning("%s: %s; fetching it again", path, wrong)
            path.unlink()
        if not path.exists():
            _fetch(file, path, lock, patience)
        paths[file.name] = path
    return paths


def take_files(files: Iterable[PublishedFile], folder: Path, lock: Lock) -> dict[str, Path]:
    """The paths of files that were brought by hand, by their names, after they were found to be the published ones."""
    for file in files:
        path = folder / file.name
        if not path.is_file():
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
    except (Passing, requests.RequestException, ValueError) as error:  # ValueError: of an address
        raise Failure(
            f"{url}: {_reason(error)}; run again to go on, or bring the file by hand and set published_files"
        ) from None
    except OSError as error:
        raise Failure(f"{path}: {error.strerror or error}; make room, or set model_pack to another disk") from None


def _transfer(url: str, path: Path, size: int | None, timeout: float) -> None:
    """One attempt, beginning with what is missing of the file at `path`."""
    start = path.stat().st_size if path.exists() else 0
    if start == size:
        return
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with Session() as session, session.get(url, headers=headers, stream=True, timeout=timeout) as response:
        try:
            start, total = _announced(url, response, start)
        except Elsewhere:
            path.unlink(missing_ok=True)
            raise
        if size is not None and total not in (None, size):
            raise Failure(f"{url}: has {total} bytes, not {size}: not what was published; nothing was kept")
        total = size if total is None else total
        free = shutil.disk_usage(path.parent).free
        if total and total - start > free:
            raise Failure(f"{path}: {(total - start) / 1e9:.1f} GB to come, {free / 1e9:.1f} GB free; make room")
        progress = tqdm(total=total, initial=start, desc=path.stem, unit="B", unit_scale=True, mininterval=2)
        with path.open("ab" if start else "wb") as file, progress:
            for block in response.iter_content(BLOCK):
                start += len(block)
                if total is not None and start > total:
                    path.unlink()
                    raise Failure(f"{url}: has more than {total} bytes: not what was published; nothing was kept")
                file.write(block)
                progress.update(len(block))
        if total is not None and start < total:
            raise Passing(f"the answer ended after {start} of {total} bytes")


def _announced(url: str, response: requests.Response, start: int) -> tuple[int, int | None]:
    """With which byte of the file an answer begins, and how many bytes the file has, where the answer says it.

    Raises Passing and Failure for an answer that is not the file from byte `start`, or from the first, on.
    """
    status, said = response.status_code, f"the server says {response.status_code} {shown(response.reason or '')}"
    if status == 429 or status >= 500:
        raise Passing(said)
    if status == 416:
        raise Elsewhere("the server does not go on from here; beginning anew")
    if status not in (200, 206):
        raise Failure(f"{url}: {said}; check the address in config/models.yaml")
    if response.headers.get("Content-Type", "").startswith("text/html"):  # of a proxy, or of a network's login
        raise Failure(f"{url}: a web page came, not the file; log in to the network, or check the address")
    if (encoding := response.headers.get("Content-Encoding", "identity")) != "identity":
        raise Failure(f"{url}: came encoded ({shown(encoding)}), which was not asked for; try without a proxy")
    length = response.headers.get("Content-Length", "")
    if length and not fullmatch(NUMBER, length):
        raise Failure(f"{url}: the server says Content-Length {shown(length)}, which is no length; try another mirror")
    if status == 200:
        return 0, int(length) if length else None
    spoken = fullmatch(f"bytes ({NUMBER})-({NUMBER})/({NUMBER})", response.headers.get("Content-Range", ""))
    first, last, total = map(int, spoken.groups()) if spoken else (-1, -1, -1)
    if first != start or not first <= last < total or (length and int(length) != last + 1 - first):
        raise Elsewhere("the server does not go on from here; beginning anew")
    return start, total


def _say(state: RetryCallState) -> None:
    if state.outcome and (error := state.outcome.exception()):
        log.warning("%s: %s; trying again", state.args[0], _reason(error))


def _reason(error: BaseException) -> str:
    """The innermost cause, in one line."""
    while isinstance(cause := next((a for a in error.args if isinstance(a, BaseException)), None), BaseException):
        error = cause
    reason = getattr(error, "reason", None)
    said = str(reason if isinstance(reason, BaseException) else error)
    return shown(" ".join(said.split()), LONGEST_REASON) or type(error).__name__
