"""Where the CPU time of a process goes, by part: samples of perf, each given to the first part that one of
its callers belongs to. What the kernel does for the store (writing, syncing) counts as the store's, all
other time in the kernel as system calls."""

import collections
import os
import shutil
import signal
import subprocess

STACK_BYTES = 16384
SAMPLES_A_SECOND = 997
PARTS = [
    ("HMAC", {"webhook_verify"}),
    ("store", {"queue_put", "spool_commit", "enqueue_until_stopped"}),
    ("JSON", {"webhook_parse", "pending_new", "job_messages_of_delivery"}),
    ("log", {"log_write", "write_until_stopped"}),
]
SYSTEM, REST = "system calls", "reader"


class Profile:
    """Records a process from start() to text()."""

    def __init__(self, pid, folder):
        self.pid = pid
        self.file = os.path.join(folder, "perf.data")
        self.process = None
        self.pipes = []

    def start(self):
        """False where there is no perf, or this user may not use it."""
        if shutil.which("perf") is None:
            return False
        control, orders = os.pipe()
        answers, answer = os.pipe()
        self.process = subprocess.Popen(
            ["perf", "record", "-q", "-F", str(SAMPLES_A_SECOND), "--call-graph", f"dwarf,{STACK_BYTES}",
             "--delay", "-1", "--control", f"fd:{control},{answer}", "-p", str(self.pid), "-o", self.file],
            pass_fds=(control, answer), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(control)
        os.close(answer)
        # It answers when it records; if it cannot, it ends.
        self.pipes = [orders, answers]  # perf ends when they are closed
        try:
            os.write(orders, b"enable\n")
        except BrokenPipeError:
            return False
        return os.read(answers, 64) != b""

    def text(self, cpu_us):
        """The parts of cpu_us, largest first."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
        for end in self.pipes:
            os.close(end)
        done = subprocess.run(["perf", "script", "-i", self.file, "-F", "tid,period,ip,sym,dso"],
                              capture_output=True, text=True, check=False)
        times = count(done.stdout)
        total = sum(times.values()) or 1
        return ", ".join(f"{part} {cpu_us * time / total:.1f}" for part, time in times.most_common())


def part_of(stack):
    """stack: (function, its file), the innermost first."""
    names = {name for name, _ in stack}
    for part, roots in PARTS:
        if names & roots:
            return part
    return SYSTEM if "kernel" in stack[0][1] else REST


def count(script):
    times = collections.Counter()
    for sample in script.split("\n\n"):
        head, *frames = sample.strip("\n").split("\n")
        stack = [(words[1].split("+")[0], words[-1]) for words in (f.split() for f in frames) if len(words) > 2]
        if stack:
            times[part_of(stack)] += int(head.split()[1].rstrip(":"))
    return times
