"""The table of results: what is published of each sequence, by the sums over its chunks."""

import numpy as np
import pandas as pd

from virnucflow.cli import log
from virnucflow.files.kinds import EMPTY, NO_FRAME, OK, PARTLY, SHORT
from virnucflow.files.results import Sequences, columns_of
from virnucflow.packs.pack import Calibration
from virnucflow.scoring.calls import bound_sequences, call, probability, scale_sequences, weigh_evidence
from virnucflow.scoring.choice import Choice, choose_files, meets
from virnucflow.scoring.prevalence import Prevalence, estimate_prevalence, expected_fdr, shift


def scored_logits(counts: pd.DataFrame, calibration: Calibration | None) -> np.ndarray:
    """The logits of the scores of sequences, by the sums of count_chunks; NaN where there is no score."""
    scaling = calibration.sequences if calibration else None
    return scale_sequences(counts["counted_chunks"].to_numpy(), counts["logits"].to_numpy(), scaling)


def find_prevalence(
    asked: float | str | None, counts: pd.DataFrame, calibration: Calibration | None, model: str | None
) -> Prevalence | None:
    """The share of viruses that is asked for, given or estimated by the scores; None where there is none."""
    if not asked:
        return None
    if not (calibration and calibration.sequences):
        log.warning("model %r gives sequences no score, so that no probability is known (prevalence %s)", model, asked)
        return None
    if not isinstance(asked, str):
        return Prevalence(asked)
    logits = scored_logits(counts, calibration)
    known = logits[~np.isnan(logits)]
    found = estimate_prevalence(known, calibration.prevalence)
    log.info("the share of viruses is estimated as %.3g (95 %% interval %.3g to %.3g) by %d scores", *found, len(known))
    return found


def summarize_sequences(
    sequences: pd.DataFrame,
    counts: pd.DataFrame,
    calibration: Calibration | None,
    prevalence: Prevalence | None,
    choice: Choice,
) -> pd.DataFrame:
    """The table of results: every input sequence, in input order. `counts` are the sums of count_chunks, by row.

    `expected_fdr` is over those alone that have what the choice asks for, as only they can be published as viral.
    """
    names = ("counted_chunks", "viral_chunks", "logits", "squares")
    counted, viral, logits, squares = (counts[name].to_numpy() for name in names)
    lower, upper = bound_sequences(counted, logits, squares, calibration.sequences if calibration else None)
    scored, probable = scored_logits(counts, calibration), np.full(len(counts), np.nan)
    if calibration and prevalence:
        probable = probability(shift(scored, prevalence.share, calibration.prevalence))
    calls = call(counted, viral)
    conditions = {
        EMPTY: sequences["length"] == 0,
        NO_FRAME: counts["frames"] == 0,
        SHORT: calls == "",
        PARTLY: counted < sequences["chunks"],
    }
    table = sequences[["sequence_id", "length", "chunks"]].assign(
        frames=counts["frames"], viral_chunks=counts["viral_chunks"], best_score=counts["best_score"], call=calls
    )
    table = table.assign(
        status=np.select(list(conditions.values()), list(conditions), OK),
        scored_chunks=counted,
        viral_fraction=np.where(counted > 0, viral / np.maximum(counted, 1), np.nan),
        score=probability(scored),
        evidence=weigh_evidence(counted),
        lower=probability(lower),
        upper=probability(upper),
        probability=probable,
    )
    table = table.assign(expected_fdr=expected_fdr(np.where(meets(table, choice), probable, np.nan)))
    return table.assign(file=choose_files(table, choice))[columns_of(Sequences)]
