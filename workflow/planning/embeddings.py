"""Where embeddings lie, and what their programs are asked: below a name of all that their numbers depend on.

`esm2-1a2b3c4d-flash-auto` is of an encoder, its files, the attention, and what is requested of it: the arithmetic, as
the settings say, and `longest` where not whole frames alone are embedded. So whatever gives the same numbers finds the
same files: a copy of a model pack, or another classifier on its encoders.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from planning.shards import SAMPLED
from virnucflow.files.kinds import LONGEST, WHOLE
from virnucflow.packs.encoders import Encoder

DIGITS = 8  # of the checksums' checksum
REQUEST = "[a-z0-9_]+(?:-[a-z0-9_]+)*"  # how a name ends, as a regular expression


def name_encoder(encoder: Encoder, sha256: Mapping[str, str]) -> str:
    """The beginning of a name: the encoder and its files, whose SHA-256 are those of a model pack.

    The untrained pack is built on the spot, so that of its files nothing is known before.
    """
    files = [str(sha256.get(file, "")) for file in encoder.files.values()]
    digits = hashlib.sha256("".join(files).encode()).hexdigest()[:DIGITS] if all(files) else "untrained"
    return f"{encoder.name}-{digits}"


def name_request(encoder: Encoder, attention: str, shard: str, frames: str, config: Mapping[str, Any]) -> str:
    """The end of a name: the precision, the kernel of flash or what standard allows PyTorch, and LONGEST frames.

    A kernel that is `auto` is left out. The frames that the gate has sampled are computed as in VirNucPro v1.
    """
    if shard == SAMPLED:
        words = ["fp32"]
    elif attention == "standard":
        words = [encoder.precision(config["precision"]["standard"]), *sorted(config["precision"]["standard_allows"])]
    else:
        kernel = encoder.kernel(config["attention_kernel"])
        words = [encoder.precision(config["precision"]["flash"]), *[kernel] * (kernel != "auto")]
    return "-".join([*words, *[frames] * (frames != WHOLE)])


def options_of_request(attention: str, request: str) -> str:
    """The end of a name as options of the encoder's program."""
    precision, *words = request.split("-")
    frames = words.pop() if words[-1:] == [LONGEST] else WHOLE
    others = ["--allow", *words] if attention == "standard" else ["--attention-kernel", *(words or ["auto"])]
    return " ".join(["--precision", precision, *others, "--scored-frames", frames])


def missing_embeddings(keep: str, rules: Iterable[str]) -> list[str]:
    """One line for each of the rules asked for that goes on from embeddings, where these are not kept."""
    if keep != "scores":
        return []
    return [f"keep: scores leaves no embeddings for {rule}; give keep: embeddings" for rule in rules]
