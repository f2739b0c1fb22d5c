"""Programs that tests run in processes of their own, started by `corelab.processes.program`."""
