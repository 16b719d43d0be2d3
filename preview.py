"""python preview.py data=jsonl data.files=rows.jsonl"""

from omegaconf import DictConfig

from g2rpo.cli import preview, program


@program("preview")
def main(cfg: DictConfig) -> float:
    return preview(cfg)


if __name__ == "__main__":
    main()
