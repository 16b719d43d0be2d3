"""Where prompts come from: the procedural gym, files and hubs, and the mixture that weighs tasks."""
