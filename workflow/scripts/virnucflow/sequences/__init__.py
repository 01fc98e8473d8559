"""From files of sequences to chunks and to reading frames without a stop codon."""
