"""Loaded by every Python of the image: caches of kernels and fonts lie below TMPDIR; a home may be read-only or absent.

A process that starts without them makes a folder of its own and removes it at its end; nothing is shared between users.
"""

import os
import tempfile

CACHES = {"TRITON_CACHE_DIR": "triton", "MPLCONFIGDIR": "matplotlib"}

if not CACHES.keys() <= os.environ.keys():
    _folder = tempfile.TemporaryDirectory(prefix="virnucflow-", ignore_cleanup_errors=True)
    for _variable, _name in CACHES.items():
        os.environ.setdefault(_variable, f"{_folder.name}/{_name}")
