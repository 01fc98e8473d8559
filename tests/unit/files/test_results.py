"""The definition of the tables of results."""

import ast

from helpers import SCRIPTS

from virnucflow.files import results


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
