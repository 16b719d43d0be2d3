"""The policy: a Qwen-VL checkpoint folder, how prompts become its inputs, and the one place where its statistics are computed."""
