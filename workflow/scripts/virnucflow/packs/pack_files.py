"""The files of a model pack besides pack.json, for those who read a pack and those who only see whether it is whole."""

from collections.abc import Collection

from virnucflow.packs.encoders import ENCODERS

# In the order in which pack.json names them: ESM-2's come first.
ENCODER_FILES = tuple(file for encoder in reversed(ENCODERS.values()) for file in encoder.files.values())
CLASSIFIER = "classifier.safetensors"
REFERENCE = "reference.safetensors"  # of reference.py
FILES = (*ENCODER_FILES, CLASSIFIER, REFERENCE)


def not_named(named: Collection[str], chunk_lengths: Collection[int]) -> list[str]:
    """The files that a pack must have and does not name. A pack of encoders alone is for no chunk length."""
    return [name for name in (*ENCODER_FILES, *[CLASSIFIER] * bool(chunk_lengths)) if name not in named]
