"""Embed the nucleotides of a frames table with DNABERT-S.

Writes the tensor `embedding`, one float32 row per frame, in the table's order.
"""

from virnucflow.encoders.program import embed_program
from virnucflow.packs.encoders import DNABERT_S

if __name__ == "__main__":
    embed_program(__doc__, DNABERT_S)
