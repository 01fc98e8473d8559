"""Mates, both reads of one fragment, have their pair's name with /1 or /2 at its end.

The number of a read in its pair is its `mate`; 0 is a read, or a sequence of another kind, that is not of a pair.
"""

import re

SUFFIX = re.compile(r"(?s)(.*)([/.])([12])")  # of a file's own: Illumina's, or what fastq-dump --readids appends
ID = re.compile(r"(?s)(.*/)[12](_[0-9]+)?")  # a mate's sequence_id, with what `duplicate_ids: rename` may have appended


def mate_name(pair: str, mate: int) -> str:
    """The name of a read, by its pair's name."""
    return f"{pair}/{mate}" if mate else pair


def pair_of_mate(name: str, mate: int) -> str:
    """The name of the pair of a read, in whose own name the number may be already."""
    return name.removesuffix(f"/{mate}")


def pair_of_names(first: str, second: str) -> str | None:
    """The name of the pair whose reads have these names in their files; None where they are not mates.

    They are where the names are the same, or differ by the numbers 1 and 2 at their ends alone.
    """
    ends = SUFFIX.fullmatch(first), SUFFIX.fullmatch(second)
    if ends[0] and ends[1] and ends[0].group(1, 2) == ends[1].group(1, 2) and (ends[0][3], ends[1][3]) == ("1", "2"):
        return ends[0][1]
    return first if first == second and not first.endswith(("/1", "/2")) else None


def pair_of_id(sequence_id: str) -> str:
    """The name of a mate's pair, by its sequence_id: of a renamed r/1_2 it is r/_2, which is not what r_2/1 has."""
    return ID.sub(r"\1\2", sequence_id).removesuffix("/")
