"""The card of a trained pack: what it was made of, how it was split, how good it is, and what that does not say."""

from typing import Any

import pandas as pd

from virnucflow.training.labels import SPLITS

CARD = """\
# {name}

A VirNucFlow model pack for chunks of {chunk_length} bases: the encoders of `{encoders}` as they are, and a classifier
trained on them. It is not VirNucPro's published model. Licence of the encoders: {licence}.

## Training

Sequences were split by `{split_by}`: what shares it is in one split.

{splits}

{train_on}

Settings: {settings}.

The weights with the smallest loss on the validation sequences were kept. Their scores were then calibrated on the
validation chunks (the logits' difference times {scale:.3f}, plus {shift:.3f}), so that a score is a probability where
viruses are as frequent as there.

## Quality on the test sequences

A chunk, and a sequence, has the best score of its frames; a sequence without a frame has 0. A group of one label is
held against all sequences of the other. The AUROC's 95 % interval takes chunks and frames of one sequence together
(DeLong's method for clustered data, Obuchowski 1997); none is given where it is 0 or 1.

{groups}

The same figures among chunks alike in what might pass for a virus: GC content (mean of the chunk's frames), number of
frames without a stop (a proxy of coding density; more GC also makes more), and by the frames of one strand alone, over
the chunks that have one there. An AUROC far below that over all, or strands that differ, may tell of a shortcut, or
that other groups are among these chunks.

{strata}

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


def model_card(content: dict[str, Any], training: dict[str, Any], evaluation: pd.DataFrame) -> str:
    """The card in Markdown, of what `pack.json` says, what the training noted, and the table of its evaluation."""
    stratum = ~evaluation["by"].isin(["all", "group"])
    splits = pd.DataFrame([{"split": split} | training["sequences"][split] for split in SPLITS])
    return CARD.format(
        name=content["name"],
        chunk_length=content["chunk_lengths"][0],
        licence=content["licence"],
        encoders=training["encoders"],
        split_by=training["split_by"],
        splits=markdown(splits),
        train_on=TRAIN_ON[training["train_on"]],
        settings=", ".join(f"{name.replace('_', ' ')} {value}" for name, value in training["settings"].items()),
        **training["calibration"],
        groups=markdown(evaluation[~stratum]),
        strata=markdown(evaluation[stratum]),
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
    return str(value)
