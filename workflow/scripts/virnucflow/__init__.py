"""The library that the programs of the VirNucFlow workflow share."""

from pathlib import Path

# In a file of its own, so that a release is no change of the code, which would compute everything anew.
__version__ = (Path(__file__).parent / "VERSION").read_text(encoding="utf-8").strip()
