# A classifier of one's own: `snakemake train` takes the samples that have labels through the rules of the main path.

LABELLED_SAMPLES = [sample for sample in SAMPLES if SAMPLES[sample].labels]
LABELLED_FILES = [path for sample in LABELLED_SAMPLES for path in SAMPLES[sample].paths]
LABELS = [SAMPLES[sample].labels[0] for sample in LABELLED_SAMPLES]
# Those that the new pack is for: by default those of the pack whose encoders it has.
TRAINED_FRAMES = SCORED_FRAMES if config["training"]["frames"] == "pack" else config["training"]["frames"]
# One entry for each of their shards.
LABELLED = [
    {"sample": sample, "shard": shard, "attention": attention(sample)}
    for sample in LABELLED_SAMPLES
    for shard in shards(sample)
]


# For training: split_by: cluster.
rule cluster_sequences:
    input:
        files=inputs(LABELLED_FILES),
        sequences=expand("work/{sample}/sequences.parquet", sample=LABELLED_SAMPLES),
        labels=inputs(LABELS),
    output:
        clusters="work/clusters.parquet",
    log:
        "logs/cluster_sequences.log",
    conda:
        "../../envs/programs.yaml"
    threads: 1
    resources:
        mem_mb=cluster_memory,
        runtime=runtime(120),
        attempt=attempt_number,  # an option: what is a resource is no reason to run again
    params:
        program=program("cluster_sequences"),
        code=code("cluster_sequences"),
        files=lambda wildcards: [word for sample in LABELLED_SAMPLES for word in SAMPLES[sample].options],
        labels=lambda wildcards: arguments(LABELS),
        stamps=lambda wildcards: stamps([*LABELLED_FILES, *LABELS]),
    message:
        "Find labelled sequences that are alike"
    shell:
        "VIRNUCFLOW_ATTEMPT={resources.attempt} VIRNUCFLOW_FINAL_ERROR={log:q}.final "
        "python {params.program:q} {params.files:q} --sequences {input.sequences:q} --labels {params.labels:q}"
        " --clusters {output.clusters:q} 2> {log:q}"


# For training: train_on: annotated.
rule list_proteins:
    input:
        files=get_files,
        sequences="work/{sample}/sequences.parquet",
    output:
        proteins="work/{sample}/proteins.parquet",
    log:
        "logs/list_proteins/{sample}.log",
    conda:
        "../../envs/programs.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=runtime(120),
        attempt=attempt_number,  # an option: what is a resource is no reason to run again
    params:
        program=program("list_proteins"),
        code=code("list_proteins"),
        files=get_file_options,
        stamps=get_stamps,
    message:
        "List the annotated proteins of {wildcards.sample}"
    shell:
        "VIRNUCFLOW_ATTEMPT={resources.attempt} VIRNUCFLOW_FINAL_ERROR={log:q}.final "
        "python {params.program:q} {params.files:q} --sequences {input.sequences:q}"
        " --proteins {output.proteins:q} 2> {log:q}"


rule train_classifier:
    input:
        frames=["work/{sample}/frames/{shard}.parquet".format(**one) for one in LABELLED],
        dnabert_s=[
            embeddings("dnabert_s", one["attention"], one["shard"], TRAINED_FRAMES).format(**one) for one in LABELLED
        ],
        esm2=[embeddings("esm2", one["attention"], one["shard"], TRAINED_FRAMES).format(**one) for one in LABELLED],
        labels=inputs(LABELS),
        sequences=expand("work/{sample}/sequences.parquet", sample=LABELLED_SAMPLES),
        proteins=expand(
            "work/{sample}/proteins.parquet",
            sample=LABELLED_SAMPLES if config["training"]["train_on"] == "annotated" else [],
        ),
        clusters="work/clusters.parquet" if LABELLED and config["training"]["split_by"] == "cluster" else [],
        pack=pack_file("pack.json"),
        esm2_weights=pack_file("esm2.safetensors"),
        dnabert_s_weights=pack_file("dnabert_s.safetensors"),
        tokenizer=pack_file("tokenizer.json"),
    output:
        multiext(
            f"{config['training']['trained_pack']}/",
            "pack.json",
            *ENCODER_FILES,
            CLASSIFIER,
            "evaluation.tsv",
            "by_genome.tsv",
            "worst_genomes.tsv",
            "thresholds.tsv",
            "reliability.tsv",
            "MODEL_CARD.md",
        ),
        report(
            f"{config['training']['trained_pack']}/reliability.svg",
            caption="../report/reliability.rst",
            category="Training",
            labels={"sample": "all labelled", "result": "reliability"},
        ),
    log:
        "logs/train_classifier.log",
    conda:
        "../../envs/programs.yaml"
    threads: 4
    resources:
        mem_mb=lambda wildcards, input, attempt: sizes.table_memory(input.size_mb, attempt),
        runtime=runtime(240),
        attempt=attempt_number,  # an option: what is a resource is no reason to run again
    params:
        program=program("train_classifier"),
        code=code("train_classifier"),
        model=get_pack_argument,
        frames=input_as_ranges("frames"),
        dnabert_s=input_as_ranges("dnabert_s"),
        esm2=input_as_ranges("esm2"),
        labels=lambda wildcards: arguments(LABELS),
        shards=[len(shards(sample)) for sample in LABELLED_SAMPLES],
        trained_model=lambda wildcards, output: argument(os.path.dirname(output[0])),
        name=os.path.basename(config["training"]["trained_pack"]),
        chunk_length=config["chunk_length"],
        split_by=lambda wildcards: config["training"]["split_by"],
        scored_frames=TRAINED_FRAMES,
        options=options(config["training"], "hidden", "batch", "learning_rate", "epochs", "patience", "seed"),
        stamps=lambda wildcards: stamps(LABELS),
    message:
        "Train a classifier on the labelled samples"
    shell:
        "VIRNUCFLOW_ATTEMPT={resources.attempt} VIRNUCFLOW_FINAL_ERROR={log:q}.final "
        "python {params.program:q} --frames {params.frames:q} --dnabert-s {params.dnabert_s:q} --esm2 {params.esm2:q}"
        " --labels {params.labels:q} --shards {params.shards}"
        " --sequences {input.sequences:q} --proteins {input.proteins:q} --clusters {input.clusters:q}"
        " --model {params.model:q} --name={params.name:q} --chunk-length {params.chunk_length}"
        " --scored-frames {params.scored_frames} --split-by={params.split_by:q} {params.options} --threads {threads}"
        " --trained-model {params.trained_model:q} 2> {log:q}"


rule train:
    input:
        rules.train_classifier.output,
