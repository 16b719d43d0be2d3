"""Choices and bands, read back from a configuration."""

import math
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from g2rpo.data.gym.source import TASKS
from g2rpo.report.settings import read_settings


def written(folder: Path, **config: object) -> Path:
    OmegaConf.save(OmegaConf.create(config), folder / "config.yaml")
    return folder


def test_entropy_bounds_are_one_number_or_a_number_by_task(tmp_path: Path) -> None:
    bands = read_settings(
        written(tmp_path, shaping={"length": None, "entropy": {"low": {"math": 0.3}, "high": 0.6}}),
        [],
    ).entropy_bands
    assert bands["math"] == (0.3, 0.6)
    assert bands["default"] == (0.0, 0.6)
    high_by_task = written(tmp_path, shaping={"entropy": {"low": 0.2, "high": {"math": 0.9}}})
    assert read_settings(high_by_task, []).entropy_bands["default"] == (0.2, math.inf)


def test_no_shaping_means_no_bands(tmp_path: Path) -> None:
    settings = read_settings(written(tmp_path, shaping={"length": None, "entropy": None}), [])
    assert (settings.length_bands, settings.entropy_bands, settings.choices) == (
        {},
        {},
        {"shaping": "none"},
    )


def test_without_hydras_notes_choices_follow_from_the_targets(tmp_path: Path) -> None:
    folder = written(
        tmp_path,
        advantage={"_target_": "g2rpo.algorithm.advantage.ema_grpo.EMAGRPO"},
        loss={"_target_": "g2rpo.algorithm.loss.cispo.CISPOLoss"},
        shaping={
            "length": {"bands": {"math": [6, 10, 24, 40]}},
            "entropy": {"low": 0.2, "high": 0.6},
        },
    )
    settings = read_settings(folder, [])
    assert settings.choices == {
        "advantage": "ema_grpo",
        "shaping": "length + entropy",
        "loss": "cispo",
    }
    assert settings.length_bands == {"math": (6.0, 10.0, 24.0, 40.0)}


def test_interpolations_are_resolved(tmp_path: Path) -> None:
    folder = written(tmp_path, steps=120, trainer={"max_steps": "${steps}"})
    assert read_settings(folder, []).max_steps == 120


def test_the_bands_of_the_shipped_configuration_are_understood(tmp_path: Path, root: Path) -> None:
    length = OmegaConf.load(root / "conf" / "shaping" / "length" / "gym.yaml")
    shaping = OmegaConf.create({"length": length, "entropy": None})
    settings = read_settings(written(tmp_path, shaping=shaping), [])
    assert settings.length_bands == {
        task: tuple(band) for task, band in shaping.length.bands.items()
    }
    assert list(settings.length_bands) == list(TASKS)


def test_a_broken_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("shaping: [")
    with pytest.raises(ValueError, match=r"\.hydra/config\.yaml: not valid YAML"):
        read_settings(tmp_path, [])
    with pytest.raises(ValueError, match=r"shaping\.length\.bands\.math: expected four numbers"):
        read_settings(written(tmp_path, shaping={"length": {"bands": {"math": [1, 2]}}}), [])


def test_overrides_are_shown_as_typed_so_that_no_secret_is_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "planted-key")
    typed = ["seed=1", "+note=${oc.env:SOME_KEY}"]
    OmegaConf.save(OmegaConf.create(typed), written(tmp_path, seed=1) / "overrides.yaml")
    assert read_settings(tmp_path, []).overrides == tuple(typed)
