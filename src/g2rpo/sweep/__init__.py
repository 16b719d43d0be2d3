"""Many runs from one command: what is to run, what has run, and each job in a process of its own. Imports no torch: it waits for hours."""
