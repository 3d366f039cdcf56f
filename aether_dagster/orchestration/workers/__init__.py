"""Worker processes which load a job once and run many of its steps (spec 7, "Warm workers").

`executor` runs in the run's process, where `course` follows Dagster's plan; `crew` is its side of
the processes, `server` the process which starts them, `worker` what each of them does.
"""
