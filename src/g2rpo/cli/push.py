"""`g2rpo push <folder> <repo>`: uploads a checkpoint to the Hugging Face Hub."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

USAGE = "g2rpo push <run folder or checkpoint folder> <owner>/<name> [--private]"


def push(words: Sequence[str]) -> None:
    """Create the repository if it does not exist, upload the folder, and print the address.

    Of a run folder, `checkpoints/final` is uploaded. The Hub's own settings apply: `HF_TOKEN` or
    `hf auth login`, `HF_ENDPOINT`, and `HF_HUB_OFFLINE`. Any failure ends with one sentence.
    """
    options = [word for word in words if word.startswith("-")]
    if set(options) & {"-h", "--help"}:
        sys.stdout.write(f"{USAGE}\n")
        return
    places = [word for word in words if not word.startswith("-")]
    if len(places) != 2 or set(options) - {"--private"}:
        sys.exit(f"g2rpo push: expected {USAGE}, got {' '.join(words) or 'nothing'}")
    try:
        address = uploaded(Path(places[0]), places[1], private="--private" in options)
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f"g2rpo push: {str(error).strip().splitlines()[0]}")
    sys.stdout.write(f"{address}\n")


def uploaded(folder: Path, repo: str, *, private: bool = False) -> str:
    """Upload a checkpoint and return its address.

    Raises:
        ValueError: The folder is no checkpoint, or the name no repository.
        OSError: The Hub cannot be reached, or refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    checkpoint = _checkpoint(folder)
    if repo.count("/") != 1 or not all(repo.split("/")):
        raise ValueError(f"expected a repository as <owner>/<name>, got {repo!r}")
    api = HfApi()
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repo, folder_path=checkpoint, commit_message=f"Upload {checkpoint.name}"
        )
    except OfflineModeIsEnabled:
        raise ValueError("HF_HUB_OFFLINE is set; unset it to upload") from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        hint = (
            "; log in with `hf auth login` or set HF_TOKEN to a token that may write there"
            if status in (401, 403)
            else ""
        )
        first = str(error).strip().splitlines()[0]
        raise OSError(f"{repo}: the Hub answered {status}{hint} ({first})") from None
    return f"{os.environ.get('HF_ENDPOINT', 'https://huggingface.co')}/{repo}"


def _checkpoint(folder: Path) -> Path:
    """Return the folder to upload: this one, or `checkpoints/final` in it."""
    for place in (folder, folder / "checkpoints" / "final"):
        if any((place / name).is_file() for name in ("config.json", "adapter_config.json")):
            return place
    raise ValueError(
        f"expected a run folder with checkpoints/final, or a folder with config.json or"
        f" adapter_config.json, got {folder}"
        + ("" if folder.is_dir() else ", which does not exist")
    )
