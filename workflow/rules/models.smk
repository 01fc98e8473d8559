# Model packs. The untrained one is built where the config names it; published ones are made by fetch_models, on a
# machine with network, when a user asks for it; any other is there already.


rule build_untrained_pack:
    output:
        multiext(f"{UNTRAINED}/", "pack.json", *ENCODER_FILES, CLASSIFIER, REFERENCE),
    log:
        "logs/build_untrained_pack.log",
    conda:
        "../../envs/programs.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=runtime(10),
        attempt=attempt_number,  # an option: what is a resource is no reason to run again
    params:
        program=program("build_untrained_pack"),
        code=code("build_untrained_pack"),
        model=lambda wildcards, output: os.path.dirname(output[0]),
        chunk_length=config["chunk_length"],
    message:
        "Build a model pack of random weights: its scores mean nothing"
    shell:
        "VIRNUCFLOW_ATTEMPT={resources.attempt} VIRNUCFLOW_FINAL_ERROR={log:q}.final "
        "python {params.program:q} --model {params.model:q}"
        " --chunk-length {params.chunk_length} 2> {log:q}"


rule fetch_models:
    input:
        catalogue=inputs([CATALOGUE]),
    log:
        "logs/fetch_models.log",
    retries: 0
    localrule: True
    conda:
        "../../envs/programs.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=runtime(1440),
    params:
        program=program("fetch_models"),
        code=code("fetch_models"),
        catalogue=lambda wildcards: argument(CATALOGUE),
        model=lambda wildcards: argument(config["model_pack"]),
        source=lambda wildcards: ["--source", argument(config["published_files"])] if config["published_files"] else [],
    message:
        "Make the model pack {params.model} of published files"
    shell:
        "python {params.program:q} --catalogue {params.catalogue:q} --model {params.model:q}"
        " {params.source:q} 2>&1 | tee {log:q} >&2"


rule check_models:
    input:
        pack=pack_file("pack.json"),
        esm2=pack_file("esm2.safetensors"),
        dnabert_s=pack_file("dnabert_s.safetensors"),
        tokenizer=pack_file("tokenizer.json"),
    log:
        "logs/check_models.log",
    retries: 0
    conda:
        "../../envs/programs.yaml"
    threads: 4
    resources:
        gpu=GPUS,
        mem_mb=check_memory,
        runtime=runtime(60),
    params:
        program=program("check_models"),
        code=code("check_models"),
        model=get_pack_argument,
        precision=config["precision"]["flash"],
        kernel=config["attention_kernel"],
        device=config["device"],
    message:
        "Compare what the model pack {params.model} computes here with its reference values"
    shell:
        "python {params.program:q} --model {params.model:q} --device {params.device} --precision {params.precision}"
        " --attention-kernel {params.kernel} --threads {threads} 2>&1 | tee {log:q} >&2"
