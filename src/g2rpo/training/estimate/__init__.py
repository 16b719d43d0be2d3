"""Memory and time of a run before it starts: from shapes and settings alone, without weights."""
