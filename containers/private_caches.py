"""Loaded by every Python of the image: caches of kernels and fonts lie below TMPDIR, as a home may be read-only or absent.

Each process that starts without them makes its own folder and removes it at its end, so nothing is shared with other users.
"""

import os
import tempfile

CACHES = {"TRITON_CACHE_DIR": "triton", "MPLCONFIGDIR": "matplotlib"}

if not CACHES.keys() <= os.environ.keys():
    _folder = tempfile.TemporaryDirectory(prefix="virnucflow-", ignore_cleanup_errors=True)
    for _variable, _name in CACHES.items():
        os.environ.setdefault(_variable, os.path.join(_folder.name, _name))
