"""The oracle itself: MXNet's missing libraries, and clear words where it cannot run or will not answer."""

import platform
import subprocess
import sys
from pathlib import Path

import libs
import pytest
from oracle import NotRun, Oracle, Refused

LIBS = Path(libs.__file__)


def placed(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(LIBS), str(folder)], capture_output=True, text=True, check=False)


@pytest.mark.skipif(libs.obstacle() is not None, reason="only where the oracle can run")
def test_both_libraries_are_placed_once_and_again(tmp_path: Path) -> None:
    (tmp_path / "libmxnet.so").touch()
    for _ in range(2):
        done = placed(tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "libgomp.so.1",
            "libmxnet.so",
            "libquadmath.so.0",
        ]
        assert all(path.read_bytes()[:4] == b"\x7fELF" for path in tmp_path.glob("lib*.so.*"))


@pytest.mark.skipif(libs.obstacle() is not None, reason="only where the oracle can run")
def test_another_folder_is_refused(tmp_path: Path) -> None:
    done = placed(tmp_path)
    assert done.returncode == 1
    assert (
        done.stderr == f"not run: {tmp_path} holds no libmxnet.so; give the mxnet folder of the oracle's venv\n"
    )


@pytest.mark.parametrize(
    ("system", "machine", "reason"),
    [
        ("Darwin", "arm64", "this is Darwin on arm64"),
        ("Windows", "AMD64", "this is Windows on AMD64"),
        ("Linux", "aarch64", "Arm Performance Libraries"),
    ],
)
def test_elsewhere_it_says_not_run(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, reason: str
) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    with pytest.raises(SystemExit, match=f"^not run: .*{reason}"):
        libs.main()


@pytest.mark.oracle
def test_mxnet_uses_no_library_of_the_system(oracle: Oracle) -> None:
    loaded = [Path(path) for path in oracle.ask("libraries")]
    assert [path.name for path in loaded] == list(libs.LIBRARIES)
    assert {path.parent.name for path in loaded} == {"mxnet"}


@pytest.mark.oracle
def test_what_the_peers_refuse_is_said_in_one_line(oracle: Oracle) -> None:
    with pytest.raises(Refused, match=r"\AMXNetError: [^\n]*Invalid NDArray file format\Z"):
        oracle.ask("load_params", content=bytes(100))


@pytest.mark.oracle
def test_a_peer_that_has_ended_is_said_to_have(tmp_path: Path) -> None:
    with Oracle(tmp_path / "peer.log") as oracle:
        oracle._process.kill()
        with pytest.raises(NotRun, match=r"^the peer ended with code -9 at versions: it printed nothing$"):
            oracle.ask("versions")
