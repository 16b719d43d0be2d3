from pathlib import Path
def write_sweep_report(folder: Path) -> Path:
    return folder
