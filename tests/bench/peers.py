"""The proxies that are compared: configuration, start, and the proof that all do the same work."""

import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

from procs import BenchError, Child, free_port

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DOMAIN = "bench.test"
PORTICO = Path(os.environ.get("PORTICO_BENCH_BINARY", ROOT / "target/release/portico"))
BEFORE = "portico before"
NAMES = ("nginx", "haproxy", "caddy", "portico")
# The binary of each; `--before` adds an older one.
BINARIES = {"portico": PORTICO}


def output_of(*command):
    try:
        result = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)
    except OSError as error:
        raise BenchError(f"cannot run {command[0]}: {error}") from error
    if result.returncode:
        raise BenchError(f"{' '.join(map(str, command))} failed:\n{result.stdout}{result.stderr}")
    return result.stdout + result.stderr


def make_certificates(work):
    """A P-256 CA and a P-256 certificate of it for the domain and its wildcard; what is there already stays."""
    folder = work / "certs"
    files = {name: folder / f"{name}.pem" for name in ("ca", "cert", "key", "fullchain", "both")}
    if all(file.exists() for file in files.values()):
        if not subprocess.run(
            ["openssl", "x509", "-checkend", "86400", "-noout", "-in", files["cert"]], capture_output=True
        ).returncode:
            return files
    folder.mkdir(parents=True, exist_ok=True)
    ca_key, request = folder / "ca-key.pem", folder / "request.pem"
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    ca_uses = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"]
    output_of(
        *["openssl", "req", "-x509", *new_key, "-keyout", ca_key, "-out", files["ca"]],
        *["-days", "30", "-subj", "/CN=Bench CA", *ca_uses],
    )
    output_of("openssl", "req", *new_key, "-keyout", files["key"], "-out", request, "-subj", f"/CN={DOMAIN}")
    extensions = folder / "extensions"
    extensions.write_text(
        f"subjectAltName=DNS:*.{DOMAIN},DNS:{DOMAIN}\nbasicConstraints=critical,CA:FALSE\n"
        "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n"
    )
    output_of(
        *["openssl", "x509", "-req", "-in", request, "-CA", files["ca"], "-CAkey", ca_key],
        *["-CAcreateserial", "-days", "30", "-extfile", extensions, "-out", files["cert"]],
    )
    # As a public CA would send it: the root stays at home, so the chain is the one certificate.
    files["fullchain"].write_text(files["cert"].read_text())
    files["both"].write_text(files["cert"].read_text() + files["key"].read_text())
    return files


def prepare_portico(binary, config, state, certificates):
    """Fills <state_dir>/certs/ of portico. Change this when the import command changes."""
    state.mkdir(exist_ok=True)
    output_of(
        *[binary, "cert", "import", "--config", config],
        *["--cert", certificates["fullchain"], "--key", certificates["key"]],
    )


class Proxy(Child):
    """One proxy on one core, ready and checked when it is constructed."""

    def __init__(self, name, place, work, certificates, origin_port):
        self.port = free_port()
        self.log = work / f"{name}.access.log"
        self.log.write_bytes(b"")
        self.ca = certificates["ca"]
        config = self.write_config(name, work, certificates, origin_port)
        stdout_file = None
        env = {}
        # A copy each time: the pages of a program lie where they were first read to, as long as the file is in memory.
        program = work / f"{name}.program"
        program.unlink(missing_ok=True)
        shutil.copy(BINARIES.get(name) or shutil.which(name) or name, program)
        if name == "nginx":
            command = [program, "-p", work, "-e", work / "nginx.error.log", "-c", config]
        elif name == "haproxy":
            command = [program, "-db", "-f", config]
            stdout_file = self.log
        elif name == "caddy":
            command = [program, "run", "--config", config, "--adapter", "caddyfile"]
            home = work / "caddy.home"
            env = {"GOMAXPROCS": "1", "HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home}
        else:
            prepare_portico(program, config, work / f"{name}.state", certificates)
            command = [program, "run", "--config", config]
        output = work / f"{name}.out"
        output.write_bytes(b"")
        super().__init__(name, place, command, output, stdout_file, env)
        try:
            self.wait_ready()
            self.check_headers()
            self.check_log()
        except BaseException:
            self.__exit__()
            raise

    def write_config(self, name, work, certificates, origin_port):
        kept = name.removesuffix(" before")
        file = {"haproxy": "haproxy.cfg", "caddy": "Caddyfile", "portico": "portico.toml"}.get(kept, "nginx.conf")
        values = {
            "WORK": work,
            "STATE": work / f"{name}.state",
            "LOG": self.log,
            "CERT": certificates["fullchain"],
            "KEY": certificates["key"],
            "PEM": certificates["both"],
            "PORT": self.port,
            "ORIGIN": origin_port,
        }
        text = (HERE / "config" / file).read_text()
        config = work / (f"{name}.toml" if name in BINARIES else file)
        config.write_text(re.sub("@([A-Z]+)@", lambda match: str(values[match[1]]), text))
        return config

    def wait_ready(self):
        deadline = time.monotonic() + 10
        while True:
            self.check()
            try:
                self.get("/", {})
                return
            except OSError as error:
                if time.monotonic() > deadline:
                    raise BenchError(f"{self.name} is not ready after 10 s: {error}") from error
            time.sleep(0.05)

    def get(self, path, headers, tenant="t1"):
        context = ssl.create_default_context(cafile=self.ca)
        host = f"{tenant}.{DOMAIN}"
        with socket.create_connection(("127.0.0.1", self.port), 5) as tcp:
            with context.wrap_socket(tcp, server_hostname=host) as stream:
                connection = http.client.HTTPConnection(host)
                connection.sock = stream
                connection.request("GET", path, headers=headers)
                answer = connection.getresponse()
                body = answer.read().decode()
                if answer.status != 200:
                    raise BenchError(f"{self.name} answers {answer.status} to GET {path}")
                return body

    def check_headers(self):
        """The origin must see the headers that every proxy has to set, and nothing that the client forged."""
        forged = {"X-Tenant": "evil", "X-Real-IP": "6.6.6.6", "X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "http"}
        wanted = {
            "host": f"t1.{DOMAIN}",
            "x-tenant": "t1",
            "x-forwarded-for": "127.0.0.1",
            "x-forwarded-proto": "https",
            "x-real-ip": "127.0.0.1",
        }
        head = self.get("/headers", forged).splitlines()
        seen = [line.split(": ", 1) for line in head[1:] if line]
        for name, value in wanted.items():
            values = [text for key, text in seen if key.lower() == name]
            if values != [value]:
                raise BenchError(f"{self.name} sends {name} {values}, not {value!r}")

    def check_log(self):
        """The request just made must be in the access log, as JSON that tells what is asked of every proxy."""
        deadline = time.monotonic() + 5
        while b"/headers" not in self.log.read_bytes():
            if time.monotonic() > deadline:
                raise BenchError(f"{self.name} writes no access log")
            time.sleep(0.05)
        line = next(line for line in self.log.read_text().splitlines() if "/headers" in line)
        try:
            record = json.loads(line)
        except ValueError as error:
            raise BenchError(f"{self.name} logs what is not JSON: {line}") from error
        said = json.dumps(record)
        for what in ('"t1', "200", "GET", '"/headers'):
            if what not in said:
                raise BenchError(f"{self.name} does not log {what}: {line}")

    def take_log_lines(self, wanted):
        """Waits for that many lines (logs are written in batches), empties the log, and returns how many there were."""
        deadline = time.monotonic() + 3
        while (lines := count_lines(self.log)) < wanted and time.monotonic() < deadline:
            time.sleep(0.1)
        os.truncate(self.log, 0)
        return lines


def count_lines(file):
    with file.open("rb") as stream:
        return sum(block.count(b"\n") for block in iter(lambda: stream.read(1 << 20), b""))


def version(name):
    if name == BEFORE:
        return f"{name}: {output_of(BINARIES[name], 'version').splitlines()[0]}"
    if name == "portico":
        commit = output_of("git", "-C", ROOT, "rev-parse", "--short=12", "HEAD").strip()
        return f"portico at {commit}"
    said = output_of(name, {"nginx": "-V", "haproxy": "-vv"}.get(name, "version"))
    library = re.search(r"(?:running with|Running on) (?:OpenSSL version : )?(OpenSSL \S+)", said)
    number = re.search(r"\d+\.\d+\.\d+", said)
    return f"{name} {number[0] if number else said.strip()}" + (f" ({library[1]})" if library else "")
