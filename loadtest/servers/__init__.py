"""Real servers on this machine, for tests, fault runs and `make stack`: Kafka, Redis, PostgreSQL.

Each is a process of its own in a folder of its own, on ports that were free; it can be killed and
started again on the same data. Nothing here is for production.
"""
