"""ESM-2 and DNABERT-S, as VirNucPro v1 computed them and by the fast path."""
