"""`python -m aether_dagster.cli`. Guarded, because a spawned process imports it again."""

import sys

from aether_dagster.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
