"""Work that runs together, and a change that runs alone."""

import threading
import time

from g2rpo.rollout.turns import Turns


def test_a_change_waits_for_work_under_way_and_holds_back_new_work() -> None:
    turns, order = Turns(), []
    working, end, changing = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        with turns.beside_others():
            working.set()
            assert end.wait(10)
            order.append("work")

    def change() -> None:
        changing.set()
        with turns.alone():
            order.append("change")

    def later() -> None:
        with turns.beside_others():
            order.append("later")

    threads = [threading.Thread(target=work)]
    threads[0].start()
    assert working.wait(10)
    with turns.beside_others():  # two at once
        pass
    threads.append(threading.Thread(target=change))
    threads[1].start()
    assert changing.wait(10)
    while not (turns._changing or order):
        time.sleep(0.001)
    threads.append(threading.Thread(target=later))
    threads[2].start()
    assert order == []
    end.set()
    for thread in threads:
        thread.join(10)
    assert order == ["work", "change", "later"]


def test_an_error_gives_the_turn_back() -> None:
    turns = Turns()
    for turn in (turns.beside_others, turns.alone):
        try:
            with turn():
                raise KeyError
        except KeyError:
            pass
    with turns.alone():
        pass
