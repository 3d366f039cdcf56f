"""Opens the Dagster instance of a folder with a `dagster.yaml`, and writes to it.

`open_instance.py FOLDER`, in a process which has Dagster.
"""

import sys

import dagster as dg

if __name__ == "__main__":
    with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
        run = instance.add_run(dg.DagsterRun(job_name="any"))
        instance.report_engine_event("It takes events.", run)
        assert [event.message for event in instance.all_logs(run.run_id)] == ["It takes events."]
