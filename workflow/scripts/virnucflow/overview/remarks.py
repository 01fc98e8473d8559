"""What to beware of in a sample's results, each in a few words, by its run.json and its table of sequences."""

from collections.abc import Mapping
from typing import Any

from virnucflow.files.kinds import CALLED

LEAST_SCORED = 0.5  # of the chunks; with fewer a sample's calls rest on less than half of its bases
RNA = {"as_dna": "read as T", "keep": "whose codons give no residue"}  # what became of U, by the setting


def remarks_on_run(run: Mapping[str, Any]) -> list[str]:
    """What a reader of the results must know, by run.json alone; nothing when all is well."""
    return [*remarks_on_model(run), *remarks_on_gate(run), *remarks_on_sequences(run)]


def remarks_on_model(run: Mapping[str, Any]) -> list[str]:
    """What a reader of the results must know of the model, by run.json."""
    return [] if run["trained"] else [f"model {run['model']} is untrained: these results mean nothing"]


def remarks_on_gate(run: Mapping[str, Any]) -> list[str]:
    """What the gate decided, by run.json, where it did not accept."""
    gate = run["divergence"]
    if not gate or gate["decision"] == "accept":
        return []
    if gate["decision"] == "nothing to compare":
        return ["the gate: nothing to compare"]
    return [f"{gate['decision']}: {gate['message']}; published are those of attention {gate['attention']}"]


def remarks_on_sequences(run: Mapping[str, Any]) -> list[str]:
    """Why there is no call for any sequence, if so; and how many were RNA."""
    counts = run.get("counts", {})
    notes = []
    if counts.get("sequences") == 0:
        notes.append("no sequence in its files")
    elif counts.get("frames") == 0:
        notes.append("no frame without a stop codon, so nothing was scored")
    elif "status" in counts and not any(counts["status"].get(status) for status in CALLED):
        notes.append("no sequence is long enough for a call")
    if rna := counts.get("rna_sequences"):
        how = RNA["as_dna" if run["settings"]["rna"] == "as_dna" else "keep"]
        notes.append(f"sequences with U, {how}: {rna}")
    return notes


def remarks_on_chunks(chunks: int, scored_chunks: int) -> list[str]:
    """How many chunks have no call, where that is more than half of them."""
    many = 0 < scored_chunks < LEAST_SCORED * chunks
    return [f"chunks without a call: {chunks - scored_chunks} of {chunks}"] if many else []
