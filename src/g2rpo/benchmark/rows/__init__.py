"""Where the records of benchmarks come from: the Hub, VLMEvalKit's TSV files, a folder, or the
gym.
"""
