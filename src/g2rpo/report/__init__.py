"""Pages: the report of a run, several runs side by side, a sweep, and the preview of prompts before a run.

Everything here reads files that a run has left and writes one self-contained HTML file; only the preview looks at live objects.

- `run.py` writes `report.html`, `compare.py` several runs side by side, `sweep/` writes `sweep.html`, `preview.py` `preview.html`.
- `folder.py` reads a run folder, `training.py` its completions; `rows.py` checks every row and names a broken one.
- `curves.py`, `plots.py` make figures for plotly.js; `gallery.py` and `picture.py` make cards with pictures.
- `render.py` fills the jinja2 templates in `templates/`, which escape every value.
"""
