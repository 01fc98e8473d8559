# Both encoders over the frames. {attention} is flash or standard (v1); neither overwrites the other.


rule embed_dnabert_s:
    input:
        frames="work/{sample}/frames/{shard}.parquet",
        pack=pack_file("pack.json"),
        weights=pack_file("dnabert_s.safetensors"),
        tokenizer=pack_file("tokenizer.json"),
    output:
        embeddings="work/{sample}/embeddings/{attention}/dnabert_s/{shard}.safetensors",
    log:
        "logs/embed_dnabert_s/{sample}/{attention}/{shard}.log",
    benchmark:
        "logs/embed_dnabert_s/{sample}/{attention}/{shard}.benchmark.tsv"
    conda:
        "../../envs/programs.yaml"
    threads: embed_threads()
    resources:
        gpu=GPUS,
        mem_mb=embed_memory,
        runtime=embed_runtime,
        token_budget=token_budget,
        check_model=int(config["check_models_at_start"]),
        attempt=attempt_number,
    params:
        program=program("embed_dnabert_s"),
        code=code("embed_dnabert_s"),
        model=get_pack_argument,
        options=get_embed_options("dnabert_s"),
        sha256=pack_sha256("dnabert_s.safetensors", "tokenizer.json"),
    message:
        "Embed the nucleotides of shard {wildcards.shard} of {wildcards.sample} ({wildcards.attention})"
    shell:
        "VIRNUCFLOW_ATTEMPT={resources.attempt} VIRNUCFLOW_FINAL_ERROR={log:q}.final "
        "python {params.program:q} --frames {input.frames:q} --model {params.model:q}"
        " --attention {wildcards.attention} {params.options}"
        " --token-budget {resources.token_budget} --threads {threads} --check-model {resources.check_model}"
        " --embeddings {output.embeddings:q} 2> {log:q}"


use rule embed_dnabert_s as embed_esm2 with:
    input:
        frames="work/{sample}/frames/{shard}.parquet",
        pack=pack_file("pack.json"),
        weights=pack_file("esm2.safetensors"),
    output:
        embeddings="work/{sample}/embeddings/{attention}/esm2/{shard}.safetensors",
    log:
        "logs/embed_esm2/{sample}/{attention}/{shard}.log",
    benchmark:
        "logs/embed_esm2/{sample}/{attention}/{shard}.benchmark.tsv"
    # The longer jobs first, so that several GPUs end at about the same time.
    priority: 1
    params:
        program=program("embed_esm2"),
        code=code("embed_esm2"),
        options=get_embed_options("esm2"),
        sha256=pack_sha256("esm2.safetensors"),
    message:
        "Embed the proteins of shard {wildcards.shard} of {wildcards.sample} ({wildcards.attention})"


rule concat_features:
    input:
        dnabert_s="work/{sample}/embeddings/{attention}/dnabert_s/{shard}.safetensors",
        esm2="work/{sample}/embeddings/{attention}/esm2/{shard}.safetensors",
    output:
        features="work/{sample}/features/{attention}/{shard}.safetensors",
    log:
        "logs/concat_features/{sample}/{attention}/{shard}.log",
    conda:
        "../../envs/programs.yaml"
    threads: 1
    resources:
        mem_mb=table_memory,
        runtime=lambda wildcards, attempt: 30 * attempt,
        attempt=attempt_number,
    params:
        program=program("concat_features"),
        code=code("concat_features"),
    message:
        "Concatenate both embeddings of shard {wildcards.shard} of {wildcards.sample} ({wildcards.attention})"
    shell:
        "VIRNUCFLOW_ATTEMPT={resources.attempt} VIRNUCFLOW_FINAL_ERROR={log:q}.final "
        "python {params.program:q} --dnabert-s {input.dnabert_s:q} --esm2 {input.esm2:q}"
        " --features {output.features:q} 2> {log:q}"
