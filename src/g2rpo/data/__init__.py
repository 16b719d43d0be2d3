"""Prompts: where they come from, how tasks are mixed, and how images are read.

A source answers `size(task, split)` and `get(task, index, split) -> Prompt`; a mixture decides
which task comes next, and the stream puts both together. What is drawn depends on the seed and on
the number of draws alone, so a resumed run continues with the next prompt.

    gym/                        Six visual tasks drawn by procedure; nothing is downloaded.
    file_source.py              JSON and JSON Lines files (`data=onethinker`, `data=jsonl`).
    hub_source.py, hub_stream.py   Any data set of the `datasets` library, stored or streamed.
    onethinker.py, own_format.py   What the fields of a record mean, and which records are refused.
    template.py                 The instruction and the answer hints around a question.
    loading.py                  Images: read ahead in threads, bounded in size.
    mixture.py, stream.py, curriculum.py   Which prompt comes next.
    skips.py                    Counts and lists what could not be used.

Start with `stream.py`, and with docs/data.md for records of your own.
"""
