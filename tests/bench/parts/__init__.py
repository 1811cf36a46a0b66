"""What is measured, one module a part; each has `run(bench)`."""
