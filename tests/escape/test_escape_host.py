"""A sandbox sees nothing of its host: no files, processes, environment variables, sockets or credentials."""

import asyncio
import os
from pathlib import Path

from holdfast.sandbox.drivers.bubblewrap import arguments
from tests.escape.conftest import CANARY, Inside, MakeSandbox


async def test_home_folders_and_folders_of_the_host_are_absent(inside: Inside) -> None:
    image = {"boot", "home", "media", "mnt", "opt", "root", "srv", "sys", "var"} if inside.is_docker else set[str]()
    assert set((await inside.sh("ls /")).split()) <= image | {
        "bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "run", "sbin", "tmp", "usr", "workspace",
    }  # fmt: skip
    folders = "/root /home /srv /mnt /opt /boot /work /media /sys" + ("" if inside.is_docker else " /var")
    assert await inside.sh(f"find {folders} -mindepth 1 2>/dev/null; true") == "(no output)"
    if inside.is_docker:  # /etc and /var come from the image, except what names the host or its users
        assert await inside.sh("cat /etc/hosts /etc/hostname /etc/resolv.conf /etc/passwd") == "".join(
            arguments.ETC.get(name, "") for name in ("hosts", "hostname", "resolv.conf", "passwd")
        )
        assert os.uname().nodename not in await inside.sh("hostname; uname -n")
        return
    etc = set((await inside.sh("find /etc -maxdepth 1 -type f -printf '%f\\n'")).split())
    assert etc <= {
        "passwd", "group", "nsswitch.conf", "hosts", "hostname", "host.conf", "os-release", "shells", "ld.so.cache",
        "ld.so.conf",
    }  # fmt: skip
    assert "root:x:0:0:root:/:/usr/sbin/nologin" in await inside.sh("cat /etc/passwd")
    assert os.uname().nodename not in await inside.sh("hostname; cat /etc/hostname; uname -n")


async def test_only_the_workspace_and_tmp_can_be_written(inside: Inside) -> None:
    """A file that is covered by /dev/null takes what is written, and the kernel does not get it."""
    settings = [Path("/proc/sys/kernel/core_pattern"), Path("/proc/sys/kernel/random/boot_id")]
    before = [setting.read_bytes() for setting in settings]
    seen = await inside.sh(
        "for d in / /usr /usr/bin /etc /run /run/holdfast /run/holdfast/agent /dev /proc /proc/sys/kernel; do"
        " touch $d/holdfast-probe 2>/dev/null && echo written $d; done;"
        " for f in $(find /proc/sys /sys /etc -type f -writable 2>/dev/null) /proc/sys/kernel/core_pattern; do"
        "  [ -c $f ] && continue; (cat $f > /tmp/value && cat /tmp/value > $f) 2>/dev/null && echo written $f; done;"
        " (echo x > /proc/sys/kernel/core_pattern) 2>/dev/null; touch /tmp/ok /workspace/ok /dev/shm/ok && echo ok"
    )
    assert seen.splitlines()[-1] == "ok"
    assert "written" not in seen
    assert [setting.read_bytes() for setting in settings] == before


async def test_kernel_memory_and_sysrq_are_closed(inside: Inside) -> None:
    seen = await inside.sh(
        "for f in kcore kmsg keys kallsyms iomem vmallocinfo; do head -c 9 /proc/$f; done 2>/dev/null | wc -c;"
        " (echo h > /proc/sysrq-trigger) 2>/dev/null && echo pressed; dmesg 2>/dev/null | tail -1"
    )
    assert seen == "0\n"


async def test_the_environment_has_a_few_fixed_variables(inside: Inside) -> None:
    seen = await inside.sh(
        "env | cut -d= -f1 | sort; for p in /proc/[0-9]*/environ; do (tr '\\0' '\\n' < $p) 2>/dev/null; done"
    )
    names = {line.split("=")[0] for line in seen.split()}
    assert names <= {
        "HOME",
        "LANG",
        "PATH",
        "PWD",
        "PYTHONUNBUFFERED",
        "OLDPWD",
        "SHELL",
        "SHLVL",
        "TERM",
        "TMPDIR",
        "USER",
        "_",
    }
    assert "Permission denied" in await inside.sh("cat /proc/1/environ")


async def test_only_its_own_processes_are_seen(inside: Inside) -> None:
    seen = await inside.sh("ls -d /proc/[0-9]* | wc -l; cat /proc/1/comm")
    assert int(seen.split()[0]) < 10
    assert seen.split()[1] == "python3"
    assert await inside.sh(f"kill -0 {os.getpid()} 2>&1 | grep -c 'No such process'") == "1\n"


async def test_no_socket_of_an_engine_or_service_is_there(inside: Inside) -> None:
    seen = await inside.sh("find / -type s -not -path '/proc/*' 2>/dev/null; ls /run; ls /var/run/ 2>/dev/null; true")
    assert set(seen.split()) == {"holdfast"}


async def test_the_files_of_another_session_cannot_be_reached(make: MakeSandbox) -> None:
    one, other = await make(), await make()
    await other.sh(f"echo {CANARY} > /workspace/secret")
    path = str(other.workspace / "secret")
    await one.sh(f"ln -s {path} link; ln -s ../{other.key.session}/secret up")
    seen = await one.sh(f"cat {path} link up ../{other.key.session}/secret")
    assert CANARY not in seen
    for name in (path, "link", "up", f"../{other.key.session}/secret"):
        outcome = await one.call("read", file_path=name)
        assert outcome.is_error


async def test_the_canary_is_nowhere(inside: Inside) -> None:
    half = len(CANARY) // 2
    seen = await inside.sh(
        # The command joins the two halves of the canary, so that the search does not find its own command line.
        f"w={CANARY[:half]}; w=$w{CANARY[half:]};"
        ' grep -rlsF --exclude-dir=proc -- "$w" /etc /run /tmp /workspace /dev/shm /usr/local 2>/dev/null;'
        " for p in /proc/[0-9]*; do for f in environ cmdline mountinfo; do"
        '  if tr "\\0" "\\n" < $p/$f 2>/dev/null | grep -v "^w=" | grep -qF -- "$w"; then echo found $p/$f; fi;'
        " done; done; cat /proc/self/mountinfo",
        timeout_ms=60_000,
    )
    assert CANARY not in seen
    assert "found" not in seen
    # mountinfo shows the host's path of a bind mount. That path must not exist in the sandbox.
    assert (
        await inside.sh(f"ls {inside.data} {inside.data.parent} 2>&1 | grep -vc 'No such file'") == "0\n[exit code 1]"
    )


async def test_proc_tells_nothing_of_the_host_but_what_programs_need(inside: Inside) -> None:
    seen = await inside.sh(
        "cd /proc; for f in $(find . -maxdepth 1 -type f -not -name '[0-9]*') sys/kernel/core_pattern;"
        " do [ -s $f ] || head -c 1 $f 2>/dev/null | grep -q . && echo ${f#./}; done; true"
    )
    assert set(seen.split()) <= set(arguments.SHOWN)
    for name in ("slabinfo", "diskstats", "partitions", "vmallocinfo", "zoneinfo", "modules", "swaps"):
        assert await inside.sh(f"cat /proc/{name} 2>/dev/null | wc -c") == "0\n", name
    boot_id = "/proc/sys/kernel/random/boot_id"
    assert await inside.sh(f"cat {boot_id}") == ("(no output)" if inside.is_docker else arguments.BOOT_ID)
    assert await asyncio.to_thread(Path(boot_id).read_text) != arguments.BOOT_ID
    # What programs need is there.
    assert await inside.sh(
        "nproc > /dev/null && free > /dev/null && ps > /dev/null && uptime > /dev/null && echo on"
    ) == ("on\n")
    assert len((await inside.sh("cat /proc/sys/kernel/random/uuid")).strip()) == 36
