"""Sources of benchmark records: the Hub, VLMEvalKit's TSV files, a folder, or the gym."""
