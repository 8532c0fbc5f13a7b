"""Thousands of clients in a few processes (bench-load), for the benches beside
it: they hold real connections and send real updates, but train nothing.
"""
import os
import subprocess
import time

from fleet import ROOT, Fleet, Process


class Load:
    """One process of clients; words go in, waves come out."""

    def __init__(self, command, log):
        with open(log, "ab") as errors:
            self.child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=errors, text=True)

    def say(self, word):
        self.child.stdin.write(word + "\n")
        self.child.stdin.flush()

    def hear(self):
        """The next wave: (name, clients, from, until) in nanoseconds."""
        line = self.child.stdout.readline().split()
        if len(line) != 4:
            raise RuntimeError("a process of clients has ended")
        return line[0], int(line[1]), int(line[2]), int(line[3])

    def stop(self):
        self.child.stdin.close()
        self.child.stdout.close()
        self.child.wait()


class Swarm:
    """with Swarm(...) as swarm: all processes together."""

    def __init__(self, arguments, n, processes, log, build):
        program = os.path.join(ROOT, build, "bin", "bench-load")
        share = [n // processes + (i < n % processes)
                 for i in range(processes)]
        first = [sum(share[:i]) for i in range(processes)]
        self.loads = [Load([program, *arguments[:2 + (arguments[0] == "echo")],
                            str(f), str(s), *arguments[
                                2 + (arguments[0] == "echo"):]], log)
                      for f, s in zip(first, share)]

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.stop()

    def stop(self):
        for load in self.loads:
            load.stop()
        self.loads = []

    def say(self, word):
        for load in self.loads:
            load.say(word)

    def wave(self, name):
        """Seconds from the first to the last client of a wave."""
        parts = [load.hear() for load in self.loads]
        if any(p[0] != name for p in parts):
            raise RuntimeError(f"{name} was to come, not {parts}")
        return (max(p[3] for p in parts) - min(p[2] for p in parts)) / 1e9

    def do(self, word):
        self.say(word)
        return self.wave(word.split()[0])


class Router(Process):
    """A bare ROUTER in a process of its own."""

    def __init__(self, build, log):
        program = os.path.join(ROOT, build, "bin", "bench-router")
        super().__init__([program], log)
        self.endpoint, self.key = None, None
        while self.key is None:
            with open(log, encoding="ascii") as f:
                words = f.read().split()
            if len(words) == 2:
                self.endpoint, self.key = words
            else:
                time.sleep(0.01)


class Coordinator(Fleet):
    """A coordinator whose members are those of bench-load."""

    def enrol(self, n):
        self.call("tributaryd", "init", self.dir)
        self.call("bench-load", "members", self.dir, str(n))

    def begin(self, *flags):
        """Starts the daemon; returns the seconds until it listens."""
        began = time.monotonic()
        command = [os.path.join(self.bin, "tributaryd"), "run", "--dir",
                   self.dir, *flags]
        self.coordinator = Process(command, self.path("coordinator.log"))
        while not self.listens():
            if self.coordinator.child.poll() is not None:
                raise RuntimeError("the coordinator does not come up")
            time.sleep(0.02)
        return time.monotonic() - began

    def job(self, model, n, rounds=1, more=""):
        path = self.path("job.yaml")
        with open(path, "w", encoding="ascii") as f:
            f.write(f"name: load\nmodel:\n  new: {model}\ndata:\n  set: load\n"
                    "  reader: idx\n"
                    f"rounds: {rounds}\ncohort:\n  target: {n}\n"
                    f"  minimum: {n}\n{more}")
        return path
