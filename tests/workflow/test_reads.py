"""Reads through the whole workflow: as pairs of FASTQ and as BAM they give what the same sequences give as FASTA."""

import gzip
import json
from pathlib import Path

import pandas as pd
import pysam
import pytest
from Bio.Seq import reverse_complement
from helpers import EXAMPLE, REPOSITORY, planned_jobs, snakemake, write_fasta

from virnucflow.files.result_files import CHUNKS_TSV, FASTA, HIGHESTSCORE_CSV, PREDICTIONS_TXT, SEQUENCES_TSV, result_of
from virnucflow.sequences.fasta import read_fasta

LITE = REPOSITORY / "resources" / "models" / "lite"
TABLES = [PREDICTIONS_TXT, HIGHESTSCORE_CSV, SEQUENCES_TSV, CHUNKS_TSV, FASTA["viral"]]
# Chunks are kept, so that no sample is split again for the others of its batch.
SETTINGS = {"model_pack": str(LITE), "chunk_length": 300, "gate": {"frames": 0}, "keep": "all"}


def write_reads(folder: Path) -> None:
    """Fragments of 400 bases, of which both ends were read, 150 bases each."""
    phage = next(read_fasta(EXAMPLE / "phage_lambda.fasta.gz")).sequence
    coli = next(read_fasta(EXAMPLE / "escherichia_coli.fasta")).sequence
    fragments = {f"{n}{i}": text[i * 900 :][:400] for n, text in (("phage", phage), ("coli", coli)) for i in range(8)}
    pairs = {name: (text[:150], reverse_complement(text[-150:])) for name, text in fragments.items()}
    for mate in (0, 1):
        text = "".join(f"@{name}\n{both[mate]}\n+\n{'I' * 150}\n" for name, both in pairs.items())
        (folder / f"{mate + 1}.fq.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    write_fasta(
        folder / "in.fa", {f"{name}/{i}": read for name, both in pairs.items() for i, read in enumerate(both, 1)}
    )
    header = pysam.AlignmentHeader.from_dict({"SQ": [{"SN": "c", "LN": 10**5}]})
    with pysam.AlignmentFile(str(folder / "in.bam"), "wb", header=header) as bam:
        for name, both in pairs.items():
            for flag, letters in ((0x41, both[0]), (0x91, reverse_complement(both[1])), (0x141, both[0])):
                one = pysam.AlignedSegment(header)
                one.query_name, one.flag, one.query_sequence = name, flag, letters
                one.reference_id, one.reference_start, one.cigarstring = 0, 0, "150M"
                bam.write(one)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reads")
    write_reads(folder)
    rows = ["fasta\tin.fa", "paired\t\t1.fq.gz\t2.fq.gz", "bam\t\tin.bam"]
    (folder / "samples.tsv").write_text("\n".join(["sample\tfasta\treads\treads_2", *rows]) + "\n")
    snakemake(folder, **SETTINGS)
    return folder


@pytest.mark.long
@pytest.mark.parametrize("sample", ["paired", "bam"])
def test_reads_give_the_tables_that_their_fasta_gives(sample: str, folder: Path) -> None:
    for table in TABLES:
        of_reads, of_fasta = (result_of(folder / "results" / name, table) for name in (sample, "fasta"))
        assert of_reads.read_bytes() == of_fasta.read_bytes()
    assert len((folder / "results" / sample / "prediction_results.txt").read_text().splitlines()) > 5


@pytest.mark.long
def test_pairs_are_called_where_there_are_pairs(folder: Path) -> None:
    assert not (folder / "results/fasta/fasta.pairs.tsv").exists()
    pairs = pd.read_csv(folder / "results/paired/paired.pairs.tsv", sep="\t", dtype=str, keep_default_na=False)
    sequences = pd.read_csv(
        folder / "results/paired/paired.sequences.tsv", sep="\t", dtype=str, keep_default_na=False, index_col=0
    )
    for mate in (1, 2):
        of_mate = sequences.loc[pairs["pair"] + f"/{mate}"]
        for column in ("call", "best_score", "status"):
            assert list(pairs[f"{column}_{mate}"]) == list(of_mate[column])
    agreeing = pairs[(pairs["call_1"] == pairs["call_2"])]
    assert len(pairs) == 16 and (agreeing["call"] == agreeing["call_1"]).all()
    assert (folder / "results/bam/bam.pairs.tsv").read_bytes() == (
        folder / "results/paired/paired.pairs.tsv"
    ).read_bytes()


@pytest.mark.long
def test_run_json_has_what_was_left_out(folder: Path) -> None:
    [bam] = json.loads((folder / "results/bam/bam.run.json").read_text())["inputs"]
    assert bam["left_out"] == {"secondary": 16}


@pytest.mark.long
def test_a_subsample_concerns_reads_alone(folder: Path) -> None:
    planned = planned_jobs(snakemake(folder, "-n", **SETTINGS, subsample={"reads": 5}))
    assert planned["split_fasta"] == planned["call_pairs"] == 2
    assert "Nothing to be done" in snakemake(folder, "-n", **SETTINGS)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("2.fq.gz", "2.fq.gz, record 16: 'coli7' has no mate"),
        ("1.fq.gz", "1.fq.gz: the compressed file is cut or damaged"),
    ],
)
def test_what_is_wrong_with_reads_ends_the_run_in_one_line(name: str, message: str, tmp_path: Path) -> None:
    write_reads(tmp_path)
    (tmp_path / "samples.tsv").write_text("sample\treads\treads_2\npaired\t1.fq.gz\t2.fq.gz\n")
    if name == "1.fq.gz":
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-20])
    else:
        text = gzip.decompress((tmp_path / "1.fq.gz").read_bytes())
        (tmp_path / "1.fq.gz").write_bytes(gzip.compress(text[: text.rindex(b"@coli7")]))
    assert message in snakemake(tmp_path, code=1, **SETTINGS)
    assert not (tmp_path / "results").exists()
