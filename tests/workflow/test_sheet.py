"""Files and directories with any name: no program takes one for an option, Snakemake and the shell format none."""

import shutil
from pathlib import Path

import pytest
from helpers import EXAMPLE, planned_jobs, snakemake, write_fasta

from virnucflow.files.tables import SCORES, SEQUENCES, write_parquet
from virnucflow.sequences.fasta import read_fasta

ODD_NAMES = [
    "--dup=rename", "-x.fa", "asm_{k127}.fa", "{sample}.fa", "{{x}}.fa", "{input.fasta}.fa", "<results>.fa",
    "a'b\"c.fa", "a $HOME `b`.fa", "run#1.fa", "größe ü.fa", " leading.fa", "*.fa", "a,b;c&d.fa", "back\\slash.fa", "-",
]  # fmt: skip
TABLES = ["odd.sequences.tsv", "odd.chunks.tsv", "prediction_results.txt", "odd.viral.fasta"]


def prepare(folder: Path, names: list[str], labels: str) -> Path:
    """A sample of files with a sequence each, and others that would be read if a name were formatted."""
    folder.mkdir()
    phage = next(read_fasta(EXAMPLE / "phage_lambda.fasta.gz")).sequence
    for number, name in enumerate(names):
        write_fasta(folder / name, {f"phage_{number}": phage[number * 2000 :][:600]})
    for decoy in ("odd.fa", "results.fa", "x.fa"):
        write_fasta(folder / decoy, {"decoy": "ACGT"})
    (folder / labels).write_text("sequence_id\tlabel\nphage_1\tvirus\nphage_2\tothers\n")
    rows = [f"odd\t./{name}\t{labels}\n" for name in names]
    (folder / "samples.tsv").write_text("sample\tfasta\tlabels\n" + "".join(rows))
    return folder


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory, pack_directory: Path) -> Path:
    """A finished run on files and with a pack of odd names."""
    folder = prepare(tmp_path_factory.mktemp("names") / "odd", ODD_NAMES, "--labels={sample}")
    shutil.copytree(pack_directory, folder / "-packs {sample}" / "<x>")
    snakemake(folder, model_pack="-packs {sample}/<x>")
    return folder


@pytest.mark.long
def test_files_and_packs_of_any_name_give_what_they_give_by_another(
    odd: Path, tmp_path: Path, pack_directory: Path
) -> None:
    plain = prepare(tmp_path / "plain", [f"{number}.fa" for number, _ in enumerate(ODD_NAMES)], "labels")
    snakemake(plain, model_pack=str(pack_directory))
    for table in TABLES:
        assert (odd / "results/odd" / table).read_bytes() == (plain / "results/odd" / table).read_bytes(), table
    assert len((odd / "results/odd/odd.sequences.tsv").read_text().splitlines()) == 1 + len(ODD_NAMES)


def test_a_changed_file_that_snakemake_cannot_name_is_noticed(odd: Path) -> None:
    model = "-packs {sample}/<x>"
    assert "Nothing to be done" in snakemake(odd, "-n", model_pack=model)
    write_fasta(odd / "asm_{k127}.fa", {"new": "ACGT"})
    assert planned_jobs(snakemake(odd, "-n", model_pack=model))["split_fasta"] == 1


def test_other_settings_of_any_name(odd: Path) -> None:
    """What programs are called with, of training, of fetching packs, and of comparing with another run."""
    reference = "--ref {sample}"
    work, made = odd / reference / "work/odd", {}
    for encoder in ("dnabert_s", "esm2"):
        made[encoder] = {"key": f"{encoder}-1a2b3c4d-flash-fp16"}
        (work / "embeddings" / made[encoder]["key"]).mkdir(parents=True)
        (work / "embeddings" / made[encoder]["key"] / "00001.safetensors").touch()
    (work / "scores/flash").mkdir(parents=True)
    write_parquet(SCORES.empty_table(), work / "scores/flash/00001.parquet", made)
    write_parquet(SEQUENCES.empty_table(), work / "sequences.parquet", {"shards": 1})
    (odd / "--catalogue={x}").write_text("")
    settings = {
        "model_pack": "-packs {sample}/<x>", "catalogue": "--catalogue={x}",
        "published_files": "--source {x}", "reference_run": reference, "gate": {"frames": 20},
        "training": {"trained_pack": "--trained model", "split_by": "--{family}"},
    }  # fmt: skip
    targets = ["train", "fetch_models", "compare", "validate", "check_models"]
    said = snakemake(odd, "-n", "--forceall", "--printshellcmds", *targets, **settings)
    commands = [line for line in said.splitlines() if "python " in line]
    for call in (
        "--trained-model './--trained model'", "--name='--trained model'", "--split-by='--{family}'",
        "--model './-packs {sample}/<x>'", "--labels './--labels={sample}'", "--catalogue './--catalogue={x}'",
        "--source './--source {x}'", "--reference-scores './--ref {sample}/work/odd/scores/flash/00001.parquet'",
        "--reference-esm2 './--ref {sample}/work/odd/embeddings/esm2-1a2b3c4d-flash-fp16/00001.safetensors'",
        "--fasta ./--dup=rename ./-x.fa 'asm_{k127}.fa' '{sample}.fa'",
    ):  # fmt: skip
        assert any(call in command for command in commands), call
