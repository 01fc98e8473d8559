"""The README's picture of the DAG is the workflow's."""

import re

from helpers import REPOSITORY, snakemake, write_fasta


def test_picture_is_the_rule_graph(tmp_path) -> None:
    write_fasta(tmp_path / "a.fa", {"a": "ACGT"})
    (tmp_path / "samples.tsv").write_text("sample\tfasta\na\ta.fa\n")
    model = str(REPOSITORY / "resources" / "models" / "lite")
    entry = str(REPOSITORY / "workflow" / "Snakefile")
    drawn = snakemake(
        tmp_path, "--snakefile", entry, "--rulegraph", "mermaid-js", model_pack=model, gate={"frames": 1000}
    )
    names = dict(re.findall(r"(id\d+)\[(\w+)\]", drawn))
    expected = {(names[one], names[other]) for one, other in re.findall(r"(id\d+) --> (id\d+)", drawn)}
    picture = (REPOSITORY / "README.md").read_text().split("```mermaid")[1].split("```")[0]
    assert set(re.findall(r"(\w+) --> (\w+)", picture)) == expected
