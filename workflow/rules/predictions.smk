# From features to the tables that users read.


for scope in EMBEDDED_SCOPES:

    rule:
        name:
            scope.rule("predict")
        input:
            frames=scope.files("work/{sample}/frames/{shard}.parquet"),
            features=scope.files("work/{sample}/features/{attention}/{shard}.safetensors"),
            pack=built_pack_file("pack.json"),
            classifier=built_pack_file("classifier.safetensors"),
        output:
            scores=scope.files("work/{sample}/scores/{attention}/{shard}.parquet"),
        log:
            f"{scope.log('predict', '{sample}/{attention}/{shard}')}.log",
        wildcard_constraints:
            sample=outside_of_batches(scope, "work/{sample}/scores/{attention}/{shard}.parquet"),
            shard=scope.shard,
        conda:
            "../../envs/programs.yaml"
        threads: 1
        resources:
            mem_mb=features_memory(scope),
            runtime=runtime(30),
            attempt=attempt_number,  # an option: what is a resource is no reason to run again
            model=get_pack_argument,  # an option; what of a pack the scores depend on is a parameter
        params:
            program=program("predict"),
            code=code("predict"),
            frames=input_as_ranges("frames"),
            features=input_as_ranges("features"),
            scores=output_as_ranges("scores"),
            chunk_length=config["chunk_length"],
            pack=[
                PACK.get("name"),
                PACK.get("trained"),
                PACK.get("calibration"),
                *pack_sha256(*ENCODER_FILES, CLASSIFIER),
            ],
        message:
            f"Score the frames of {scope.described(SHARD)}"
        shell:
            "VIRNUCFLOW_ATTEMPT={resources.attempt} VIRNUCFLOW_FINAL_ERROR={log:q}.final "
            "python {params.program:q} --frames {params.frames:q} --features {params.features:q}"
            " --model {resources.model:q} --chunk-length {params.chunk_length} --scores {params.scores:q} 2> {log:q}"


rule write_results:
    input:
        scores=get_scores,
        gate=get_gate,
        sequences="work/{sample}/sequences.parquet",
        files=get_files,
        device_time=get_device_times,
    output:
        **{name: f"{RESULTS}/{FASTA[name]}" for name in config["also_write"]},
        predictions=f"{RESULTS}/{PREDICTIONS_TXT}",
        consensus=f"{RESULTS}/{HIGHESTSCORE_CSV}",
        summary=report(
            f"{RESULTS}/{SEQUENCES_TSV}",
            caption="../report/sequences.rst",
            category="Samples",
            labels={"sample": "{sample}", "result": "sequences"},
        ),
        chunk_summary=f"{RESULTS}/{CHUNKS_TSV}",
        regions=f"{RESULTS}/{REGIONS_TSV}",
        regions_bed=f"{RESULTS}/{REGIONS_BED}",
        viral_fasta=f"{RESULTS}/{FASTA['viral']}",
        provenance=f"{RESULTS}/{RUN_JSON}",
    log:
        "logs/write_results/{sample}.log",
    retries: 0
    conda:
        "../../envs/programs.yaml"
    threads: 1
    resources:
        mem_mb=results_memory,
        runtime=reading_runtime,
        # What run.json notes and is no reason to write the results again.
        started=lambda wildcards, input: host.start_of_job(workflow, input.sequences),
        commit=lambda wildcards: provenance.commit(host.ROOT),
        snakemake=snakemake_version,
        image=lambda wildcards: IMAGE if CONTAINED else "",
        image_sha256=get_image_sha256,
    params:
        program=program("write_results"),
        code=code("write_results"),
        scores=input_as_ranges("scores"),
        files=get_file_options,
        device_time=input_as_ranges("device_time"),
        chunk_length=config["chunk_length"],
        min_residues=config["min_residues"],
        choice=options(config, *CHOICE),
        also_write=get_also_written,
        not_written=get_not_written,
        settings=get_settings,
    message:
        "Write the results of {wildcards.sample}"
    shell:
        # No file stays that earlier settings asked for: all are of one run.
        "rm -f {params.not_written:q}; python {params.program:q} --scores {params.scores:q} --sequences {input.sequences:q}"
        " {params.files:q} --chunk-length {params.chunk_length} --min-residues {params.min_residues}"
        " {params.choice} {params.also_write:q}"
        " --device-time {params.device_time:q}"
        " --gate {input.gate:q} --sample {wildcards.sample:q} --settings {params.settings:q}"
        " --started {resources.started:q} --commit {resources.commit:q} --snakemake {resources.snakemake:q}"
        " --image {resources.image:q} --image-sha256 {resources.image_sha256:q}"
        " --predictions {output.predictions:q} --consensus {output.consensus:q}"
        " --summary {output.summary:q} --chunk-summary {output.chunk_summary:q}"
        " --regions {output.regions:q} --regions-bed {output.regions_bed:q}"
        " --viral-fasta {output.viral_fasta:q} --provenance {output.provenance:q} 2> {log:q}"


# Of samples that may have pairs of reads.
rule call_pairs:
    input:
        sequences="work/{sample}/sequences.parquet",
        summary=f"{RESULTS}/{SEQUENCES_TSV}",
        chunk_summary=f"{RESULTS}/{CHUNKS_TSV}",
        provenance=f"{RESULTS}/{RUN_JSON}",
    output:
        pairs=f"{RESULTS}/{PAIRS_TSV}",
    log:
        "logs/call_pairs/{sample}.log",
    retries: 0
    conda:
        "../../envs/programs.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, input: sizes.pairs_memory(sizes.bytes_of(input.sequences)),
        runtime=reading_runtime,
    params:
        program=program("call_pairs"),
        code=code("call_pairs"),
    message:
        "Call the pairs of reads of {wildcards.sample}"
    shell:
        "python {params.program:q} --sequences {input.sequences:q} --summary {input.summary:q}"
        " --chunk-summary {input.chunk_summary:q} --provenance {input.provenance:q} --pairs {output.pairs:q} 2> {log:q}"


# Over all samples, from what is published alone.
rule summarize:
    input:
        expand(
            [f"{RESULTS}/{name}" for name in (SEQUENCES_TSV, CHUNKS_TSV, REGIONS_TSV, PREDICTIONS_TXT, RUN_JSON)],
            sample=SAMPLES,
        ),
        expand(f"{RESULTS}/{DIVERGENCE_TSV}", sample=list(filter(is_gated, SAMPLES))),
    output:
        summary=report(
            "results/summary.tsv",
            caption="../report/summary.rst",
            category="All samples",
            labels={"sample": "all", "result": "summary"},
        ),
        page=report(
            "results/report.html",
            caption="../report/report.rst",
            category="All samples",
            labels={"sample": "all", "result": "report"},
        ),
    log:
        "logs/summarize.log",
    retries: 0
    localrule: True
    conda:
        "../../envs/programs.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=runtime(60),
        citation=host.portable(host.CITATION),  # an option; its content is a parameter
    params:
        program=program("summarize"),
        code=code("summarize"),
        results=lambda wildcards, output: argument(os.path.dirname(output.summary)),
        samples=list(SAMPLES),
        template=lambda wildcards: provenance.sha256_of_file(host.PAGE),
        cited=lambda wildcards: provenance.sha256_of_file(host.CITATION),
    message:
        "Summarize all samples"
    shell:
        "python {params.program:q} --results {params.results:q} --samples {params.samples:q}"
        " --citation {resources.citation:q} --summary {output.summary:q} --page {output.page:q} 2> {log:q}"
