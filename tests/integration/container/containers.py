"""What the tests of deploy/container and deploy/compose share: podman's configuration and store, in a folder of their own, Debian roots
that mmdebstrap makes (no registry is asked), and images built on them. The roots are kept in build/container for the next run;
with MAYFLY_CONTAINER_STORE, a folder, podman's store too, so that what has not changed is not built again.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time

SOURCE = os.environ.get("MAYFLY_SOURCE") or os.path.abspath(os.path.join(os.path.dirname(__file__), "../../.."))
KEPT = os.path.join(SOURCE, "build", "container")
TOOLS = ["podman", "buildah", "runc", "mmdebstrap"]
PATIENCE = 90
COMMIT = "0123456789abcdef0123456789abcdef01234567"  # where there is no git, too

# What a container without cgroups of its own and with a low limit of files needs.
CONTAINERS_CONF = """[containers]
default_ulimits = ["nofile=1024:1024","nproc=4096:4096"]
[network]
network_backend = "netavark"
network_config_dir = "{0}/networks"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
"""
STORAGE_CONF = """[storage]
driver = "{1}"
graphroot = "{0}/store"
runroot = "{0}/run"
"""


def run(*command, check=True, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done


def until(what, is_true, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while not (found := is_true()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.1)
    return found


def root_is_a_mount():
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        return any(line.split()[4] == "/" for line in mounts)


def skip_without(*tools):
    lacking = [tool for tool in tools if shutil.which(tool) is None]
    if lacking or os.getuid() != 0:
        print(f"skipped: {', '.join(lacking) or 'not run as root'}: see deploy/packages container")
        sys.exit(77)
    if not root_is_a_mount():
        print("skipped: / is not a mount, as in a chroot: podman unpacks no image there, and runs nothing in a container")
        sys.exit(77)


def debian_root(name="debian-12", packages=("ca-certificates",), given=None):
    """A tar of Debian without documentation, as the slim images of registries are."""
    path = given or os.path.join(KEPT, name + ".tar")
    if not os.path.exists(path):
        os.makedirs(KEPT, exist_ok=True)
        excluded = [f"--dpkgopt=path-exclude=/usr/share/{d}/*" for d in ("doc", "man", "locale", "info")]
        # Merged by the hook: the package usrmerge would bring all of Perl.
        run("mmdebstrap", "--quiet", "--variant=apt", *excluded, "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
            "--aptopt=Apt::Install-Recommends \"false\"", f"--include={','.join(('usr-is-merged', *packages))}", "bookworm",
            path + ".new.tar", env={**os.environ, "SOURCE_DATE_EPOCH": "0"})
        os.rename(path + ".new.tar", path)
    return path


def open_store():
    """podman and buildah use the folder that is returned, and nothing else."""
    kept = os.environ.get("MAYFLY_CONTAINER_STORE")
    if kept is not None:
        os.makedirs(kept, exist_ok=True)
    folder = kept or tempfile.mkdtemp(prefix="mayfly-container-", dir=os.environ.get("MAYFLY_TMP"))
    os.environ["CONTAINERS_CONF"] = os.path.join(folder, "containers.conf")
    os.environ["CONTAINERS_STORAGE_CONF"] = os.path.join(folder, "storage.conf")

    def configure(driver):
        for name, text in (("containers.conf", CONTAINERS_CONF), ("storage.conf", STORAGE_CONF)):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
                f.write(text.format(folder, driver))
    configure("overlay")
    if run("podman", "info", check=False).returncode != 0:
        configure("vfs")  # works on any file system, slowly
    if run("podman", "image", "exists", "localhost/debian:12", check=False).returncode != 0:
        run("podman", "import", "--quiet", debian_root(given=os.environ.get("MAYFLY_CONTAINER_ROOT")), "localhost/debian:12")
    return folder


def close_store(folder):
    run("podman", "rm", "--all", "--force", "--time", "1", check=False)
    if "MAYFLY_CONTAINER_STORE" not in os.environ:
        remove_store(folder)


def remove_store(folder):
    """Of which podman leaves a part mounted on itself."""
    run("umount", os.path.join(folder, "store", "overlay"), check=False)
    shutil.rmtree(folder, ignore_errors=True)


def build(*arguments, tag="localhost/mayfly:test", options=""):
    run(os.path.join(SOURCE, "deploy/container/build"), "--debian", "localhost/debian:12", "--tag", tag, *arguments,
        env={**os.environ, "CONTAINER_TOOL": "buildah", "COMMIT": COMMIT,
             "CONTAINER_BUILD_OPTIONS": f"--isolation chroot --network host --layers {options}"})
    return tag


if __name__ == "__main__":
    remove_store(sys.argv[1])
