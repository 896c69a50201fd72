"""What `btnet doctor` looks at: installed packages, the machine, and a self-test."""
