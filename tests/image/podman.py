"""podman with a store of its own, and containers as SageMaker and Lambda run them."""

import json
import subprocess
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from threading import Lock

from local.children import Children
from tests.image.processes import NotProven, do

# Containers get no capability at all, so podman may not raise these limits above what this process has.
LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")  # Lambda's own quotas
CLOSED = (
    *("--rm", "--pull", "never", "--read-only", "--read-only-tmpfs=false", "--cap-drop", "all"),
    *("--security-opt", "no-new-privileges", *LIMITS),
)
JOB = (*CLOSED, "--network", "none", "--memory", "2g", "--tmpfs", "/tmp:rw,mode=1777")
# Lambda has no /dev/shm. The namespace's own network is but the loopback of embedded AWS.
FUNCTION = (
    *(*CLOSED, "--user", "993:990", "--network", "host", "--ipc", "none"),
    *("--tmpfs", "/tmp:rw,size=512m,mode=1777"),
)
HOST_ONLY = {"LAMBDA_TASK_ROOT", "PYTHONPATH", "TMPDIR"}  # folders of this machine


class Podman:
    """Images are kept in the work folder; all else lies in mounts that end with the namespace.

    To podman each run is the first one after a reboot, so it never trusts what an earlier, killed run left.
    """

    def __init__(self, work: Path) -> None:
        self._log = work / "logs" / "podman.log"
        self._run = work / "run"
        self._words = (
            *("podman", "--root", str(work / "store"), "--storage-driver", "overlay"),
            *("--runroot", str(self._run / "containers"), "--tmpdir", str(self._run / "libpod")),
            *("--runtime", "runc", "--cgroup-manager", "cgroupfs"),
        )

    def enter(self) -> None:
        """Mounts what podman and runc keep outside the store; the caller's namespace is private."""
        for place in (self._run, *map(Path, ("/dev/shm", "/run/runc", "/var/lib/containers"))):
            place.mkdir(parents=True, exist_ok=True)
            do(["mount", "-t", "tmpfs", "tmpfs", str(place)], self._log)

    def command(self, *words: str) -> list[str]:
        """A command line of this podman."""
        return [*self._words, *words]

    def do(self, *words: str, log: Path | None = None) -> None:
        """Runs a command of podman; raises NotProven with the log's end where it fails."""
        do(self.command(*words), log or self._log)

    def read(self, *words: str) -> str:
        """What a command of podman prints to stdout; raises NotProven where it fails."""
        done = subprocess.run(
            self.command(*words), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise NotProven(f"podman {words[0]} ended with {done.returncode}:\n{done.stderr.strip()[-2000:]}")
        return done.stdout.strip()

    def build(
        self, context: Path, dockerfile: str, platform: str, *, base: Path, wheels: Path, tag: str
    ) -> None:
        """Builds a staged folder as CDK would, on a stand-in base and with pip reading from `wheels`."""
        standin = f"localhost/{base.stem}"
        kept = self.read("images", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
        if f"{standin}:latest" not in kept:
            path = "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
            self.do("import", "--change", f"ENV {path}", str(base), standin)
        configuration = self._run / "pip.conf"
        configuration.write_text("[global]\nno-index = true\nfind-links = /wheels\n", "ascii")
        self.do(
            *("build", "--pull-never", "--isolation", "chroot", "--platform", platform),
            *("--build-arg", f"BASE={standin}", "--file", str(context / dockerfile), "--tag", tag),
            *("--volume", f"{wheels}:/wheels:ro", "--volume", f"{configuration}:/etc/pip.conf:ro"),
            str(context),
        )
        for old in kept:
            if old not in {f"{standin}:latest", tag} and "<none>" not in old:
                self.do("rmi", "--force", old)


class Containers(Children):
    """The subprocesses of embedded AWS, with functions of the image in containers of the image."""

    def __init__(self, podman: Podman, staged: Path, tag: str, memory: int) -> None:
        super().__init__()
        self._podman, self._staged, self._tag, self._memory = podman, staged, tag, memory
        self.handlers: set[str] = set()  # that ran in a container
        self._names: dict[int, str] = {}
        self._numbers = count(1)
        self._naming = Lock()

    def start(
        self, command: list[str], *, folder: Path, given: Mapping[str, str], log: Path
    ) -> "subprocess.Popen[bytes]":
        """A process in `folder`; where that is the image's, a container whose entrypoint gets the last word."""
        if folder != self._staged:
            return super().start(command, folder=folder, given=given, log=log)
        with self._naming:
            name = f"topx-function-{next(self._numbers)}"
            environment = {key: value for key, value in given.items() if key not in HOST_ONLY}
            words = self._podman.command(
                *("run", "--name", name, *FUNCTION, "--memory", f"{self._memory}m"),
                *(word for pair in environment.items() for word in ("--env", "=".join(pair))),
                *(self._tag, command[-1]),
            )
            child = super().start(words, folder=folder, given={}, log=log)
            self._names[child.pid] = name
            self.handlers.add(command[-1])
        return child

    def end(self, child: "subprocess.Popen[bytes]") -> None:
        """Ends the process, and its container by name: Python as process 1 ignores SIGTERM."""
        name = self._names.pop(child.pid, None)
        if name:
            self._podman.do("rm", "--force", "--time", "0", "--ignore", name)
        super().end(child)


PROBE = """
import json, os, socket, sys
import awslambdaric.bootstrap, lambdas.encode, lambdas.rank, lambdas.evaluate, containers.repackage.main
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
places = ["/", "/etc", "/opt/topx", "/run", "/var/tmp", "/dev/shm", "/tmp"]
bytecode = [getattr(module, "__cached__", None) for module in list(sys.modules.values())]
print(json.dumps({
    "user": f"{os.getuid()}:{os.getgid()}",
    "capabilities": sum(int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")),
    "networks": [name for _, name in socket.if_nameindex()],
    "writable": [place for place in places if os.access(place, os.W_OK)],
    "compiled anew": [file for file in bytecode if file and not os.path.exists(file)],
    "python": sys.version.split()[0],
}))
"""


def probe(podman: Podman, tag: str, how: tuple[str, ...], user: str) -> str:
    """The image's Python version, once a look from inside has shown what `how` promises."""
    entrypoint = json.dumps(["python", "-c", PROBE])
    found = json.loads(podman.read("run", *how, "--entrypoint", entrypoint, tag))
    version: str = found.pop("python")
    wanted = {
        "user": user,
        "capabilities": 0,
        "networks": ["lo"],
        "writable": ["/dev/shm", "/tmp"] if how is JOB else ["/tmp"],
        "compiled anew": [],
    }
    if found != wanted:
        raise NotProven(f"a container started as {' '.join(how)} sees {found}; it must see {wanted}")
    return version
