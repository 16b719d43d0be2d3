"""The benchmarks: records to rows, rows to prompts, completions to judgements. One file and one yaml each; docs/benchmarks.md."""
