#!/bin/sh
# What became of a job of SLURM, in the words of Snakemake's generic executor: status.sh NUMBER
state=$(squeue --noheader --states all --format %T --jobs "$1" 2>/dev/null)
case ${state:-$(sacct --noheader --allocations --parsable2 --format State --jobs "$1" 2>/dev/null)} in
    COMPLETED) echo success ;;
    BOOT_FAIL* | CANCELLED* | DEADLINE* | FAILED* | NODE_FAIL* | OUT_OF_MEMORY* | TIMEOUT*) echo failed ;;
    *) echo running ;;
esac
