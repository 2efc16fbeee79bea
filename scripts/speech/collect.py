"""Collects speech that public repositories hold, each file at a commit and checked by its hash.

python -m scripts.speech.collect results/vctk/manifest.csv /path/to/vctk

The manifest has the columns path,speaker,split,repository,commit,source,sha256; it becomes that of the folder.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import urllib.request
from pathlib import Path
from urllib.parse import quote

from corpus.manifest import MANIFEST, MANIFEST_COLUMNS, read_rows
from nsc.console import exit_status, log
from nsc.errors import UserError
from utilities import atomic_write

ORIGIN = ("repository", "commit", "source", "sha256")
URL = "https://raw.githubusercontent.com/{repository}/{commit}/{source}"


def collect(manifest: Path, folder: Path, url: str = URL) -> int:
    """Fetches the files of a manifest that a folder does not have yet; returns how many it has then.

    Args:
        manifest: a row for each file.
        folder: gets the files, and the manifest last.
        url: of a file, with the columns' names in braces.

    Raises:
        UserError: a file is another one than it was.
    """
    rows = [row for _, row in read_rows(manifest, (*MANIFEST_COLUMNS, *ORIGIN))]
    for row in rows:
        path = folder / row["path"]
        if not path.is_file() or _hash(path.read_bytes()) != row["sha256"]:
            address = url.format_map({name: quote(value) for name, value in row.items()})
            with urllib.request.urlopen(address) as answer:
                data = answer.read()
            if _hash(data) != row["sha256"]:
                raise UserError(f"{address}: expected a file of hash {row['sha256'][:8]}, found {_hash(data)[:8]}")
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(path, data)
    atomic_write(folder / MANIFEST, manifest.read_bytes())
    return len(rows)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def main() -> int:
    """Collects the files of a manifest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path, help="where the files are from")
    parser.add_argument("folder", type=Path, help="gets them")
    options = parser.parse_args()
    return exit_status(
        "collect.py", lambda: log.info("%s: %d files", options.folder, collect(options.manifest, options.folder))
    )


if __name__ == "__main__":
    sys.exit(main())
