"""What it costs to import: `python -m tests.benchmarks.imports STATEMENT` prints CPU milliseconds as JSON, `cpu`."""

import json
import sys
import time

AIOHTTP_AND_REACTIVEX = "import aiohttp, reactivex"
IMPORT_RXSTREAM = "import rxstream"
IMPORTS = (
    AIOHTTP_AND_REACTIVEX,
    IMPORT_RXSTREAM,
    "from rxstream import AiProvider",
    "import openai",
    "import anthropic",
)

if __name__ == "__main__":
    began = time.process_time()
    exec(sys.argv[1])  # noqa: S102 - a statement of the list above
    print(json.dumps({"cpu": (time.process_time() - began) * 1e3}))
