"""Long work in a process of its own: results, progress, Cancel, death, and no orphan."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import worker_tasks as tasks

from toolkit.errors import DiskFull, UsageError
from toolkit.widgets.jobs import Change, JobFailed, Progress, Worker, join
from toolkit.widgets.jobs.folder import JobFolder
from toolkit.widgets.jobs.job import Job
from toolkit.widgets.jobs.mailbox import Mailbox


def gone_within(pid: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def test_a_task_runs_elsewhere_and_its_result_comes_back(worker: Worker) -> None:
    value = {"sound": np.arange(6, dtype=np.int16).reshape(2, 3), "raw": b"\0\1", 3: [None, 1.5, "好"]}
    result = worker.run(tasks.echo, value=value).wait(20).result
    assert result["sound"].dtype == np.int16
    assert result["sound"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert (result["raw"], result[3]) == (b"\0\1", [None, 1.5, "好"])
    assert worker.pid not in (None, os.getpid())


def test_what_a_task_keeps_is_there_in_the_next_run(worker: Worker) -> None:
    first = worker.run(tasks.calls_kept).wait(20).result
    second = worker.run(tasks.calls_kept).wait(20).result
    assert second == [first[0], first[0]]
    worker.close()
    assert len(worker.run("worker_tasks:calls_kept").wait(20).result) == 1


def test_parts_come_in_order_and_a_late_view_gets_all_of_them(worker: Worker) -> None:
    heard: list[float] = []
    job = worker.run(tasks.speak, pieces=5)
    job.listen(lambda change: heard.extend(float(part.value[0]) for part in change.partials))
    job.wait(20)
    assert heard == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    late: list[Change] = []
    job.listen(late.append)
    assert [part.name for part in late[0].partials] == ["audio"] * 5
    assert job.result == {"samples": 12_000}


def test_in_an_event_loop_progress_comes_at_most_ten_times_a_second_and_nothing_blocks() -> None:
    async def run() -> tuple[list[float], int, Job]:
        worker = Worker("loop")
        worker.warm()
        times: list[float] = []
        ticks = 0
        job = worker.run(tasks.count, steps=400, pause_s=0.0025)
        job.listen(lambda _: times.append(time.monotonic()), replay=False)
        while not job.finished:
            await asyncio.sleep(0.01)
            ticks += 1
        await asyncio.to_thread(worker.close)
        return times, ticks, job

    times, ticks, job = asyncio.run(run())
    assert job.result == 400
    assert 4 <= len(times) <= 2 + 10 * (times[-1] - times[0])
    assert ticks > 30
    assert job.progress.text == "step {step}"


def test_a_mailbox_keeps_only_the_newest_progress() -> None:
    async def run() -> list[list[dict[str, object]]]:
        got: list[list[dict[str, object]]] = []
        box = Mailbox(got.append, asyncio.get_running_loop())
        for number in range(1000):
            box.put({"kind": "progress", "number": number})
        box.put({"kind": "partial"})
        box.put({"kind": "progress", "number": 1000})
        await asyncio.sleep(0.2)
        return got

    (messages,) = asyncio.run(run())
    assert [message.get("number") for message in messages] == [999, None, 1000]


def test_cancel_stops_a_task_that_asks_and_keeps_its_worker(worker: Worker) -> None:
    job = worker.run(tasks.count, steps=2000)
    while job.progress == Progress():
        time.sleep(0.01)
    pid, began = worker.pid, time.monotonic()
    job.cancel()
    assert job.state == "cancelling"
    assert job.wait(5).state == "cancelled"
    assert time.monotonic() - began < 0.9
    assert worker.run(tasks.add, first=1, second=2).wait(20).result == 3
    assert worker.pid == pid


def test_cancel_ends_a_task_that_does_not_ask_with_all_it_has_started(worker: Worker) -> None:
    job = worker.run(tasks.starts_a_child)
    while not job.partials:
        time.sleep(0.01)
    began = time.monotonic()
    job.cancel()
    assert job.wait(5).state == "cancelled"
    assert time.monotonic() - began < 2.5
    assert all(gone_within(pid, 2) for pid in job.partials[0].value)
    assert worker.run(tasks.add, first=1, second=2).wait(20).result == 3


def test_a_killed_worker_is_told_and_the_next_run_works(worker: Worker) -> None:
    job = worker.run(tasks.never_asks)
    while job.progress == Progress():
        time.sleep(0.01)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    job.wait(5)
    assert job.state == "died"
    assert job.error is not None
    assert (job.error.id, job.error.message) == ("worker-died", "the worker was ended by signal 9 (SIGKILL)")
    with pytest.raises(JobFailed, match="ended by signal 9"):
        _ = job.result
    assert worker.run(tasks.add, first=1, second=2).wait(20).result == 3


def test_a_worker_that_was_killed_between_two_runs_is_started_again(worker: Worker) -> None:
    worker.run(tasks.add, first=1, second=2).wait(20)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    assert worker.run(tasks.add, first=2, second=2).wait(20).result == 4


def test_the_last_words_of_a_worker_lead_to_a_rule(worker: Worker) -> None:
    job = worker.run(tasks.segfault).wait(20)
    assert job.state == "died"
    assert job.error is not None
    assert "signal 11 (SIGSEGV)" in job.error.message
    assert job.error.rule == "wheel-arch-missing-new-gpu"
    assert job.error.steps


def test_errors_carry_rule_and_fix_and_leave_the_worker_well(worker: Worker) -> None:
    job = worker.run(tasks.numpy_no_bf16).wait(20)
    pid = worker.pid
    assert job.error is not None
    assert job.error.rule == "numpy-no-bf16"
    assert job.error.title_zh == "波形仍是 bfloat16，NumPy 无法转换"
    assert "Write wav.float().cpu().numpy()" in "\n".join(job.error.steps)
    kinds = []
    for task in (tasks.bad_audio, tasks.odd, tasks.cannot_be_sent, tasks.leaves):
        ended = worker.run(task).wait(20)
        assert ended.state == "failed"
        assert ended.error is not None
        kinds.append((ended.error.id, ended.error.message.split(";")[0]))
    assert kinds == [
        ("bad-audio", "<script>alert(1)</script> is no recording"),
        ("toolkit-fault", "KeyError: '<img onerror=alert(1)>'"),
        ("usage-error", "a object cannot be sent to or from a worker"),
        ("toolkit-fault", "SystemExit: enough"),
    ]
    assert worker.pid == pid


def test_a_running_task_hears_what_it_is_told(worker: Worker) -> None:
    job = worker.run(tasks.waits_for_a_wish)
    job.tell("word", "pause")
    assert job.wait(20).result == "pause"


def test_one_job_at_a_time_and_only_what_can_be_imported(worker: Worker) -> None:
    job = worker.run(tasks.never_asks)
    with pytest.raises(UsageError, match="tests is still at work; wait for it, or cancel it first"):
        worker.run(tasks.add, first=1, second=2)
    with pytest.raises(UsageError, match=r"has not ended within 0.1 s; it goes on, or stop it with cancel"):
        job.wait(0.1)
    job.cancel()
    job.wait(5)
    with pytest.raises(UsageError, match="another process cannot import it; put it into a module"):
        worker.run(lambda work: None)
    with pytest.raises(UsageError, match="a object cannot be sent"):
        worker.run(tasks.echo, value=object())
    missing = worker.run("worker_tasks:nothing").wait(20)
    assert missing.error is not None
    assert missing.error.message == "there is no task worker_tasks:nothing"


def test_a_folder_of_jobs_that_cannot_be_written_is_told(worker: Worker, jobs_folder: Path) -> None:
    jobs_folder.write_text("a file")
    with pytest.raises(DiskFull, match="the folder of jobs .* cannot be written"):
        worker.run(tasks.add, first=1, second=2)
    assert not worker.busy


def test_old_jobs_are_removed_and_the_folder_is_the_owners_alone(worker: Worker, jobs_folder: Path) -> None:
    for number in range(23):
        JobFolder.create("tests", "x:y", {"number": number}).finish({"state": "done", "result": number})
    newest = [folder.arguments()["number"] for folder in JobFolder.all("tests")]
    assert newest == list(range(22, 2, -1))
    if sys.platform != "win32":
        assert {path.stat().st_mode & 0o777 for path in jobs_folder.iterdir()} == {0o700}


KERNEL = """
    import sys, time
    sys.path.insert(0, {tests!r})
    import worker_tasks as tasks
    from toolkit.widgets.jobs import Worker
    worker = Worker("restart")
    assert worker.run(tasks.add, first=20, second=22).wait(20).result == 42
    {more}
"""


def test_a_killed_kernel_leaves_no_orphan_and_its_jobs_can_be_read_again(jobs_folder: Path) -> None:
    more = (
        "job = worker.run(tasks.starts_a_child); "
        "exec('while not job.partials: time.sleep(0.01)'); "
        "print(*job.partials[0].value, flush=True); time.sleep(60)"
    )
    program = textwrap.dedent(KERNEL).format(tests=str(Path(__file__).parent), more=more)
    kernel = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert kernel.stdout is not None
    pids = [int(word) for word in kernel.stdout.readline().split()]
    assert len(pids) == 2
    assert all(psutil.pid_exists(pid) for pid in pids)
    assert join(Worker("restart")) is not None  # the finished one: the other still belongs to a living kernel
    kernel.kill()
    kernel.communicate()
    assert all(gone_within(pid, 3) for pid in pids)
    job = join(Worker("restart"))
    assert job is not None
    assert (job.state, job.task, job.arguments) == ("interrupted", "worker_tasks:starts_a_child", {})
    job.folder.remove()
    done = join(Worker("restart"))
    assert done is not None
    assert (done.state, done.result, done.arguments) == ("done", 42, {"first": 20, "second": 22})
    assert join(Worker("another")) is None


def test_a_worker_loads_no_widgets_and_nothing_heavy_by_itself(worker: Worker) -> None:
    loaded = set(worker.run(tasks.loaded).wait(20).result)
    assert loaded & {"torch", "transformers", "pandas", "ipywidgets", "IPython", "matplotlib", "scipy"} == set()


def test_twenty_runs_do_not_grow_the_kernel(worker: Worker) -> None:
    kernel = psutil.Process()

    def run() -> None:
        result = worker.run(tasks.echo, value=np.ones(1_000_000, np.float32)).wait(20).result
        assert result.size == 1_000_000
        worker.run(tasks.speak, pieces=50, size=24_000).wait(20)

    for _ in range(4):
        run()
    before, threads, files = kernel.memory_info().rss, kernel.num_threads(), kernel.num_fds()
    for _ in range(20):
        run()
    assert kernel.memory_info().rss - before < 16 * 2**20  # what twenty runs have sent is 170 MB
    assert kernel.num_threads() <= threads
    assert kernel.num_fds() <= files + 1
    assert worker.named("one") is worker.named("one")
