"""`python -m rxstream`: the same program as `rxstream`."""

from rxstream.cli import main

raise SystemExit(main())
