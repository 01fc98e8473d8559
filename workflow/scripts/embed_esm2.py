"""Embed the proteins of a frames table with ESM-2.

Writes the tensor `embedding`, one float32 row per frame, in the table's order.
"""

from virnucflow.encoders.program import embed_program
from virnucflow.packs.encoders import ESM2

if __name__ == "__main__":
    embed_program(__doc__, ESM2)
