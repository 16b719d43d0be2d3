"""python rescore.py source=<run folder> eval.protocol=robust"""

from omegaconf import DictConfig

from g2rpo.cli import program, rescore


@program("rescore")
def main(cfg: DictConfig) -> float:
    return rescore(cfg)


if __name__ == "__main__":
    main()
