"""What a run costs: time of cards and processors, jobs, and room on the disk. All figures of the model are here.

An encoder's time is that of its matrix products: a token goes through each value of them once. What is measured is on
the card named with it; other cards are projected from it by their published rates. To fit the model anew, change the
figures below, each of which says where it is from.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from planning.batches import Scope
from planning.shards import SAMPLED
from planning.sizes import matrix_values, widths
from virnucflow.packs.encoders import ENCODERS

# Values in the matrices of ESM-2 3B and of DNABERT-S, for which speeds were measured.
MEASURED_VALUES = {"esm2": 36 * 12 * 2560**2, "dnabert_s": 12 * 768 * (4 * 768 + 3 * 3072)}

# Tokens a second on one NVIDIA H100 (benchmarks/encoders.py). `sdpa` is fp16 on cards that cannot run Triton;
# `fp32` is `attention: standard`.
ESM2_SPEED = {"fp16": 105_581, "fp8": 165_115, "sdpa": 89_646, "fp32": 5_908}
# Of DNABERT-S: 5.2 % of the time of ESM-2 with fp16, for frames of 97 and 152 tokens; with sdpa and fp32 by the H200's
# frames a second in docs/performance.md (9,524 and 293, where fp16 has 16,615).
DNABERT_S_SPEED = {"fp16": 1_292_000, "fp8": 1_292_000, "sdpa": 740_600, "fp32": 22_800}
SPEED = {"esm2": ESM2_SPEED, "dnabert_s": DNABERT_S_SPEED}
MEASURED_CARD = "H100"
MOST_FRAMES = 17_886  # frames a second that a program embeds at most, whatever the model (docs/performance.md)

# On a core of an AMD EPYC with AVX-512: frames a second of two cores with `lite` (docs/performance.md), 152 and 97
# tokens each; `standard` is as fast as its ratio to `flash` there, 5,853 to 8,106 tokens a second.
CPU_FRAMES = {"esm2": 934 / 2, "dnabert_s": 199 / 2}
CPU_VALUES = {"esm2": 3 * 12 * 64**2, "dnabert_s": 3 * 384 * (4 * 384 + 3 * 512)}
CPU_STANDARD = 5_853 / 8_106

FRAME_TOKENS = {"esm2": 152.4, "dnabert_s": 97}  # of the frames for which speeds were measured
BASES_PER_TOKEN = 500 / 97  # of DNABERT-S

# Seconds until a job embeds, besides reading weights; for each GB of these; and for each shard, to read its frames and
# to write its embeddings. docs/performance.md: 11.0 and 6.1 s of start; 4.03 s for 5.66 GB; 156.5 s for 100,000 frames
# at 105,083 tokens a second.
START, START_ON_CPU, PER_GIGABYTE, PER_SHARD = 6.5, 2.7, 0.71, 0.4
BYTES_PER_WEIGHT = 2

# Seconds of a core for each frame, and for each job, from FASTA to tables without the encoders (docs/performance.md:
# 17.4 s for 400,946 frames; starts of 0.6 to 3.2 s).
STEPS_PER_FRAME, STEPS_START = 17.4 / 400_946, 1.2

# What a sample takes in work/, in bytes (docs/architecture.md).
BYTES_PER_SEQUENCE, BYTES_PER_CHUNK_BASE = 44, 1.07
BYTES_PER_NUCLEOTIDE, BYTES_PER_RESIDUE = 158 / 500, 81 / 166  # of a frame in its table
BYTES_PER_SCORE, BYTES_PER_VALUE = 18, 4


class Card(NamedTuple):
    """TFLOP/s of a card as its maker publishes them, dense: tensor cores with 16 bits (accumulated in 32) and 8 bits,
    and fp32 without tensor cores. 0 where it has none."""

    bits16: float
    bits8: float
    bits32: float
    packed: bool = True  # whether it has the compute capability of the packed kernels, 8.0


# NVIDIA's data sheets and architecture papers: H100 SXM, H200 SXM, A100 SXM, L40S, GeForce RTX 4090, V100 SXM2, T4.
CARDS = {
    "H200": Card(989, 1979, 67),
    "H100": Card(989, 1979, 67),
    "A100": Card(312, 0, 19.5),
    "L40S": Card(362, 733, 91.6),
    "RTX 4090": Card(165, 330, 82.6),
    "V100": Card(125, 0, 15.7, packed=False),
    "T4": Card(65, 0, 8.1, packed=False),
}
PRECISIONS = ("fp16", "fp8")  # of a card, for flash; bf16 is as fast as fp16


class Work(NamedTuple):
    """What is to be embedded: frames, letters of their proteins and of their DNA, files of embeddings of one encoder,
    and jobs that write these."""

    frames: float = 0
    residues: float = 0
    nucleotides: float = 0
    shards: float = 0
    jobs: float = 0

    def tokens(self, encoder: str) -> float:
        """Of an encoder."""
        return self.residues + 2 * self.frames if encoder == "esm2" else self.nucleotides / BASES_PER_TOKEN

    def part(self, frames: float, shards: float, jobs: float) -> "Work":
        """So many of these frames, in so many files and jobs."""
        share = frames / self.frames if self.frames else 0
        return Work(frames, share * self.residues, share * self.nucleotides, shards, jobs)


def speed(card: str, encoder: str, precision: str, kernel: str) -> float:
    """Operations a second of an encoder's matrix products; 0 where a card does not know a precision."""
    kind = "fp16" if precision == "bf16" else precision
    rates, measured = CARDS[card], CARDS[MEASURED_CARD]
    if kind == "fp8":
        ratio = rates.bits8 / measured.bits8
        if encoder != "esm2":  # which alone computes in fp8
            ratio = rates.bits16 / measured.bits16 if ratio else 0
    else:
        ratio = rates.bits32 / measured.bits32 if kind == "fp32" else rates.bits16 / measured.bits16
    if kind == "fp16" and (kernel == "sdpa" or not rates.packed):
        kind = "sdpa"
    return 2 * MEASURED_VALUES[encoder] * SPEED[encoder][kind] * ratio


def gpu_seconds(pack: Mapping[str, Any], work: Work, card: str, precision: str, kernel: str = "auto") -> float:
    """Seconds of a card for both encoders of a pack, with the starts of jobs; infinity where it cannot."""
    seconds = 0.0
    for encoder, values in matrix_values(pack).items():
        rate = speed(card, encoder, precision, kernel)
        if not rate:
            return float("inf")
        seconds += max(2 * values * work.tokens(encoder) / rate, work.frames / MOST_FRAMES)
        start = START + PER_GIGABYTE * values * BYTES_PER_WEIGHT / 1e9
        seconds += work.jobs * start + work.shards * PER_SHARD
    return seconds


def core_seconds(pack: Mapping[str, Any], work: Work, attention: str) -> float:
    """Seconds of a processor's core for both encoders of a pack, with the starts of jobs."""
    seconds = 0.0
    for encoder, values in matrix_values(pack).items():
        rate = 2 * CPU_VALUES[encoder] * CPU_FRAMES[encoder] * FRAME_TOKENS[encoder]
        rate *= CPU_STANDARD if attention == "standard" else 1
        seconds += 2 * values * work.tokens(encoder) / rate + work.jobs * START_ON_CPU + work.shards * PER_SHARD
    return seconds


def steps_seconds(frames: float, jobs: float) -> float:
    """Seconds of a core for all steps but the encoders."""
    return frames * STEPS_PER_FRAME + jobs * STEPS_START


def work_bytes(pack: Mapping[str, Any], counts: Mapping[str, float]) -> dict[str, float]:
    """What samples with these counts leave in work/, by the setting `keep`."""
    frame = {name: BYTES_PER_VALUE * width for name, width in widths(pack).items()}
    embeddings = sum(frame.values()) * counts["frames"]
    # Rows of the table that are not embedded are as long as those that are.
    letters = counts["residues"] * BYTES_PER_RESIDUE + counts["nucleotides"] * BYTES_PER_NUCLEOTIDE
    tables = letters * (counts["rows"] / counts["frames"] if counts["frames"] else 0)
    scores = counts["sequences"] * BYTES_PER_SEQUENCE + tables + counts["frames"] * BYTES_PER_SCORE
    everything = scores + 2 * embeddings + counts["bases"] * BYTES_PER_CHUNK_BASE
    return {"scores": scores, "embeddings": scores + embeddings, "all": everything}


def jobs_of_shards(scopes: Iterable[Scope], shards: Mapping[str, int], sampled: bool = False) -> int:
    """The jobs of a rule that is there for each shard and each batch, for samples with so many shards; those of sampled
    frames are batches of their own."""
    batches = [scope for scope in scopes if scope.members and (scope.members[0].shards == (SAMPLED,)) == sampled]
    batches = [batch for batch in batches if any(member.name in shards for member in batch.members)]
    inside = {member.name for batch in batches for member in batch.members}
    return len(batches) + sum(number for name, number in shards.items() if name not in inside)


def count_jobs(
    scopes: Collection[Scope], shards: Mapping[str, int], gated: Collection[str], paired: int
) -> dict[str, int]:
    """The jobs of a whole run by their rules, from its batches, the number of shards of each sample, the gated samples,
    and how many may have pairs of reads."""
    each = jobs_of_shards(scopes, shards)
    of_gate = jobs_of_shards(scopes, dict.fromkeys(gated, 1), sampled=True)
    jobs = {"split_fasta": len(shards), "translate_frames": each}
    jobs |= {f"embed_{encoder}": each + of_gate for encoder in ENCODERS}
    jobs |= {"concat_features": each + of_gate, "predict": each + of_gate}
    jobs |= {"sample_frames": of_gate, "compare_attention": len(gated), "divergence_gate": len(gated)}
    jobs |= {"write_results": len(shards), "call_pairs": paired, "summarize": 1}
    return {rule: number for rule, number in jobs.items() if number}
