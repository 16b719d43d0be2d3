"""Draw the first screen of a run's report as docs/report.png, with Chromium.

python train.py hydra.run.dir=outputs/demo
python perf/report_picture.py outputs/demo
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

WIDTH, HEIGHT = 1180, 860
TARGET = Path(__file__).parents[1] / "docs" / "report.png"


def main(folder: str) -> None:
    """Writes the picture with 256 colors, which keeps the file small."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if browser is None:
        sys.exit("perf/report_picture.py: needs Chromium on the PATH")
    with tempfile.TemporaryDirectory() as place:
        shot = Path(place) / "shot.png"
        words = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        words += [f"--user-data-dir={place}/profile", f"--window-size={WIDTH},{HEIGHT}"]
        words += ["--virtual-time-budget=8000", f"--screenshot={shot}"]
        words += [(Path(folder) / "report.html").resolve().as_uri()]
        subprocess.run(words, check=True, capture_output=True, timeout=300)
        picture = Image.open(shot).convert("RGB")
    picture.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        TARGET, optimize=True
    )
    print(f"{TARGET}: {picture.width} x {picture.height} px, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
