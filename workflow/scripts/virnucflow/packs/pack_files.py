"""The files of a model pack besides pack.json, for those who read a pack and those who only see whether it is whole."""

from collections.abc import Collection

ENCODER_FILES = ("esm2.safetensors", "dnabert_s.safetensors", "tokenizer.json")
CLASSIFIER = "classifier.safetensors"
REFERENCE = "reference.safetensors"  # of reference.py
FILES = (*ENCODER_FILES, CLASSIFIER, REFERENCE)


def not_named(named: Collection[str], chunk_lengths: Collection[int]) -> list[str]:
    """The files that a pack must have and does not name. One of encoders alone is for no chunk length."""
    return [name for name in (*ENCODER_FILES, *[CLASSIFIER] * bool(chunk_lengths)) if name not in named]
