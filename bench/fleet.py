"""A federation of separate processes on this machine, for the benches beside
it: starts a coordinator and its clients, runs a job, and reads from /proc what
each process used. Ports are chosen by the system; everything lies in a
temporary folder that is removed at the end.
"""
import json
import os
import shutil
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
IMAGES = "/usr/share/datasets/fashion-mnist"
TRAIN = os.path.join(IMAGES, "train-images-idx3-ubyte.gz")
TEST = os.path.join(IMAGES, "t10k-images-idx3-ubyte.gz")
JOB = os.path.join(ROOT, "examples", "fashion.yaml")
TICK = os.sysconf("SC_CLK_TCK")


def machine():
    """One line that names the machine and how busy it is."""
    model = "unknown processor"
    with open("/proc/cpuinfo", encoding="ascii") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    return f"{model}, {os.cpu_count()} cores; load average {load}"


def busy_seconds():
    """Core seconds that all processes of the machine have used so far."""
    with open("/proc/stat", encoding="ascii") as f:
        user, nice, system, _, _, irq, soft, steal = map(
            int, f.readline().split()[1:9])
    return (user + nice + system + irq + soft + steal) / TICK


class Process:
    """A program that runs until it is stopped."""

    def __init__(self, command, log):
        with open(log, "ab") as out:
            self.child = subprocess.Popen(command, stdout=out, stderr=out)

    def status(self, key):
        """A field of /proc/PID/status, in bytes."""
        with open(f"/proc/{self.child.pid}/status", encoding="ascii") as f:
            for line in f:
                if line.startswith(key + ":"):
                    return int(line.split()[1]) << 10
        raise KeyError(key)

    def cpu(self):
        """Core seconds used so far, in user and kernel mode."""
        with open(f"/proc/{self.child.pid}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return int(fields[11]) / TICK, int(fields[12]) / TICK

    def stop(self):
        self.child.terminate()
        self.child.wait()


class Fleet:
    """with Fleet(BUILD) as fleet: parts, a coordinator, clients, runs."""

    def __init__(self, build):
        self.bin = os.path.join(ROOT, build, "bin")
        self.tmp = tempfile.mkdtemp(prefix="tributary-bench-")
        self.dir = os.path.join(self.tmp, "fleet")
        self.parts = os.path.join(self.tmp, "parts")
        self.coordinator = None
        self.clients = []

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        for process in [*self.clients, self.coordinator]:
            if process is not None:
                process.stop()
        if kind is None:
            shutil.rmtree(self.tmp)
        else:
            print(f"the logs are in {self.tmp}")

    def call(self, program, *arguments, text=None):
        """Runs a verb to its end; returns what it printed."""
        command = [os.path.join(self.bin, program), *arguments]
        return subprocess.run(command, check=True, text=True, input=text,
                              stdout=subprocess.PIPE).stdout

    def daemon(self, verb, *arguments):
        return self.call("tributaryd", verb, "--dir", self.dir, *arguments)

    def split(self, data, n, *flags):
        self.call("tributary", "data", "split", data, "--clients", str(n),
                  "--output", self.parts, *flags)

    def start(self, *flags):
        """Starts the coordinator, and a client for each part."""
        self.call("tributaryd", "init", self.dir)
        command = [os.path.join(self.bin, "tributaryd"), "run", "--dir",
                   self.dir, *flags]
        self.coordinator = Process(command, self.path("coordinator.log"))
        while not self.listens():
            if self.coordinator.child.poll() is not None:
                raise RuntimeError("the coordinator does not come up")
            time.sleep(0.05)
        for part in sorted(os.listdir(self.parts)):
            if part.startswith("client-"):
                self.join(part)

    def listens(self):
        with open(self.path("coordinator.log"), encoding="utf-8") as log:
            return "\nenrolment " in log.read()

    def join(self, name):
        home = self.path(name)
        invite = self.daemon("invite", name)
        self.call("tributary", "join", "-", "--home", home, text=invite)
        data = "fashion=" + os.path.join(self.parts, name)
        command = [os.path.join(self.bin, "tributary"), "run", "--home", home,
                   "--data", data]
        self.clients.append(Process(command, home + ".log"))

    def path(self, name):
        return os.path.join(self.tmp, name)

    def processes(self):
        return [self.coordinator, *self.clients]

    def run(self, job, *flags):
        """Runs a job to its end. Returns the objects that watch printed,
        each with the seconds since the start, and the seconds to the end."""
        began = time.monotonic()
        self.daemon("start", job, *flags)
        command = [os.path.join(self.bin, "tributaryd"), "watch", "--json",
                   "--dir", self.dir]
        seen = []
        with subprocess.Popen(command, stdout=subprocess.PIPE,
                              text=True) as watch:
            for line in watch.stdout:
                seen.append(dict(json.loads(line),
                                 at=time.monotonic() - began))
        if watch.returncode != 0:
            raise RuntimeError(f"the run failed: {seen[-1:]}")
        return seen, time.monotonic() - began
