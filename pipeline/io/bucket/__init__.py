"""Runs in a bucket: objects, the folder of this machine that keeps copies of them, and the lease of a driver."""
