"""The systemd units: understood by systemd, confined as they promise, and in agreement with the example configuration."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

UNITS = os.path.join(os.environ["MAYFLY_SOURCE"], "deploy", "systemd")
LIMITS = {"ingress": 2.5, "reaper": 2.5, "worker": 4.0}
JUDGED = {**LIMITS, "image-refresh": 2.5, "image-build": 6.5}
SKIPPED = 77
ANALYZER = shutil.which("systemd-analyze") is not None


def read(name):
    """A file of deploy/systemd; of a unit its template."""
    path = os.path.join(UNITS, name)
    with open(path if os.path.exists(path) else path + ".in", encoding="utf-8") as f:
        return f.read()


class Units(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def analyze(self, name, *command):
        """Of a copy whose programs exist."""
        path = os.path.join(self.folder, f"mayfly-{name}.service")
        with open(path, "w", encoding="utf-8") as f:
            f.write(re.sub(r"(?m)^ExecStart=.*", "ExecStart=/bin/true", read(f"mayfly-{name}.service")))
        done = subprocess.run(["systemd-analyze", *command, path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=60, check=False)
        return done.returncode, done.stdout

    @unittest.skipUnless(ANALYZER, "no systemd-analyze")
    def test_units_are_understood(self):
        for name in JUDGED:
            code, text = self.analyze(name, "verify", "--man=no")
            # Before systemd 254; the unit says what that costs.
            text = re.sub(r".*: Unknown key '?DelegateSubgroup'?.*, ignoring\..*\n", "", text)
            self.assertEqual((0, ""), (code, text), name)

    @unittest.skipUnless(ANALYZER, "no systemd-analyze")
    def test_units_are_confined(self):
        for name, limit in JUDGED.items():
            code, text = self.analyze(name, "security", "--offline=true", "--no-pager")
            found = re.search(r"Overall exposure level for .*: ([0-9.]+)", text)
            self.assertIsNotNone(found, f"{code} {text}")
            print(f"mayfly-{name}.service: {found[1]}, at most {limit}", file=sys.stderr)
            self.assertLessEqual(float(found[1]), limit, text)

    def test_units_are_started_again_without_limit_and_leave_no_core(self):
        for name in LIMITS:
            for line in ("StartLimitIntervalSec=0", "Restart=always", "LimitCORE=0", "UMask=0007"):
                self.assertIn(f"\n{line}\n", read(f"mayfly-{name}.service"), name)

    def test_each_program_is_a_user_of_its_own_in_the_groups_of_its_directories(self):
        groups = {"ingress": {"queue"}, "worker": {"queue", "ledger", "vms"}, "reaper": {"queue", "ledger", "vms"}}
        sysusers, tmpfiles = read("mayfly.sysusers.conf"), read("mayfly.tmpfiles.conf")
        for name, of in groups.items():
            unit = read(f"mayfly-{name}.service")
            self.assertIn(f"\nUser=mayfly-{name}\nGroup=mayfly-{name}\n", unit)
            self.assertRegex(sysusers, rf"(?m)^u mayfly-{name} ")
            line = re.search(r"(?m)^SupplementaryGroups=(.*)", unit)[1].split()
            for known in ("queue", "ledger", "vms"):
                self.assertEqual(known in of, f"mayfly-{known}" in line, (name, known))
                member = re.search(rf"(?m)^m mayfly-{name} +mayfly-{known}$", sysusers) is not None
                self.assertEqual(known in of, member, (name, known))
        for shared in ("queue", "ledger", "vms"):
            self.assertRegex(tmpfiles, rf"(?m)^d /var/lib/mayfly/{shared} +2770 root +mayfly-{shared}$")

    def test_credentials_and_directories_of_the_example_are_in_the_units(self):
        example = read("mayfly.yaml.example")
        units = {name: read(f"mayfly-{name}.service") for name in LIMITS}
        for name, units_of in (("webhook-secret", ["ingress"]), ("app-key", ["worker", "reaper"])):
            self.assertIn(f"credential:{name}", example)
            for unit, text in units.items():
                self.assertEqual(unit in units_of, f"LoadCredential={name}:" in text, unit)
        for part, units_of in (("queue", list(LIMITS)), ("ledger", ["worker", "reaper"]), ("spool", ["ingress"]),
                               ("vms", ["worker", "reaper"])):
            self.assertIn(f"/var/lib/mayfly/{part}", example)
            self.assertRegex(read("mayfly.tmpfiles.conf"), rf"(?m)^d /var/lib/mayfly/{part} ")
            for unit, text in units.items():
                writes = re.search(r"(?m)^ReadWritePaths=(.*)", text)[1].split()
                self.assertEqual(unit in units_of, f"/var/lib/mayfly/{part}" in writes, (unit, part))


if __name__ == "__main__":
    done = unittest.main(exit=False).result
    if not done.wasSuccessful():
        sys.exit(1)
    if not ANALYZER:
        print("SKIPPED in part: no systemd-analyze, so nobody judged the units: install systemd", file=sys.stderr)
        sys.exit(SKIPPED)
