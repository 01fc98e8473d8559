"""The library that the programs of the VirNucFlow workflow share."""

__version__ = "0.1.0"
