# The workflow, for whoever starts it from this folder. Its entry is workflow/Snakefile.


include: "workflow/Snakefile"


# The default target of an included file does not count.
rule default:
    default_target: True
    input:
        rules.all.input,
