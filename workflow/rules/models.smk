# Model packs. The untrained one is built where the config names it; any other is there already.


rule build_untrained_pack:
    input:
        program=program("build_untrained_pack"),
        library=library("build_untrained_pack"),
    output:
        "models/untrained/pack.json",
        "models/untrained/esm2.safetensors",
        "models/untrained/dnabert_s.safetensors",
        "models/untrained/tokenizer.json",
        "models/untrained/classifier.safetensors",
    log:
        "logs/build_untrained_pack.log",
    conda:
        "../../envs/programs.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        model=lambda wildcards, output: os.path.dirname(output[0]),
        chunk_length=config["chunk_length"],
    message:
        "Build a model pack of random weights: its scores mean nothing"
    shell:
        "python {input.program:q} --model {params.model:q}" " --chunk-length {params.chunk_length} 2> {log:q}"
