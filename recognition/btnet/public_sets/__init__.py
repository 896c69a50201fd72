"""Public benchmarks as they are distributed: their lists, folders and files."""
