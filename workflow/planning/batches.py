"""Batches: small samples that one job for each step computes together, and so starts and loads a model once for all.

They are fixed before anything is computed, by the sizes of the samples' files, and filled in the order of the sheet: a
sample that is appended to it changes at most the last batch of its attention.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from planning.shards import SAMPLED

MOST_SAMPLES = 25  # the gate's frames of so many take ESM-2 3B 12 minutes of an H100, whatever the samples' size
MOST_SHARDS = 100  # for each output of a job Snakemake looks through all of them, and commands have room for so many
PART_OF_SHARD = 6  # of a shard of `shards: auto`, which takes 20 minutes: beside that, 17 s of start are little


class Member(NamedTuple):
    """A sample of the sheet, as far as it matters which others it may be computed with."""

    name: str
    attention: str
    bases: int  # about
    shards: tuple[str, ...]


@dataclass(frozen=True)
class Scope:
    """What one job of a rule computes: the shard that the job's wildcards name, or the shards of a batch.

    The gate's frames have rules of their own in either case, since jobs of one rule ask for the same.
    """

    label: str = ""  # of a batch, and of the gate's frames
    attention: str = ""  # of a batch
    members: tuple[Member, ...] = ()

    def rule(self, name: str) -> str:
        """The name of a rule with this scope."""
        return f"{name}_{self.label}" if self.label else name

    @property
    def shard(self) -> str:
        """A regular expression of the shards' names."""
        return SAMPLED if self.label.endswith(SAMPLED) else r"\d{5}"

    def files(self, pattern: str) -> str | list[str]:
        """The files of a pattern with wildcards for sample, attention and shard: itself, or all files of a batch."""
        if not self.members:
            return pattern
        pairs = [(member.name, shard) for member in self.members for shard in member.shards]
        pattern = pattern.replace("{attention}", self.attention)
        files = [pattern.replace("{sample}", sample).replace("{shard}", shard) for sample, shard in pairs]
        return list(dict.fromkeys(files))

    def log(self, rule: str, place: str) -> str:
        """Where a rule's log lies, less its ending; `place` has the wildcards of a job that is no batch."""
        return f"logs/batches/{self.rule(rule)}" if self.members else f"logs/{rule}/{place}"

    def described(self, one: str) -> str:
        """What a job computes, for people; `one` says it of a job that is no batch."""
        if not self.members:
            return one
        return f"{len(self.members)} samples ({self.members[0].name} to {self.members[-1].name}, {self.attention})"

    def beginnings(self, pattern: str) -> str:
        """A regular expression of the files of a pattern from the sample on, which it has first among wildcards."""
        before, after = pattern.partition("{sample}")[2].replace("{attention}", self.attention).split("{shard}")
        return f"(?:{one_of(member.name for member in self.members)}){re.escape(before)}{self.shard}{re.escape(after)}"

    def sampled(self) -> "Scope":
        """The same samples' frames on which both attentions are compared, by the reference."""
        members = tuple(member._replace(shards=(SAMPLED,)) for member in self.members)
        return Scope(f"{self.label}_{SAMPLED}".removeprefix("_"), "standard", members)


EACH = Scope()


def most_bases(shard_megabases: float) -> int:
    """Of a batch, and so of a sample in it, by the setting of this name."""
    return int(shard_megabases * 1e6 / PART_OF_SHARD)


def one_of(names: Iterable[str]) -> str:
    """A regular expression of these names; of none, one that nothing matches."""
    return "|".join(map(re.escape, names)) or "(?!)"


def samples_outside(samples: Iterable[str], made: Iterable[str]) -> str:
    """A regular expression of samples' names in paths that are none of those that batches make.

    Snakemake prefers the rules of batches, which have no wildcards, but for each file would first make a job of the
    other rule too.
    """
    ahead = "|".join(made)
    return f"(?!{ahead})(?:{one_of(samples)})" if ahead else one_of(samples)


def has_room(members: list[Member], most: int) -> bool:
    """Whether one batch may have these samples."""
    shards = sum(len(member.shards) for member in members)
    return len(members) <= MOST_SAMPLES and shards <= MOST_SHARDS and sum(member.bases for member in members) <= most


def make_batches(samples: Iterable[Member], most: int) -> list[Scope]:
    """The batches of samples, in their order. What would be alone in a batch is in none."""
    full: list[list[Member]] = []
    filling: dict[str, list[Member]] = {}  # by attention
    for sample in samples:
        if sample.bases > most:
            continue
        batch = filling.get(sample.attention, [])
        if not batch or not has_room([*batch, sample], most):
            filling[sample.attention] = batch = []
            full.append(batch)
        batch.append(sample)
    scopes, numbers = [], dict.fromkeys(filling, 0)
    for batch in full:
        attention = batch[0].attention
        numbers[attention] += 1  # also where it has one sample: another will join it
        if len(batch) > 1:
            scopes.append(Scope(f"{attention}_{numbers[attention]}", attention, tuple(batch)))
    return scopes
