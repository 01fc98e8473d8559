"""What the repository says of itself agrees."""

import re

import yaml
from helpers import REPOSITORY

from virnucflow import __version__


def test_the_citation_has_the_version_and_the_licence() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (__version__, "MIT")
    assert (REPOSITORY / "LICENSE").read_text().startswith("MIT License")


def test_the_newest_release_has_the_version_and_the_date_of_the_citation() -> None:
    """What is not released yet stands above it."""
    headings = re.findall("^## (.*)$", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert headings[headings[0] == "Unreleased"] == f"{__version__} ({citation['date-released']})"


def test_every_release_of_the_changelog_first_says_whether_results_change() -> None:
    _, *releases = (REPOSITORY / "CHANGELOG.md").read_text().split("\n## ")
    assert releases
    for release in releases:
        assert next(line for line in release.splitlines() if line.startswith("#")) == "### Does this change results?"
