"""Clusters of like sequences: near copies, on either strand and in part, are together; what is unrelated is not."""

import random
from pathlib import Path

import numpy as np
import pytest
from helpers import error_line, run_program, write_fasta, write_sequences

from virnucflow.files.tables import CLUSTERS, read_parquet
from virnucflow.sequences.frames import letter_codes
from virnucflow.training.clusters import BLOCK, K, cluster, sketch

COMPLEMENT = str.maketrans("ACGT", "TGCA")
LETTERS = random.Random(3)


def dna(length: int) -> str:
    return "".join(LETTERS.choices("ACGT", k=length))


def copy(sequence: str, identity: float) -> str:
    """A copy with substitutions, spread evenly at random."""
    return "".join(
        letter if LETTERS.random() < identity else LETTERS.choice("ACGT".replace(letter, "")) for letter in sequence
    )


def reverse_complement(sequence: str) -> str:
    return sequence.translate(COMPLEMENT)[::-1]


def clusters(*sequences: str) -> list[int]:
    return list(cluster(sketch(letter_codes(sequence)) for sequence in sequences))


ONE, OTHER = dna(6000), dna(6000)


@pytest.mark.parametrize("length", [500, 1500, 6000])
def test_near_copies_are_one_cluster(length: int) -> None:
    """At 96 % identity 42 % of the k-mers are left, in spite of the sampling more than a fifth."""
    originals = [dna(length) for _ in range(40)]
    found = clusters(*originals, *(copy(original, 0.96) for original in originals))
    assert found[:40] == found[40:] and len(set(found)) == 40


def test_remote_relatives_are_not() -> None:
    """At 80 % identity 1 % of the k-mers are left."""
    assert len(set(clusters(ONE, copy(ONE, 0.8)))) == 2


def test_the_strand_does_not_matter() -> None:
    found = clusters(OTHER, ONE, reverse_complement(copy(ONE, 0.96)))
    assert found[1] == found[2] != found[0]


@pytest.mark.parametrize("part", [slice(0, 300), slice(2500, 3000), slice(5700, 6000)])
def test_a_fragment_is_with_what_holds_it(part: slice) -> None:
    for fragment in (ONE[part], reverse_complement(ONE[part])):
        found = clusters(fragment, OTHER, ONE)
        assert found[0] == found[2] != found[1]


def test_two_fragments_that_do_not_overlap_are_linked_by_a_third() -> None:
    """Whether the third is larger or smaller than they are."""
    first, second = ONE[:3000], ONE[3000:]
    assert len(set(clusters(first, second))) == 2
    assert len(set(clusters(first, second, ONE[1000:5000]))) == 1
    assert len(set(clusters(first, second, ONE[2600:3400]))) == 1
    assert len(set(clusters(first, second, ONE))) == 1


def test_a_common_stretch_that_is_a_sequence_itself_links_all_that_have_it() -> None:
    """Not only the one that had it last."""
    module = dna(2000)
    first, second = (dna(19000) + module + dna(19000) for _ in range(2))
    assert len(set(clusters(first, second))) == 2
    assert len(set(clusters(first, second, module))) == 1


def test_a_fragment_is_with_its_genome_though_strangers_have_parts_of_it() -> None:
    genome = dna(10000)
    strangers = [dna(1000) + genome[start : start + 250] + dna(1000) for start in range(0, 2000, 250)]
    found = clusters(genome, *strangers, genome[:2000])
    assert found[0] == found[-1] and len(set(found)) == 9


def test_fragments_are_with_every_genome_that_has_them() -> None:
    """Of genomes of shared modules, whatever the order in which they were joined."""
    modules = [dna(3000) for _ in range(12)]
    genomes = [dna(6000) + "".join(LETTERS.sample(modules, 3)) + dna(6000) for _ in range(20)]
    fragments = [(i, LETTERS.randrange(20000)) for i in LETTERS.choices(range(20), k=100)]
    found = clusters(*genomes, *(genomes[i][start : start + 1000] for i, start in fragments))
    assert list(found[20:]) == [found[i] for i, _ in fragments]


def test_a_short_common_stretch_links_nothing() -> None:
    """A tenth of each: a repeat, or a gene that many have."""
    repeat = dna(600)
    found = clusters(*(dna(2700) + repeat + dna(2700) for _ in range(20)))
    assert len(set(found)) == 20


def test_many_copies_are_one_cluster() -> None:
    """However many: public collections hold thousands of one virus."""
    sequence = dna(600)
    found = clusters(*(copy(sequence, 0.98) for _ in range(1500)), dna(600))
    assert len(set(found[:-1])) == 1 and found[-1] not in found[:-1]


def test_what_has_no_kmer_is_by_itself() -> None:
    short = ONE[: K - 1]
    found = clusters("", short, "", short, "N" * 500, "N" * 500, ONE)
    assert len(set(found)) == 7
    assert clusters() == [] and clusters("") == [0]


def test_letters_other_than_acgt_are_in_no_kmer() -> None:
    with_n = "".join("N" if i % K == 0 else letter for i, letter in enumerate(ONE))
    assert len(set(clusters(with_n, with_n))) == 2
    assert len(set(clusters(ONE, ONE[:3000] + "N" * 40 + ONE[3000:]))) == 1


def test_kmers_across_blocks_are_not_lost() -> None:
    sequence = dna(BLOCK + 3000)
    codes = letter_codes(sequence)
    across = set(sketch(codes[BLOCK - K + 1 : BLOCK + K - 1]))
    whole = sketch(codes)
    assert across <= set(whole)
    parts = [sketch(codes[start : start + 5000]) for start in range(0, len(codes), 5000 - K + 1)]
    assert np.array_equal(whole, np.unique(np.concatenate(parts)))


LABELS = "sequence_id\tlabel\n"


def cluster_sequences(folder: Path, samples: dict[str, dict[str, str]], labels: dict[str, str], code: int = 0) -> str:
    """Run the program on samples (names, sequences) with their tables of labels."""
    fasta, sequences = [folder / f"{name}.fa" for name in samples], [folder / f"{name}.parquet" for name in samples]
    for name, content in samples.items():
        write_fasta(folder / f"{name}.fa", content)
        write_sequences(folder / f"{name}.parquet", content)
    return run_program(
        "cluster_sequences", "--fasta", *fasta, "--sequences", *sequences,
        "--labels", *(folder / labels[name] for name in samples), "--clusters", folder / "clusters.parquet", code=code,
    )  # fmt: skip


def read_clusters(folder: Path) -> dict[tuple[str, str], str]:
    table = read_parquet(folder / "clusters.parquet", CLUSTERS).to_pandas()
    return {(Path(row.labels).name, row.sequence_id): row.cluster for row in table.itertuples()}


def test_clusters_reach_across_samples(tmp_path: Path) -> None:
    (tmp_path / "v.labels").write_text(LABELS + "a\tvirus\nb\tvirus\nempty\tvirus\nnowhere\tvirus\n")
    (tmp_path / "h.labels").write_text(LABELS + "a\tothers\nlower\tothers\n")
    samples = {
        "v": {"a": ONE, "b": OTHER, "empty": "", "without a label": ONE},
        "h": {"a": reverse_complement(copy(OTHER, 0.97)), "lower": ONE[:900].lower()},
    }
    said = cluster_sequences(tmp_path, samples, {"v": "v.labels", "h": "h.labels"})
    found = read_clusters(tmp_path)
    v_a, v_b, empty = (found["v.labels", name] for name in ("a", "b", "empty"))
    assert found["h.labels", "lower"] == v_a and found["h.labels", "a"] == v_b
    assert len(found) == 5 and len({v_a, v_b, empty}) == 3
    assert "5 sequences in 3 clusters; the largest has 2" in said


def test_rna_is_with_its_dna(tmp_path: Path) -> None:
    (tmp_path / "all.labels").write_text(LABELS + "dna\tvirus\nrna\tvirus\nother\tvirus\n")
    samples = {"v": {"dna": ONE, "rna": ONE.replace("T", "U"), "other": OTHER}}
    cluster_sequences(tmp_path, samples, {"v": "all.labels"})
    found = {name: of for (_, name), of in read_clusters(tmp_path).items()}
    assert found["dna"] == found["rna"] != found["other"]


def test_one_name_in_two_samples_of_the_same_labels_is_one_sequence(tmp_path: Path) -> None:
    (tmp_path / "all.labels").write_text(LABELS + "a\tvirus\nb\tvirus\nc\tvirus\n")
    samples = {"v": {"a": ONE, "b": ONE[:500]}, "w": {"a": OTHER, "c": OTHER[:500]}}
    cluster_sequences(tmp_path, samples, dict.fromkeys(samples, "all.labels"))
    assert len(set(read_clusters(tmp_path).values())) == 1


def test_clusters_of_the_labels_are_used_as_they_are(tmp_path: Path) -> None:
    given = "sequence_id\tlabel\tcluster\n"
    (tmp_path / "v.labels").write_text(given + "a\tvirus\tx\nb\tvirus\ty\nc\tvirus\t\n")
    cluster_sequences(tmp_path, {"v": {"a": ONE, "b": ONE, "c": ONE}}, {"v": "v.labels"})
    assert list(read_clusters(tmp_path).values()) == ["x", "y", ""]
    (tmp_path / "h.labels").write_text(LABELS + "a\tothers\n")
    (tmp_path / "clusters.parquet").unlink()
    samples = {"v": {"a": ONE}, "h": {"a": OTHER}}
    said = cluster_sequences(tmp_path, samples, {"v": "v.labels", "h": "h.labels"}, code=2)
    assert "h.labels, line 1: no column 'cluster', but" in error_line(said)
    assert not (tmp_path / "clusters.parquet").exists()
