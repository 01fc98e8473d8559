"""What the pages say of the repository is there: files that are linked, and tests that hold something."""

import re
from pathlib import Path

import pytest
from helpers import REPOSITORY

PAGES = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md"), *(REPOSITORY / "config").glob("*.md")]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
OF_SNAKEMAKE = {"Error: Directory cannot be locked."}  # messages that are not our own
TEST = re.compile(r"`(tests/[\w/]+\.py)?(?:::(\w+))?`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_to_files(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_tests_that_are_named_exist(page: Path) -> None:
    """A name without a file is of the file before it."""
    file, missing = "", []
    for named_file, name in TEST.findall(page.read_text()):
        file = named_file or file
        path = REPOSITORY / file
        if file and not (path.exists() and (not name or f"\ndef {name}(" in path.read_text())):
            missing.append(f"{file}::{name}")
    assert missing == []


def test_messages_that_are_explained_are_those_of_the_code() -> None:
    """What stands between `…` is in the code, however long texts are broken into lines there."""
    code = "".join(path.read_text() for path in (REPOSITORY / "workflow").rglob("*") if path.suffix in (".py", ".smk"))
    code = " ".join(re.sub(r'"\s*\n\s*f?"', "", code).split())
    headings = re.findall(r"^### `(.+)`$", (REPOSITORY / "docs" / "troubleshooting.md").read_text(), re.MULTILINE)
    parts = {part.strip(" ,:;") for heading in headings for part in heading.split("…")}
    assert len(headings) > 50
    assert [part for part in sorted(parts - OF_SNAKEMAKE) if part not in code] == []
