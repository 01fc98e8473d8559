# What a run takes, before anything is computed, when it is asked for.


# It plans, as Snakemake itself does, of what only this process knows, and so has no program.
rule estimate:
    log:
        "logs/estimate.log",
    localrule: True
    message:
        "Estimate what the whole run takes"
    run:
        write_estimate("results/estimate.tsv", log[0])
