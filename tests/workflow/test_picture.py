"""The picture of the rules is the workflow's."""

import re
from html import unescape

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
    picture = unescape((REPOSITORY / "docs" / "rules.svg").read_text())
    names = dict(re.findall(r"<title>(\d+)</title>.*?<text[^>]*>(\w+)</text>", picture, re.DOTALL))
    edges = {(names[one], names[other]) for one, other in re.findall(r"<title>(\d+)->(\d+)</title>", picture)}
    assert edges == expected
