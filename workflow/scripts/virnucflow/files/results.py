"""The tables that users read: their columns, in order, and what each says.

This is where the columns are defined: the programs write those of `columns_of()`, and the page of formats has the texts
below, which docs/tables.py takes from here (in Markdown). {sample} is a sample's name.
"""


def columns_of(table: type) -> list[str]:
    """The names of a table's columns, in order."""
    return list(table.__annotations__)


class Sequences:
    """`{sample}/{sample}.sequences.tsv`: one row for each input sequence, in input order. None is ever left out."""

    sequence_id: str
    """first word of the FASTA header; of a GenBank record its accession and version; of a read its name, which ends in
    `/1` or `/2` where it is of a pair"""
    length: int
    """bases"""
    chunks: int
    """chunks it was cut into"""
    frames: int
    """reading frames that were scored, over all chunks: those without a stop codon and, where the model takes them, the
    longest stretch of each chunk that has none"""
    viral_chunks: int
    """chunks whose call in the table of chunks is `virus`"""
    best_score: float
    """largest `score_virus` of all its frames, also where the status is `short`; empty without a frame"""
    call: str
    """`virus` when at least half of the chunks that have a call are called `virus`, else `others`; empty where none has
    a call"""
    status: str
    """the first that holds of `empty`: no bases; `no_frame`: no chunk has a frame that could be scored; `short`: its
    longest frame has fewer than `min_residues` residues (30), too few for a call; `partly`: some of its chunks have no
    call, and `scored_chunks` of `chunks` is the share that has one, by which the sequence is called; `ok`"""
    scored_chunks: int
    """chunks that have a call"""
    viral_fraction: float
    """`viral_chunks` of `scored_chunks`; the call, where there is one, is `virus` exactly where this is 0.5 or more.
    Empty where none has a call"""
    score: float
    """probability that the sequence is viral, of all its chunks that have a call together: it does not grow with the
    length, as `best_score` does, and tells more than `viral_fraction`. For sets of as many viruses as the pack's
    `calibration` says (`prevalence` in `pack.json`; `lite`: 25 %). Empty for packs that say nothing of whole sequences,
    such as the published ones; those that `snakemake train` makes say it"""
    evidence: str
    """how much the call rests on: `one_chunk`, `few` (2 to 9 scored chunks) or `many` (10 and more); empty where none
    has a call"""
    lower: float
    """lower end of the 95 % interval of `score`: how far it may be from that of the whole genome, of which the sequence
    shows some chunks. Empty for packs that do not say how chunks of one sequence differ (`spread` in `pack.json`)"""
    upper: float
    """its upper end"""
    probability: float
    """with the setting `prevalence`: `score` for the share of viruses that it gives, or that was estimated by the
    scores; else empty"""
    expected_fdr: float
    """the share of false ones to expect among all sequences that are at least as probable, the mean of their
    1 - `probability`; of those alone that have what `min_score`, `min_length` and `min_scored_chunks` ask for"""
    file: str
    """where the sequence is published: `viral` (in the file of viral sequences), `others` or `unscored`"""


class Chunks:
    """`{sample}/{sample}.chunks.tsv`: one row for each chunk, in input order."""

    sequence_id: str
    """the sequence that it is of"""
    chunk: int
    """its number in the sequence, from 1"""
    start: int
    """its first base in the sequence, from 1. Chunks overlap; all but the last have the full length, and the last is
    often shorter, though longer than half of it"""
    end: int
    """its last base"""
    frames: int
    """as in the table of sequences, for this chunk"""
    kind: str
    """of its frames: `whole`, without a stop codon, or `longest`, the longest stretch without one of a chunk that has
    no such frame, if it has 30 residues; empty without a frame. `lite` takes both, the published models take whole
    frames, as VirNucPro v1 did"""
    best_score: float
    """as in the table of sequences, for this chunk"""
    call: str
    """`virus` when the largest `score_virus` of its frames is at least the largest `score_others`, else `others`; empty
    where the status is not `ok`"""
    status: str
    """by this chunk's own longest frame, as in the table of sequences: `no_frame`, `short` or `ok`"""


class Regions:
    """`{sample}/{sample}.regions.tsv`: one row for each viral stretch of a sequence. A virus from end to end is one
    region, from its first base to its last; a virus inside a longer sequence is one that ends where it does, to about a
    chunk."""

    sequence_id: str
    """the sequence that it is of"""
    length: int
    """bases of the sequence"""
    region: str
    """its name, the same in the BED file"""
    start: int
    """its first base in the sequence, from 1"""
    end: int
    """its last base"""
    chunks: int
    """chunks that it has"""
    scored_chunks: int
    """how many of them have a call"""
    score: float
    """that of a sequence with these chunks"""
    lower: float
    """lower end of its 95 % interval"""
    upper: float
    """its upper end"""
    earliest_start: int
    """the first base at which it may begin, as far as whole chunks can say"""
    latest_start: int
    """the last base at which it may begin"""
    earliest_end: int
    """the first base at which it may end"""
    latest_end: int
    """the last base at which it may end"""


class Pairs:
    """`{sample}/{sample}.pairs.tsv`: where reads are of pairs, one row for each pair."""

    pair: str
    """name of the pair, which its reads have with `/1` and `/2`"""
    call_1: str
    """the first read's call, as in the table of sequences"""
    best_score_1: float
    """its best score"""
    status_1: str
    """its status; `absent` where a BAM file has the other read alone"""
    call_2: str
    """the second read's call"""
    best_score_2: float
    """its best score"""
    status_2: str
    """its status; `absent` where a BAM file has the other read alone"""
    call: str
    """`virus` when more than half of the chunks of both reads are, of those that have a call; when half are, by the
    mean of their logits; empty where none has a call"""
    score: float
    """as in the table of sequences, of the chunks of both reads together"""


class Predictions:
    """`{sample}/prediction_results.txt`: VirNucPro v1's table of frames, in its format, for scripts that read it.
    Chunks without a whole frame are not in it, whatever the model. `min_residues` is not v1's: a chunk that is `short`
    is in it."""

    Sequence_ID: str
    """sequence, `_chunk_`, number of the chunk, and frame, `F1` to `F3` or `R1` to `R3`"""
    Prediction: str
    """`virus` where `score2` is the larger, else `others`"""
    score1: float
    """score of others"""
    score2: float
    """score of virus; both add up to 1"""


class Consensus:
    """`{sample}/prediction_results_highestscore.csv`: VirNucPro v1's table of chunks that have a whole frame, in its
    format; tab-separated despite its name."""

    Modified_ID: str
    """sequence, `_chunk_`, and number of the chunk"""
    Is_Virus: str
    """`True` where the largest `score2` of its frames is at least the largest `score1`, else `False`"""


class ComparedFrames:
    """`{sample}/divergence/{sample}.divergence.tsv`: one row for each frame that the gate compared. Fast is what
    `flash` gave, reference what `standard` gave in fp32."""

    name: str
    """name of the frame, as in VirNucPro v1's table"""
    sequence_id: str
    """the sequence that it is of"""
    chunk: int
    """number of the chunk"""
    frame: str
    """`F1` to `F3`, `R1` to `R3`"""
    kind: str
    """`whole` or `longest`"""
    residues: int
    """residues of its protein"""
    score_others_fast: float
    """score of others, fast"""
    score_virus_fast: float
    """score of virus, fast"""
    prediction_fast: str
    """`virus` or `others`, fast"""
    score_others_reference: float
    """score of others, reference"""
    score_virus_reference: float
    """score of virus, reference"""
    prediction_reference: str
    """`virus` or `others`, reference"""
    stratum: str
    """the stratum that it was drawn from: length of the protein and distance from the line"""
    weight: float
    """how many frames of the run it stands for"""
    dnabert_s_cosine: float
    """cosine between both embeddings of DNABERT-S"""
    dnabert_s_mean_difference: float
    """mean absolute difference of their values"""
    dnabert_s_max_difference: float
    """largest absolute difference of their values"""
    esm2_cosine: float
    """the same of ESM-2"""
    esm2_mean_difference: float
    """the same of ESM-2"""
    esm2_max_difference: float
    """the same of ESM-2"""


class Summary:
    """`summary.tsv`: one row for each sample."""

    sample: str
    """its name"""
    sequences: int
    """sequences it has"""
    bases: int
    """their bases"""
    chunks: int
    """their chunks"""
    scored_chunks: int
    """chunks that have a call"""
    scored_share: float
    """their share of all chunks"""
    frames: int
    """frames that were scored"""
    virus: int
    """sequences called virus"""
    others: int
    """sequences called others"""
    uncalled: int
    """sequences without a call"""
    virus_by_one_chunk: int
    """of those called virus, the ones that have a single chunk with a call"""
    regions: int
    """viral stretches of sequences"""
    gate: str
    """the gate's decision; empty without a gate"""
    agreement: float
    """the share of frames with the same label in both attentions"""
    agreement_lower: float
    """lower end of its 95 % interval"""
    agreement_upper: float
    """upper end of its 95 % interval"""
    compared_frames: int
    """how many frames it rests on"""
    attention: str
    """the attention whose scores are published"""
    model: str
    """the model pack"""
    device: str
    """the devices that the encoders ran on"""
    device_minutes: float
    """minutes for which the encoders held these, GPUs or the CPU, for the results and for what the gate compared:
    loading of models, computing and writing, also where an earlier attempt or run did it. Not in it: waiting for a
    device, and what came to nothing when a job was killed, of each about three minutes at most. Models are loaded once
    for a batch of small samples, which counts for the first of them. Two runs of the same input differ in it"""
    warnings: str
    """what to beware of: an untrained model, what the gate found, RNA, no call at all, more than half of the chunks
    without one, or calls that rest on a single chunk"""
