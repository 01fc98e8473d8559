"""What the pages say of the repository is there: files that are linked, and tests that hold something."""

import re
from pathlib import Path

import pytest
from helpers import REPOSITORY

PAGES = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md"), *(REPOSITORY / "config").glob("*.md")]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
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
