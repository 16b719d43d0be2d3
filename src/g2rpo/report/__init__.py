"""The page a person opens after a run: reads the files of a run folder, writes `report.html` into it. Knows no trainer and no model."""
