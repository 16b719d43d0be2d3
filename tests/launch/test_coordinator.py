"""Which rank rank 0 blames: connections and reports of ranks that the tests play."""

import os
import pickle
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from g2rpo.launch import coordinator as coordinator_module
from g2rpo.launch.coordinator import Coordinator
from g2rpo.launch.member import Member
from g2rpo.launch.messages import (
    Failed,
    Left,
    Message,
    Report,
    Stuck,
    Verdict,
    Working,
    packed,
    unpacked,
)
from g2rpo.wire import Wire


class Rank:
    """One rank's connection, as the tests play it."""

    def __init__(self, port: int, key: bytes) -> None:
        self.wire = Wire.connect(("127.0.0.1", port), key)
        self.poll, self.close = self.wire.poll, self.wire.close

    def send(self, message: Message) -> None:
        self.wire.send(packed(message))

    def recv(self) -> Message:
        return unpacked(self.wire.receive()[0])


Ranks = Callable[..., list[Rank]]


@pytest.fixture
def ranks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ranks]:
    """`ranks(3, wait_s=60)`: connections of three ranks to a coordinator that settles quickly."""
    monkeypatch.setattr(coordinator_module, "SETTLE_S", 0.3)
    monkeypatch.setattr(coordinator_module, "ANSWER_S", 0.3)
    opened: list[Rank] = []
    started: list[Coordinator] = []

    def connect(count: int, *, size: int | None = None, wait_s: float = 60.0) -> list[Rank]:
        members = [
            Member(rank=rank, world_size=size or count, host=f"node{rank // 2}")
            for rank in range(count)
        ]
        coordinator = Coordinator(members[0], wait_s)
        started.append(coordinator)
        for who in members:
            opened.append(Rank(coordinator.port, coordinator.key))
            opened[-1].send(who)
        end_s = time.monotonic() + 10
        while len(coordinator._came) < count and time.monotonic() < end_s:
            time.sleep(0.01)  # on a busy machine a rank may be admitted after the next one speaks
        return opened

    yield connect
    for connection in opened:
        connection.close()
    for coordinator in started:
        shut(coordinator)


def shut(coordinator: Coordinator) -> None:
    """Close what a coordinator leaves open, because its process ends."""
    coordinator._closed = True
    for wire in list(coordinator._open):
        wire.close()
    coordinator._listener.close()


def received(connection: Rank) -> Message:
    assert connection.poll(10)
    return connection.recv()


def verdict(connection: Rank) -> Verdict:
    while not isinstance(message := received(connection), Verdict):
        assert isinstance(message, Report | Working)
    return message


def test_a_rank_whose_connection_closes_has_died_and_all_others_are_told(ranks: Ranks) -> None:
    zero, one, two, three = ranks(4)
    three.close()
    words = {verdict(connection).text for connection in (zero, one, two)}
    assert len(words) == 1
    assert words.pop().startswith("rank 3 of 4 on node1 ended without a message: it was killed")


def test_a_wire_that_another_thread_closes_neither_ends_the_watch_nor_makes_it_spin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wait, turns = coordinator_module.wait, list[int]()

    def counted(wires: Any, timeout_s: float) -> Any:
        turns.append(len(wires))
        return wait(wires, timeout_s)

    monkeypatch.setattr(coordinator_module, "wait", counted)
    coordinator = Coordinator(Member(), 60.0)
    own, other = socket.socketpair()
    coordinator._open[Wire(own)] = None
    own.close()
    end_s = time.monotonic() + 10
    while coordinator._open and time.monotonic() < end_s:
        time.sleep(0.01)
    assert not coordinator._open
    turns.clear()
    time.sleep(0.35)
    assert len(turns) < 10, "waits 0.1 s each time"
    shut(coordinator)
    other.close()


def test_a_message_of_a_wire_that_has_just_been_closed_is_dropped() -> None:
    coordinator = Coordinator(Member(), 60.0)

    class Closing(Wire):
        def receive(self, most_bytes: int = 0) -> tuple[Any, list[bytes]]:
            del coordinator._open[self]
            return packed(Left()), []

    own, other = socket.socketpair()
    wire = Closing(own)
    coordinator._open[wire] = Member()
    coordinator._read(wire)
    assert not coordinator._left
    assert not coordinator._failed
    shut(coordinator)
    own.close()
    other.close()


def test_a_killed_rank_is_named_with_the_tasks_it_worked_on_last(ranks: Ranks) -> None:
    zero, one, two = ranks(3)
    zero.send(Working("math"))
    two.send(Working("chart"))
    two.send(Working("chart, ocr"))
    two.close()
    assert verdict(one).text.endswith(" was lost (last on tasks chart, ocr)")


def test_others_know_the_tasks_of_rank_0_because_it_may_be_killed(ranks: Ranks) -> None:
    zero, one, two = ranks(3)
    one.send(Working("chart"))
    zero.send(Working("math"))
    assert received(two) == received(one) == Working("math")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("no memory", "no memory (last on tasks chart)"),
        ("no memory (sampling for tasks ocr)", "no memory (sampling for tasks ocr)"),
    ],
)
def test_an_error_is_told_with_the_tasks_once(ranks: Ranks, words: str, said: str) -> None:
    zero, one = ranks(2)
    one.send(Working("chart"))
    one.send(Failed(words))
    assert verdict(zero).text == f"rank 1 of 2 on node0: {said}"


def test_a_rank_without_prompts_has_no_tasks(ranks: Ranks) -> None:
    zero, one = ranks(2)
    one.send(Working("chart"))
    one.send(Working(""))
    one.send(Failed("no memory"))
    assert verdict(zero).text == "rank 1 of 2 on node0: no memory"


def test_a_rank_that_leaves_has_not_died(ranks: Ranks) -> None:
    zero, one, two = ranks(3)
    two.send(Left())
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
    assert received(one) == received(two) == Report()
    one.send(Working("chart"))
    one.send(Stuck(7, "generate (engine.py:3)", waits=False, silent_s=9))
    two.send(Stuck(7, "backward (update.py:4)", waits=True, silent_s=8))
    text = verdict(two).text
    assert "rank 1 of 3 on node0 hangs in generate (engine.py:3) (last on tasks chart)\n" in text
    assert "rank 2" not in text
    assert "no progress for 9 s" in text


def test_a_rank_that_does_not_answer_is_named_and_to_be_killed(ranks: Ranks) -> None:
    zero, one, two = ranks(3)
    two.send(Working("chart"))
    one.send(Stuck(7, "all_gather_list", waits=True, silent_s=9))
    zero.send(Stuck(7, "all_gather_list", waits=True, silent_s=9))
    told = verdict(zero)
    assert told.text.startswith(
        "rank 2 of 3 on node1 does not answer: it is stopped or stuck (last on tasks chart)"
    )
    assert [who.rank for who in told.silent] == [2]


def test_ranks_that_do_not_come_are_listed(ranks: Ranks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_ADDR", "node0")
    monkeypatch.setenv("MASTER_PORT", "29500")
    zero, _ = ranks(2, size=4, wait_s=0.2)
    assert verdict(zero).text == (
        "expected 4 ranks within 0.2 s, but 2, 3 did not come (here: 0 on node0, 1 on node0): start"
        " every node with the same MASTER_ADDR=node0 and MASTER_PORT=29500"
    )


def test_strangers_neither_run_code_nor_keep_ranks_from_coming(tmp_path: Path) -> None:
    class Crafted:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'trace'}",)

    me = Member(rank=0, world_size=1, host="node0")
    coordinator = Coordinator(me, 60.0)
    place = ("127.0.0.1", coordinator.port)
    mute = socket.create_connection(place)
    for words in (pickle.dumps(Crafted()), b"\xff" * 64, b"\0\0\0\x02{}", b"\0\0\0\x05[1,2]"):
        stranger = socket.create_connection(place)
        stranger.sendall(words)
        stranger.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            while stranger.recv(4096):  # the challenge, and then the end
                pass
        stranger.close()
    with pytest.raises((OSError, EOFError)):
        Wire.connect(place, b"another key")
    one = Rank(coordinator.port, coordinator.key)
    one.send(me)
    one.send(Failed("no memory"))
    assert verdict(one).text == "rank 0 of 1 on node0: no memory"
    mute.close()
    one.close()
    shut(coordinator)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(("num_nodes", "host"), [(1, "127.0.0.1"), (2, "0.0.0.0")])
def test_other_machines_can_connect_only_if_the_run_has_several(num_nodes: int, host: str) -> None:
    coordinator = Coordinator(Member(world_size=2, num_nodes=num_nodes), 60.0)
    assert coordinator._listener.getsockname() == (host, coordinator.port)
    shut(coordinator)
