# From files of sequences to the reading frames without a stop codon.


rule split_fasta:
    input:
        files=get_files,
    output:
        # A directory, because the number of shards differs between samples; with the digest of each file of chunks.
        chunks=kept_with("all", directory("work/{sample}/chunks")),
        sequences="work/{sample}/sequences.parquet",
    log:
        "logs/split_fasta/{sample}.log",
    retries: 0
    conda:
        "../../envs/programs.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards: sizes.split_memory(sample_bases(wildcards)),
        runtime=reading_runtime,
    params:
        program=program("split_fasta"),
        code=code("split_fasta"),
        chunk_length=config["chunk_length"],
        duplicate_ids=config["duplicate_ids"],
        rna=config["rna"],
        subsample=get_subsample,
        files=get_file_options,
        stamps=get_stamps,
        # Snakemake does not compare what is derived from output, so that a change of the shards is seen by their names.
        shards=lambda wildcards: shards(wildcards.sample),
        chunks=lambda wildcards, output: as_ranges(f"{output.chunks}/{shard}.fa" for shard in shards(wildcards.sample)),
        refused=get_refused,
    message:
        "Split the sequences of {wildcards.sample} into chunks"
    shell:
        "python {params.program:q} {params.files:q} --chunk-length {params.chunk_length}"
        " --duplicate-ids {params.duplicate_ids} --rna {params.rna} {params.subsample} --refused {params.refused}"
        " --chunks {params.chunks:q} --sequences {output.sequences:q} 2> {log:q}"


for scope in SCOPES:

    rule:
        name:
            scope.rule("translate_frames")
        input:
            chunks=scope.files("work/{sample}/chunks"),
        output:
            frames=scope.files("work/{sample}/frames/{shard}.parquet"),
        log:
            f"{scope.log('translate_frames', '{sample}/{shard}')}.log",
        wildcard_constraints:
            shard=r"\d{5}",
            sample=NOT_IN_BATCHES,
        conda:
            "../../envs/programs.yaml"
        threads: 1
        resources:
            mem_mb=lambda wildcards, attempt: 2000 * attempt,
            runtime=translate_runtime(scope),
            attempt=attempt_number,  # an option: what is a resource is no reason to run again
        params:
            program=program("translate_frames"),
            code=code("translate_frames"),
            chunks=get_chunk_files(scope),
            frames=output_as_ranges("frames"),
        message:
            f"Translate {scope.described(OF_SAMPLE)} in six frames"
        shell:
            "VIRNUCFLOW_ATTEMPT={resources.attempt} VIRNUCFLOW_FINAL_ERROR={log:q}.final "
            "python {params.program:q} --chunks {params.chunks:q}"
            " --frames {params.frames:q} 2> {log:q}"
