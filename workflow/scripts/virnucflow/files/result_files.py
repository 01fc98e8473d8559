"""What the results of a sample are called, for rules, for programs that read them and for what is said of them.

VirNucPro v1's two tables have v1's names. All others begin with the sample's, so that a copy says whose it is.
"""

from pathlib import Path

from virnucflow.files.kinds import FILES

RESULTS = "results/{sample}"  # the folder that they are in

PREDICTIONS_TXT = "prediction_results.txt"
HIGHESTSCORE_CSV = "prediction_results_highestscore.csv"
SEQUENCES_TSV = "{sample}.sequences.tsv"
CHUNKS_TSV = "{sample}.chunks.tsv"
REGIONS_TSV = "{sample}.regions.tsv"
REGIONS_BED = "{sample}.regions.bed"
PAIRS_TSV = "{sample}.pairs.tsv"
RUN_JSON = "{sample}.run.json"
FASTA = dict(
    zip(FILES, ("{sample}.viral.fasta", "{sample}.others.fasta.gz", "{sample}.unscored.fasta.gz"), strict=True)
)

# Of the gate: what was found, a row for each frame that was compared, figures, and the decision.
DIVERGENCE_JSON = "divergence/{sample}.divergence.json"
DIVERGENCE_TSV = "divergence/{sample}.divergence.tsv"
DIVERGENCE_SVG = "divergence/{sample}.divergence.svg"
GATE_JSON = "divergence/{sample}.gate.json"
# The same of this run against another one.
COMPARISON_JSON = "divergence/{sample}.comparison.json"
COMPARISON_TSV = "divergence/{sample}.comparison.tsv"
COMPARISON_SVG = "divergence/{sample}.comparison.svg"


def result_of(folder: Path, name: str) -> Path:
    """The path of a result, by one of the names above; a sample's folder has the sample's name."""
    return folder / name.format(sample=folder.name)
