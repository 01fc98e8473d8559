"""The card of a trained pack: what it was made of, how it was split, how good it is, and what that does not say."""

from typing import Any

import pandas as pd

from virnucflow.files.kinds import LONGEST, WHOLE
from virnucflow.measures.discrimination import SEQUENCE_LENGTHS
from virnucflow.measures.genomes import LEAST_CHUNKS
from virnucflow.training.labels import SPLITS

CARD = """\
# {name}

A VirNucFlow model pack for chunks of {chunk_length} bases: the encoders of `{encoders}` as they are, and a classifier
trained on them. It is not VirNucPro's published model. Licence of the encoders: {licence}.

## Training

Sequences were split by `{split_by}`: what shares it is in one split.

{splits}

{train_on} {frames}

Settings: {settings}.

The weights with the smallest loss on the validation sequences were kept. Their scores were then calibrated on the
validation chunks ({scalings}), so that a score is a probability where viruses are as frequent as there.

## Quality on the test sequences

A chunk, and a sequence, has the best score of its frames; a sequence without a frame has 0. A group of one label is
held against all sequences of the other. The 95 % intervals take what one genome has together, because a genome's chunks
are alike (of the AUROC by DeLong's method for clustered data, Obuchowski 1997; none is given where it is 0 or 1). A
genome here is what the labels name in the column `genome`; where they name none, it is what the split holds together.

{groups}

### By genome

The mean over all chunks hides a genome of which a large part is called viral. So each genome counts once here, if it
has at least {least_chunks} chunks that have a score; those with fewer are left out. Of others the share is that of the
chunks called viral although they are not, and the worst genome has the most of them; of viruses it is that of the
chunks found, and the worst has the fewest. "Above 5 percent" is the share of the genomes of which more than 5 % of the
chunks are wrongly called.

{by_genome}

{worst_genomes}

### By what might pass for a virus

The same figures among chunks alike in GC content (mean of the chunk's frames), in the number of frames without a stop
(a proxy of coding density; more GC also makes more), and by the frames of one strand alone, over
the chunks that have one there. An AUROC far below that over all, or strands that differ, may tell of a shortcut, or
that other groups are among these chunks.

{strata}

{kinds}### By length of the sequence

Here a sequence has the score that the workflow gives it by all its chunks: of the mean logit of those that have one and
of their number, calibrated on pieces of the validation sequences. It is 0 where none has one. Sequences are those
of at least so many bases. False positives at 90 percent sensitivity are the share of the others that reach the
threshold at which 90 % of the viruses are found.

{lengths}

### What a score means where viruses are rare

With a score as the threshold: what share of the viral chunks reaches it (sensitivity), what share of the others does
(false positive rate), and what share of all that reach it are viruses where one chunk in a hundred is viral
(precision). The precision is for viruses and others that are mixed as they are in this test. Its interval joins the
worst limits of both rates.

{thresholds}

### Reliability

Whether the scores are probabilities there: the share of viruses among the test chunks with about one best score, with
its 95 % interval (Wilson's, as if all chunks were independent), against that score; `reliability.tsv` has the numbers.

![Share of viruses by score](reliability.svg)

## Limits

Figures are of sequences like those it was trained on. Split by sequence, relatives may be on both sides, and viruses of
families that are not there will be found less often. Of groups that are not in the table nothing is known.
"""

TRAIN_ON = {
    "all": "It was trained on all their frames without a stop codon.",
    "annotated": "Of GenBank records it was trained on those frames alone whose protein is part of an annotated one, "
    "as VirNucPro v1 was; calibration and figures are over all frames without a stop codon.",
}


SCALING = "the logits' difference of {kind} frames times {scale:.3f}, plus {shift:.3f}"
FRAMES = {
    WHOLE: "A chunk without such a frame has no score.",
    LONGEST: "A chunk without such a frame is scored, and was trained on, by its longest stretch without a stop codon.",
}
FEW_CHUNKS = f"No genome of the test has {LEAST_CHUNKS} chunks that have a score, so that these figures say nothing."
SHORT = f"No sequence of the test has {min(SEQUENCE_LENGTHS):,} bases."

KINDS = """\
Chunks that have a whole frame without a stop, and those that are scored by their longest stretch without one:

{table}

"""


def model_card(content: dict[str, Any], training: dict[str, Any], figures: dict[str, pd.DataFrame]) -> str:
    """The card in Markdown, of what `pack.json` says, what the training noted, and its tables by their files' names."""
    evaluation = figures["evaluation.tsv"]
    rows = dict(list(evaluation.groupby("by")))
    worst = figures["worst_genomes.tsv"]
    kinds = KINDS.format(table=markdown(rows["kind"])) if "kind" in rows else ""
    splits = pd.DataFrame([{"split": split} | training["sequences"][split] for split in SPLITS])
    return CARD.format(
        name=content["name"],
        chunk_length=content["chunk_lengths"][0],
        licence=content["licence"],
        encoders=training["encoders"],
        split_by=training["split_by"],
        splits=markdown(splits),
        train_on=TRAIN_ON[training["train_on"]],
        frames=FRAMES[content["frames"]],
        settings=", ".join(f"{name.replace('_', ' ')} {value}" for name, value in training["settings"].items()),
        scalings="; ".join(SCALING.format(kind=kind, **of) for kind, of in training["calibration"].items()),
        groups=markdown(evaluation[evaluation["by"].isin(["all", "group"])]),
        least_chunks=LEAST_CHUNKS,
        by_genome=markdown(figures["by_genome.tsv"]),
        worst_genomes=f"The worst genomes of each group:\n\n{markdown(worst)}" if len(worst) else FEW_CHUNKS,
        strata=markdown(evaluation[evaluation["by"].isin(["gc", "frames", "strand"])]),
        kinds=kinds,
        lengths=markdown(rows["sequence_length"]) if "sequence_length" in rows else SHORT,
        thresholds=markdown(figures["thresholds.tsv"]),
    )


def markdown(table: pd.DataFrame) -> str:
    """A table in Markdown, numbers with four digits."""
    rows = [[column.replace("_", " ") for column in table], ["---"] * len(table.columns)]
    rows += [[cell(value) for value in row] for row in table.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def cell(value: object) -> str:
    """A value as text: numbers with four digits, nothing for NaN."""
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:.4f}"
    return str(value).replace("|", "\\|")  # which would end the cell
