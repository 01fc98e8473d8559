"""Where embeddings lie, and what their programs are asked: below a name of all that their numbers depend on.

`esm2-1a2b3c4d-flash-auto` is of an encoder, its files, the attention, and the arithmetic as the settings ask for it. So
whatever gives the same numbers finds the same files: a copy of a model pack, or another classifier on its encoders.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from planning.shards import SAMPLED
from virnucflow.packs.encoders import Encoder

DIGITS = 8  # of the checksums' checksum
ARITHMETIC = "[a-z0-9_]+(?:-[a-z0-9_]+)*"  # how a name ends, as a regular expression


def name_encoder(encoder: Encoder, sha256: Mapping[str, str], frames: str) -> str:
    """The beginning of a name: the encoder and its files, whose SHA-256 are those of a model pack.

    The untrained pack is built on the spot, so that of its files nothing is known before. A pack that takes other
    `frames` than whole ones has this in the name.
    """
    files = [str(sha256.get(file, "")) for file in encoder.files.values()]
    digits = hashlib.sha256("".join(files).encode()).hexdigest()[:DIGITS] if all(files) else "untrained"
    return "-".join([encoder.name, digits, *[frames] * (frames != "whole")])


def name_arithmetic(encoder: Encoder, attention: str, shard: str, config: Mapping[str, Any]) -> str:
    """The end of a name: the precision, then the kernel of flash, or what standard allows PyTorch.

    A kernel that is `auto` is left out. The frames that the gate has sampled are computed as in VirNucPro v1.
    """
    if shard == SAMPLED:
        return "fp32"
    precision = encoder.precision(config["precision"][attention])
    if attention == "standard":
        return "-".join([precision, *sorted(config["precision"]["standard_allows"])])
    kernel = encoder.kernel(config["attention_kernel"])
    return precision if kernel == "auto" else f"{precision}-{kernel}"


def options_of_arithmetic(attention: str, arithmetic: str) -> str:
    """The end of a name as options of the encoder's program."""
    precision, *others = arithmetic.split("-")
    words = ["--allow", *others] if attention == "standard" else ["--attention-kernel", *(others or ["auto"])]
    return " ".join(["--precision", precision, *words])


def missing_embeddings(keep: str, rules: Iterable[str]) -> list[str]:
    """One line for each of the rules asked for that goes on from embeddings, where these are not kept."""
    if keep != "scores":
        return []
    return [f"keep: scores leaves no embeddings for {rule}; give keep: embeddings" for rule in rules]
