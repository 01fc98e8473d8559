"""The definition of the tables of results."""

import ast

from helpers import SCRIPTS

from virnucflow.files import result_files, results


def test_each_column_has_a_text() -> None:
    """Beside its name, where the page of formats takes it from."""
    tree = ast.parse((SCRIPTS / "virnucflow" / "files" / "results.py").read_text())
    tables = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    assert len(tables) > 5
    for table in tables:
        described, *statements = table.body
        assert isinstance(described, ast.Expr) and len(statements) % 2 == 0
        for field, text in zip(statements[::2], statements[1::2], strict=True):
            assert isinstance(field, ast.AnnAssign) and ast.literal_eval(text.value)


def test_columns_are_in_the_order_of_the_definition() -> None:
    assert results.columns_of(results.Consensus) == ["Modified_ID", "Is_Virus"]


def test_files_are_called_as_they_are_written() -> None:
    """The text of a table begins with its file."""
    names = {f"{{sample}}/{name}" for name in vars(result_files).values() if isinstance(name, str)}
    tables = [table for table in vars(results).values() if isinstance(table, type)]
    files = {(table.__doc__ or "").split("`")[1] for table in tables}
    assert files - names == {"summary.tsv"}
