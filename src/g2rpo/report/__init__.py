"""Pages: the report of a run, runs side by side, a sweep, and the preview before a run.

Everything here reads the files of a run and writes one self-contained HTML file; only the preview
looks at live objects.

- `run.py` writes `report.html`, `compare.py` several runs side by side, `sweep/` `sweep.html`,
  `preview.py` `preview.html`.
- `folder.py` reads a run folder, `training.py` its completions; `rows.py` checks every row.
- `curves.py`, `plots.py` make figures for plotly.js; `gallery.py`, `picture.py` make cards.
- `render.py` fills the jinja2 templates in `templates/`, which escape every value.
"""
