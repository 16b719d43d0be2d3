"""States survive the way through JSON, and their tensors stay apart."""

import pytest
import torch

from g2rpo.training.plain_values import join_tensors, split_tensors


def test_a_state_comes_back_as_it_was() -> None:
    shared = torch.tensor([1.0, 2.0])
    state = {
        "a": [1, 2.5, None, True, "text", float("inf"), -0.1],
        "b": {"deep": ({"x": shared}, [shared, (1, 2)])},
        "c": {0: torch.tensor(3), (1, "x"): "y"},
        "empty": [{}, [], ()],
    }
    text, tensors = split_tensors(state)
    assert set(tensors) == {"b.deep.0.x", "c.0"}
    again = join_tensors(text, tensors.__getitem__)
    assert (again["a"], again["empty"]) == (state["a"], state["empty"])
    assert list(again["c"]) == [0, (1, "x")]
    assert again["b"]["deep"][1][1] == (1, 2)
    assert isinstance(again["b"]["deep"], tuple)
    assert torch.equal(again["c"][0], torch.tensor(3))
    assert again["b"]["deep"][0]["x"] is again["b"]["deep"][1][0]


def test_numbers_keep_every_bit() -> None:
    values = [0.1 + 0.2, 1e-310, 2**70, -0.0]
    again = join_tensors(split_tensors(values)[0], lambda name: None)
    assert [repr(value) for value in again] == [repr(value) for value in values]


def test_what_json_does_not_know_is_refused_with_its_place() -> None:
    with pytest.raises(
        TypeError,
        match=r"expected plain values, tuples and tensors, got complex at callbacks\.A\.1",
    ):
        split_tensors({"callbacks": {"A": [1, 2j]}})


def test_a_tensor_that_files_cannot_hold_is_refused_with_its_place() -> None:
    class Quantized(torch.Tensor):
        pass

    state = {"state": {0: {"exp_avg": torch.zeros(2).as_subclass(Quantized)}}}
    with pytest.raises(TypeError, match=r"got Quantized at state\.0\.exp_avg"):
        split_tensors(state)
    assert list(split_tensors([torch.nn.Parameter(torch.zeros(2))])[1]) == ["0"]
