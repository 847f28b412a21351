"""Jobs in processes of their own: ended in time, killed, hanging, or no longer wanted."""

from __future__ import annotations

import os
import signal
import time

import pytest

from bench.errors import InputError
from bench.events import Event, Listener, Step
from bench.run import processes
from bench.run.processes import DiedError, TimedOutError, call


def test_a_process_is_ended_when_its_time_is_up() -> None:
    with pytest.raises(TimedOutError):
        call(sleeper, timeout_s=0.5)


def test_a_process_that_is_killed_says_so() -> None:
    with pytest.raises(DiedError, match="killed \\(signal 9\\), as the system does when memory"):
        call(suicide)
    with pytest.raises(DiedError, match="exit status 3"):
        call(leaver)


def test_a_process_that_hangs_after_its_last_word_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "ENDING_S", 0.3)
    with pytest.raises(DiedError, match=r"told no more, and did not end within 0\.3 s"):
        call(hanger)


def test_a_process_whose_starter_wants_no_more_is_ended() -> None:
    pids: list[int] = []

    def stopping(event: Event) -> None:
        assert isinstance(event, Step)
        pids.append(event.step)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call(teller, listener=stopping)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_a_job_gives_its_answer_and_the_users_mistakes_to_its_starter() -> None:
    assert call(half, 8) == 4
    with pytest.raises(InputError, match="7 is odd"):
        call(half, 7)


def test_a_job_has_the_environment_that_its_starter_has_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for folder in ("one", "two"):
        monkeypatch.setenv("RESIZER_BENCH_DATA", folder)
        assert call(data_folder) == folder


def data_folder(_: Listener) -> str:
    return os.environ["RESIZER_BENCH_DATA"]


def sleeper(_: Listener) -> None:
    time.sleep(86_400)  # whoever waits for its end has not ended it


def hanger(_: Listener) -> None:
    os.closerange(3, 256)
    time.sleep(60)


def suicide(_: Listener) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leaver(_: Listener) -> None:
    os._exit(3)


def teller(tell: Listener) -> None:
    while True:
        tell(Step(step=os.getpid(), total=0, epoch=0))
        time.sleep(0.01)


def half(_: Listener, number: int) -> int:
    if number % 2:
        raise InputError(f"{number} is odd")
    return number // 2
