"""What the steps of `earthquakes.aether.yaml` call: plain functions, which know nothing of Dagster.

A function gets its step's `args` as keyword arguments and returns the step's output. One which
asks for `context` also gets the artifacts, the logger and the folder of the document.
"""
