"""Which rank rank 0 blames: connections and reports of ranks that the tests play."""

from collections.abc import Callable, Iterator
from multiprocessing.connection import Client, Connection

import pytest

from g2rpo.launch import coordinator as coordinator_module
from g2rpo.launch.coordinator import REPORT, Coordinator, Failed, Stuck, Verdict
from g2rpo.launch.member import Member

Ranks = Callable[..., list[Connection]]


@pytest.fixture
def ranks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ranks]:
    """`ranks(3, wait_s=60)`: connections of three ranks to a coordinator that settles quickly."""
    monkeypatch.setattr(coordinator_module, "SETTLE_S", 0.3)
    monkeypatch.setattr(coordinator_module, "ANSWER_S", 0.3)
    opened: list[Connection] = []

    def connect(count: int, *, size: int | None = None, wait_s: float = 60.0) -> list[Connection]:
        members = [
            Member(rank=rank, world_size=size or count, host=f"node{rank // 2}")
            for rank in range(count)
        ]
        coordinator = Coordinator(members[0], wait_s)
        for who in members:
            opened.append(Client(("127.0.0.1", coordinator.port), authkey=coordinator.key))
            opened[-1].send(who)
        return opened

    yield connect
    for connection in opened:
        connection.close()


def received(connection: Connection) -> object:
    assert connection.poll(10)
    return connection.recv()


def verdict(connection: Connection) -> Verdict:
    while not isinstance(message := received(connection), Verdict):
        assert message == REPORT
    return message


def test_a_rank_whose_connection_closes_has_died_and_all_others_are_told(ranks: Ranks) -> None:
    zero, one, two, three = ranks(4)
    three.close()
    words = {verdict(connection).text for connection in (zero, one, two)}
    assert len(words) == 1
    assert words.pop().startswith("rank 3 of 4 on node1 ended without a message: it was killed")


def test_a_rank_that_leaves_has_not_died(ranks: Ranks) -> None:
    zero, one, two = ranks(3)
    two.send(None)
    two.close()
    assert not zero.poll(1.0)
    one.send(Failed("no memory"))
    assert verdict(zero).text == "rank 1 of 3 on node0: no memory"


def test_the_failure_that_explains_the_others_is_told_even_if_it_comes_later(ranks: Ranks) -> None:
    zero, one, two = ranks(3)
    zero.send(Failed("connection closed by peer", echo=True))
    one.send(Failed("connection closed by peer", echo=True))
    assert not zero.poll(0.1)
    two.send(Failed("no memory", code=3))
    told = verdict(zero)
    assert (told.text, told.code, told.speaker) == ("rank 2 of 3 on node1: no memory", 3, 0)


def test_if_rank_0_is_gone_the_next_one_speaks(ranks: Ranks) -> None:
    zero, one, two = ranks(3)
    zero.close()
    assert verdict(two).speaker == 1
    assert verdict(one).text.startswith("rank 0 of 3 on node0 ended without")


def test_of_hanging_ranks_the_one_with_least_progress_is_named_and_not_the_waiting(
    ranks: Ranks,
) -> None:
    zero, one, two = ranks(3)
    zero.send(Stuck(8, "all_reduce_sum", waits=True, silent_s=9))
    assert received(one) == received(two) == REPORT
    one.send(Stuck(7, "generate (engine.py:3)", waits=False, silent_s=9))
    two.send(Stuck(7, "backward (update.py:4)", waits=True, silent_s=8))
    text = verdict(two).text
    assert "rank 1 of 3 on node0 hangs in generate (engine.py:3)\n" in text
    assert "rank 2" not in text
    assert "no progress for 9 s" in text


def test_a_rank_that_does_not_answer_is_named_and_to_be_killed(ranks: Ranks) -> None:
    zero, one, _ = ranks(3)
    one.send(Stuck(7, "all_gather_list", waits=True, silent_s=9))
    zero.send(Stuck(7, "all_gather_list", waits=True, silent_s=9))
    told = verdict(zero)
    assert told.text.startswith("rank 2 of 3 on node1 does not answer")
    assert [who.rank for who in told.silent] == [2]


def test_ranks_that_do_not_come_are_listed(ranks: Ranks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_ADDR", "node0")
    monkeypatch.setenv("MASTER_PORT", "29500")
    zero, _ = ranks(2, size=4, wait_s=0.2)
    assert verdict(zero).text == (
        "expected 4 ranks within 0.2 s, but 2, 3 did not come (here: 0 on node0, 1 on node0): start"
        " every node with the same MASTER_ADDR=node0 and MASTER_PORT=29500"
    )
