"""The tasks of a sweep, and the executors that do them: on this machine, or on a cluster."""
