"""How an answer is read and compared. Text goes in, a verdict comes out.

The reward and the benchmarks share these readers, so that an answer means the same in training and
in evaluation. There is no state, no configuration and no model here.

Reading:     `extract.py` (tags, thinking, boxed answers), `option.py`, `number.py`, `quantity.py`,
             `points.py`, `spans.py`, `yes_no.py`, `spoken.py`.
Comparing:   `expression/` (mathematics), `boxes.py` (IoU), `regions.py`, `text.py` (edit distance
             and overlap of words or characters).
Plain numbers and boxes, such as those of the gym, are decided before `expression/` and `places.py`
are reached.
By paper:    `mathvision.py`, `mmmu.py`, `spatial_option.py`, `math.py` follow the published
             graders to the last number.
"""
