"""State hooks of this repository's pipelines, one per file; they import `aethersdk` alone."""
