"""What to beware of in a sample's results, each in a few words, by its run.json."""

from collections.abc import Mapping
from typing import Any

from virnucflow.files.kinds import CALLED

LEAST_SCORED = 0.5  # of the chunks; with fewer a sample's calls rest on less than half of its bases
RNA = {"as_dna": "read as T", "keep": "whose codons give no residue"}  # what became of U, by the setting


def remarks_on_run(run: Mapping[str, Any]) -> list[str]:
    """What a reader of the results must know; nothing when all is well."""
    return [*remarks_on_model(run), *remarks_on_gate(run), *remarks_on_sequences(run), *remarks_on_chunks(run)]


def remarks_on_model(run: Mapping[str, Any]) -> list[str]:
    """What a reader of the results must know of the model."""
    return [] if run["trained"] else [f"model {run['model']} is untrained: these results mean nothing"]


def remarks_on_gate(run: Mapping[str, Any]) -> list[str]:
    """What the gate decided, where it did not accept."""
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


def remarks_on_chunks(run: Mapping[str, Any]) -> list[str]:
    """How many chunks have no call, where that is more than half of them; and how many calls rest on a single one."""
    counts = run.get("counts", {})
    chunks, scored = counts.get("chunks", 0), counts.get("scored_chunks", 0)
    notes = [f"chunks without a call: {chunks - scored} of {chunks}"] if 0 < scored < LEAST_SCORED * chunks else []
    if alone := counts.get("virus_by_one_chunk"):
        notes.append(f"called virus by a single chunk: {alone} of {counts['virus']}")
    return notes
