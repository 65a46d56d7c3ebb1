"""What `cmake --install` puts where: whole, in agreement with itself, and with pages that man shows without a warning."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest

BUILD = os.environ["MAYFLY_BUILD"]
SOURCE = os.environ["MAYFLY_SOURCE"]
UNITS = "lib/systemd/system"


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        subprocess.run(["cmake", "--install", BUILD], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "DESTDIR": folder.name})
        # Below one prefix, whatever it is.
        cls.prefix = "/usr/local"
        cls.root = folder.name + cls.prefix
        cls.files = sorted(os.path.relpath(os.path.join(at, name), cls.root) for at, _, names in os.walk(cls.root) for name in names)
        outside = [at for at, _, names in os.walk(folder.name) if names and not at.startswith(cls.root)]
        assert outside == [], outside

    def read(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8") as f:
            return f.read()

    def below(self, folder):
        return [path[len(folder) + 1:] for path in self.files if path.startswith(folder + "/")]

    def test_programs_and_what_they_start_are_there(self):
        self.assertEqual(["mayfly-build-runner-image", "mayfly-ingress", "mayfly-publish-image", "mayfly-reaper", "mayfly-worker", "mayflyctl"],
                         self.below("bin"))
        self.assertEqual(["image/build-runner-image", "image/lib.sh", "image/runner/docker-proxies", "image/versions.sh", "mayfly-agent", "mayfly-vm-net",
                          "mayfly-vm-supervisor"], self.below("libexec/mayfly"))
        for path in self.below("bin"):
            full = os.path.join(self.root, "bin", path)
            done = subprocess.run([full, "--help"], capture_output=True, text=True, check=False)
            self.assertEqual((0, ""), (done.returncode, done.stderr), path)
            self.assertIn("usage: ", done.stdout, path)

    def test_units_start_what_is_installed(self):
        for name, program in (("ingress", "ingress"), ("worker", "worker"), ("reaper", "reaper"), ("image-refresh", "publish-image"),
                              ("image-build", "build-runner-image")):
            unit = self.read(f"{UNITS}/mayfly-{name}.service")
            self.assertNotIn("@", re.sub(r"(?m)^(#.*|SystemCallFilter=.*)$", "", unit))
            started, arguments = re.search(r"(?m)^ExecStart=(\S+) (.*)$", unit).groups()
            self.assertEqual(f"{self.prefix}/bin/mayfly-{program}", started)
            if name != "image-build":
                self.assertRegex(arguments, "(^| )--config /etc/mayfly/mayfly.yaml$")
            for page in re.search(r"(?m)^Documentation=(.*)$", unit)[1].split():
                word, section = re.fullmatch(r"man:(.*)\((\d)\)", page).groups()
                self.assertIn(f"share/man/man{section}/{word}.{section}", self.files)
        for name in ("refresh", "build"):
            self.assertIn(f"{UNITS}/mayfly-image-{name}.timer", self.files)
        self.assertIn("lib/sysusers.d/mayfly.conf", self.files)
        self.assertIn("lib/tmpfiles.d/mayfly.conf", self.files)

    @unittest.skipUnless(shutil.which("systemd-sysusers") and os.getuid() == 0, "no systemd-sysusers, or not root")
    def test_users_and_directories_are_made_from_below_the_prefix(self):
        root = self.root[:-len(self.prefix)]
        os.makedirs(os.path.join(root, "etc"), exist_ok=True)
        for command in (["systemd-sysusers"], ["systemd-tmpfiles", "--create", "--prefix=/etc/mayfly", "--prefix=/var/lib/mayfly"]):
            done = subprocess.run([command[0], f"--root={root}", *command[1:]], capture_output=True, text=True, check=False)
            self.assertEqual(0, done.returncode, done.stderr)
        with open(os.path.join(root, "etc/group"), encoding="utf-8") as f:
            groups = {line.split(":")[0]: line.rstrip().split(":") for line in f}
        self.assertEqual({"mayfly-ingress", "mayfly-worker", "mayfly-reaper"}, set(groups["mayfly-queue"][3].split(",")))
        for name, mode in (("etc/mayfly", 0o755), ("var/lib/mayfly/queue", 0o2770), ("var/lib/mayfly/spool", 0o700)):
            self.assertEqual(mode, os.stat(os.path.join(root, name)).st_mode & 0o7777, name)
        self.assertEqual(int(groups["mayfly-queue"][2]), os.stat(os.path.join(root, "var/lib/mayfly/queue")).st_gid)

    def test_example_passes_as_installed(self):
        example = os.path.join(self.root, "share/doc/mayfly/examples/mayfly.yaml")
        for name in ("ingress", "worker", "reaper"):
            done = subprocess.run([os.path.join(self.root, "bin", f"mayfly-{name}"), "--config", example, "--check-config"],
                                  capture_output=True, text=True, check=False)
            self.assertEqual(0, done.returncode, done.stdout + done.stderr)

    def test_each_program_and_each_table_has_a_page(self):
        pages = self.below("share/man")
        for program in self.below("bin"):
            section = 8 if program in ("mayfly-ingress", "mayfly-worker", "mayfly-reaper") else 1
            self.assertIn(f"man{section}/{program}.{section}", pages)
        for page in ("man5/mayfly.yaml.5", "man7/mayfly-log-events.7", "man7/mayfly-metrics.7"):
            self.assertIn(page, pages)

    def test_pages_say_what_the_tables_and_the_help_say(self):
        plain = {path: self.read(f"share/man/{path}").replace("\\-", "-").replace("\\fB", "").replace("\\fR", "").replace("\\e", "\\")
                 for path in self.below("share/man")}
        for path, name in (("man5/mayfly.yaml.5", "config-reference"), ("man1/mayflyctl.1", "commands"), ("man7/mayfly-metrics.7", "metrics")):
            with open(os.path.join(SOURCE, "deploy/docs", name + ".md"), encoding="utf-8") as f:
                terms = [term.replace("\\|", "|") for term in re.findall(r"(?m)^\| `((?:[^`\\]|\\.)*)` \|", f.read())]
            self.assertGreater(len(terms), 10, name)
            for term in terms:
                self.assertIn(f".TP\n{term}\n", plain[path], name)
        for program in ("mayfly-ingress", "mayfly-worker", "mayfly-reaper"):
            text = subprocess.run([os.path.join(self.root, "bin", program), "--help"], capture_output=True, text=True, check=True).stdout
            options = re.findall(r"(?m)^  (--[a-z-]+)", text)
            self.assertIn("--check-config", options)
            for option in options:
                self.assertIn(f".TP\n{option}", plain[f"man8/{program}.8"])

    @unittest.skipUnless(shutil.which("groff"), "no groff")
    def test_pages_are_shown_without_a_warning(self):
        for path in self.below("share/man"):
            done = subprocess.run(["groff", "-k", "-man", "-Tutf8", "-wall", "-rLL=80n", os.path.join(self.root, "share/man", path)],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
            self.assertEqual((0, ""), (done.returncode, done.stderr), path)

    def test_shells_complete_what_mayflyctl_knows(self):
        for path, text in (("bash-completion/completions/mayflyctl", "complete "), ("zsh/vendor-completions/_mayflyctl", "#compdef mayflyctl")):
            script = self.read(f"share/{path}")
            self.assertIn(text, script)
            self.assertIn("completion words", script)
        subprocess.run(["bash", "-n", os.path.join(self.root, "share/bash-completion/completions/mayflyctl")], check=True)

    def test_links_of_the_documents_are_there(self):
        pages = [path for path in self.below("share/doc/mayfly/docs") if path.endswith(".md")]
        self.assertIn("operations.md", pages)
        for page in pages:
            for target in re.findall(r"\]\(((?:[a-z-]+/)*[a-z-]+\.md)", self.read(f"share/doc/mayfly/docs/{page}")):
                self.assertIn(os.path.normpath(os.path.join(os.path.dirname(page), target)), pages, page)


if __name__ == "__main__":
    unittest.main()
