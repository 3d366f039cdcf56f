"""The command `aetherscript`, one module per command (spec 6).

Nothing here imports Dagster when it is imported itself: a command imports its edge when it runs.
"""
