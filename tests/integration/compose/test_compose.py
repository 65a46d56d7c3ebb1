"""deploy/compose by itself: its configurations are valid with what its compose file hands over, its variables are in the example,
the table of the documentation is true, and nothing asks for privileges. No container is started."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest

SOURCE = os.environ["MAYFLY_SOURCE"]
BUILD = os.environ["MAYFLY_BUILD"]
FOLDER = os.path.join(SOURCE, "deploy/compose")
PROGRAMS = ("ingress", "worker", "reaper")
# A stand-in for what an operator fills in.
FILLED = {"WEBHOOK_SECRET": "a webhook secret", "REDIS_PASSWORD": "a-password", "GITHUB_APP_ID": "123456",
          "GITHUB_TOKEN": "ghp_" + "a" * 36, "GITHUB_REPOSITORY": "octo-org/octo-repo"}


def text(name):
    with open(os.path.join(FOLDER, name), encoding="utf-8") as f:
        return f.read()


def expand(value):
    """${NAME:-default}, ${NAME:?complaint} and ${NAME}, as compose replaces them."""
    return re.sub(r"\$\{(\w+)(?::([-?])([^}]*))?\}",
                  lambda m: FILLED.get(m[1]) or (m[3] if m[2] == "-" else ""), value)


def block(start, end):
    """The variables of one `environment` of compose.yaml."""
    pairs = re.findall(r"^ +([A-Z_]+): (.*)$", text("compose.yaml").split(start, 1)[1].split(end, 1)[0], re.M)
    return {name: expand(value) for name, value in pairs}


def handed_over(program):
    """The variables of a program: what all have, and what the ingress or the programs of the host have beside it."""
    common = block("environment: &environment\n", "  volumes:")
    own = block("command: [mayfly-ingress]\n", "    networks:") if program == "ingress" else block("environment: &of-host\n", "  volumes:")
    return {**common, **own}


class Compose(unittest.TestCase):
    def check(self, name, change=lambda t: t):
        with tempfile.TemporaryDirectory() as folder:
            key = os.path.join(folder, "key.pem")
            subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, stderr=subprocess.DEVNULL)
            path = os.path.join(folder, name)
            with open(path, "w", encoding="utf-8") as f:
                f.write(change(text(name).replace("/run/secrets/app-key", key)))
            for program in PROGRAMS:
                with self.subTest(configuration=name, program=program):
                    done = subprocess.run([os.path.join(BUILD, program, f"mayfly-{program}"), "--config", path, "--check-config"],
                                          env=handed_over(program), capture_output=True, text=True, check=False)
                    self.assertEqual(0, done.returncode, done.stdout + done.stderr)

    def test_configurations_are_valid_with_what_is_handed_over(self):
        self.check("mayfly.yaml")
        self.check("proxied.yaml")

    def test_everything_handed_over_is_used_and_nothing_else(self):
        used = set(re.findall(r"env:([A-Z_]+)", text("mayfly.yaml") + text("proxied.yaml")))
        self.assertEqual(used, set().union(*map(handed_over, PROGRAMS)))

    def test_each_program_holds_its_own_secrets_alone(self):
        secrets = {"WEBHOOK_SECRET", "GITHUB_TOKEN"}
        self.assertEqual({"WEBHOOK_SECRET"}, secrets & set(handed_over("ingress")))
        self.assertEqual({"GITHUB_TOKEN"}, secrets & set(handed_over("worker")))
        self.assertNotIn("*of-host", text("compose.yaml").split("\n  ingress:\n", 1)[1].split("\n\n", 1)[0])

    def test_example_names_every_variable(self):
        wanted = set(re.findall(r"\$\{(\w+)", text("compose.yaml")))
        named = set(re.findall(r"^(?:# )?(\w+)=", text(".env.example"), re.M)) - {"COMPOSE_PROFILES"}
        self.assertEqual(wanted, named)
        for name, value in re.findall(r"^# (\w+)=(.+)$", text(".env.example"), re.M):
            default = re.search(r"\$\{" + name + r":-([^}]*)\}", text("compose.yaml"))
            if default is not None:
                self.assertEqual(default[1], value, name)

    def test_settings_of_the_documented_table_take_their_variables(self):
        rows = re.findall(r"^\| `(\w+)` \| `([\w.\[\]]+)`", text("README.md"), re.M)
        self.assertEqual(["NUM_CPUS", "MEMORY_ALLOC", "http_proxy", "https_proxy", "no_proxy", "GITHUB_REPOSITORY", "GITHUB_TOKEN"],
                         [name for name, _ in rows])
        for variable, setting in rows:
            key = setting.rsplit(".", 1)[1]
            name = "JOB_" + variable.upper() if variable.islower() else variable
            self.assertRegex(text("proxied.yaml"), rf"\b{key}: \[?env:{name}\b")

    def test_nothing_is_privileged_and_every_program_is_confined(self):
        for line in text("compose.yaml").splitlines():
            self.assertNotRegex(line.split("#")[0], r"privileged: *true|cap_add|network_mode|pid:|seccomp")
        program = text("compose.yaml").split("x-program: &program\n", 1)[1].split("\nx-", 1)[0]
        for setting in ("read_only: true", "cap_drop: [ALL]", '"no-new-privileges:true"'):
            self.assertIn(setting, program)
        devices = re.findall(r"devices: (.*)", text("compose.yaml"))
        self.assertEqual(['["${KVM_DEVICE:-/dev/kvm}:/dev/kvm"]'], devices)

    def test_missing_file_of_the_host_is_an_error(self):
        """As a short volume it would become an empty directory, and the programs would complain of that."""
        binds = [line.strip() for line in text("compose.yaml").splitlines() if re.search(r"source: ", line)]
        self.assertGreater(len(binds), 8)
        for line in binds:
            self.assertIn("<<: *file", line)
        self.assertIn("create_host_path: false", re.search(r"x-file: &file (.*)", text("compose.yaml"))[1])
        self.assertNotRegex(text("compose.yaml"), r"(?m)^ *(- |volumes: \[)\"?(\.|/|\$)[^,\]]*:/")

    def test_prometheus_scrapes_the_admin_ports_of_the_configurations(self):
        scraped = set(re.findall(r'"\w+:(\d+)"', text("prometheus.yml")))
        for name in ("mayfly.yaml", "proxied.yaml"):
            self.assertEqual(scraped, set(re.findall(r'admin_listen: "0\.0\.0\.0:(\d+)"', text(name))))
        if shutil.which("promtool") is not None:
            done = subprocess.run(["promtool", "check", "config", os.path.join(FOLDER, "prometheus.yml")], capture_output=True,
                                  text=True, check=False)
            self.assertEqual(0, done.returncode, done.stdout + done.stderr)
        # What is relative in the file is so in the container.
        mounted = dict(re.findall(r"source: (\.\S+), target: (/etc/mayfly/\S+\.yml)\}", text("compose.yaml")))
        rules = re.search(r"rule_files: \[(.*)\]", text("prometheus.yml"))[1]
        self.assertEqual(mounted[rules], os.path.normpath(os.path.join(os.path.dirname(mounted["./prometheus.yml"]), rules)))
        with open(os.path.join(SOURCE, "deploy/grafana/mayfly.json"), encoding="utf-8") as f:
            json.load(f)


if __name__ == "__main__":
    unittest.main()
