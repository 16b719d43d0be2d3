"""python evaluate.py model=folder model.path=<checkpoint folder>"""

from omegaconf import DictConfig

from g2rpo.cli import evaluate, program


@program("config")
def main(cfg: DictConfig) -> float:
    return evaluate(cfg)


if __name__ == "__main__":
    main()
