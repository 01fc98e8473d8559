"""How scores do genome by genome: a mean over chunks hides the one genome of which half is called viral."""

import numpy as np
import pandas as pd

from virnucflow.measures.intervals import mean_interval, wilson
from virnucflow.measures.thresholds import threshold_finding

LEAST_CHUNKS = 10  # of a genome; the share of fewer says little of it
HIGH_SHARES = (0.05, 0.15)  # of a genome's chunks that are false positives
FOUND = 0.6  # share of the viral chunks that the second threshold finds
WORST = 5  # genomes that are named


def genome_thresholds(chunks: pd.DataFrame) -> dict[str, float]:
    """The thresholds of the figures by genome, by what they are for; the second where a chunk is viral.

    `chunks` has viral (bool) and score.
    """
    score = chunks["score"].to_numpy()[chunks["viral"].to_numpy(dtype=bool)]
    thresholds = {"score 0.5": 0.5}
    if len(score):
        thresholds[f"{FOUND:.0%} of viral chunks".replace("%", " %")] = threshold_finding(score, FOUND)
    return thresholds


def genome_shares(chunks: pd.DataFrame, unit: str) -> pd.DataFrame:
    """One row per threshold of genome_thresholds(), label, group and genome.

    Its columns: threshold_for, threshold, viral, group, genome, chunks, reached, how many of them have this score or
    more, and share, how large a part that is: of viruses what is found, of others the false positives. `chunks` has
    viral (bool), score, group, and the column `unit`, the name of each chunk's genome, or of its family or cluster.
    """
    parts = []
    for threshold_for, threshold in genome_thresholds(chunks).items():
        reached = chunks.assign(reached=chunks["score"] >= threshold).groupby(["viral", "group", unit])["reached"]
        part = reached.agg(chunks="size", reached="sum").rename_axis(index={unit: "genome"}).reset_index()
        parts.append(part.assign(threshold_for=threshold_for, threshold=threshold))
    columns = ["threshold_for", "threshold", "viral", "group", "genome", "chunks", "reached"]
    return add_share(pd.concat(parts, ignore_index=True)[columns])


def add_share(genomes: pd.DataFrame) -> pd.DataFrame:
    """The table with share, of the chunks those that reach the threshold."""
    return genomes.assign(share=genomes["reached"] / genomes["chunks"])


def by_genome(shares: pd.DataFrame) -> pd.DataFrame:
    """One row per threshold, label and group, over its genomes of LEAST_CHUNKS and more, and one per label over all.

    `shares` is a table of genome_shares(). The columns: genomes; left_out, those with fewer chunks; chunks of the
    genomes; of their shares the median, the mean with its 95 % interval (bootstrap over genomes), and the worst with
    its genome, of viruses the lowest, of others the highest. Of others also the share of the genomes of which more than
    5 and 15 % of the chunks are false positives, with Wilson's 95 % interval. NaN and "" where there is no genome.
    """
    rows = []
    for (threshold_for, threshold, viral), of_label in shares.groupby(
        ["threshold_for", "threshold", "viral"], sort=False
    ):
        whole = add_share(of_label.groupby("genome", as_index=False)[["chunks", "reached"]].sum())  # of all its groups
        for group, genomes in [("all", whole), *of_label[of_label["group"] != ""].groupby("group")]:
            about = {"threshold_for": threshold_for, "threshold": threshold, "viral": viral, "group": group}
            rows.append(about | summarize_genomes(genomes, viral))
    return pd.DataFrame(rows)


def summarize_genomes(genomes: pd.DataFrame, viral: bool) -> dict[str, float | str]:
    """The figures of a row of by_genome(); `genomes` has genome, chunks and share."""
    counted = worst_first(genomes[genomes["chunks"] >= LEAST_CHUNKS], viral)
    share, number = counted["share"].to_numpy(), len(counted)
    lower, upper = mean_interval(share)
    summary: dict[str, float | str] = {
        "genomes": number,
        "left_out": len(genomes) - number,
        "chunks": int(counted["chunks"].sum()),
        "median": float(np.median(share)) if number else np.nan,
        "mean": float(share.mean()) if number else np.nan,
        "mean_lower": lower,
        "mean_upper": upper,
        "worst": float(share[0]) if number else np.nan,
        "worst_genome": counted["genome"].iloc[0] if number else "",
    }
    for high in HIGH_SHARES:
        name, known = f"above_{high:.0%}".replace("%", "_percent"), number > 0 and not viral
        summary[name] = float((share > high).mean()) if known else np.nan
        summary[f"{name}_lower"], summary[f"{name}_upper"] = (
            wilson(float(summary[name]), number) if known else (np.nan, np.nan)
        )
    return summary


def worst_genomes(shares: pd.DataFrame) -> pd.DataFrame:
    """The WORST genomes of LEAST_CHUNKS and more of each threshold, label and group, as rows of genome_shares()."""
    counted = shares[shares["chunks"] >= LEAST_CHUNKS]
    parts = [
        worst_first(genomes, viral).head(WORST)
        for (_, viral, _), genomes in counted.groupby(["threshold_for", "viral", "group"], sort=False)
    ]
    return pd.concat([counted.head(0), *parts], ignore_index=True)


def worst_first(genomes: pd.DataFrame, viral: bool) -> pd.DataFrame:
    """Genomes by their share, of viruses the lowest first, of others the highest; of equal ones the larger first."""
    return genomes.sort_values(["share", "chunks", "genome"], ascending=[bool(viral), False, True], kind="stable")
