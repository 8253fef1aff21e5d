"""What `make` says and does before Holdfast runs: the Python it takes, and the certificates it trusts."""

import datetime as dt
import http.server
import os
import ssl
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ROOT = Path(__file__).parents[2]
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
NO_VARIABLES = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}


def make(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", "-C", ROOT, *arguments]
    return subprocess.run(
        command, env={**NO_VARIABLES, **environ}, capture_output=True, text=True, timeout=60, check=False
    )


def test_help_lists_what_a_user_needs() -> None:
    done = make()
    assert done.returncode == 0
    for target in ("install", "demo", "test", "check"):
        assert f"  make {target} " in done.stdout


@pytest.mark.parametrize("python", ["no-such-python", "false"])
def test_a_python_that_cannot_be_used_is_refused_in_one_sentence(python: str, tmp_path: Path) -> None:
    fresh = (f"STAMP={tmp_path / 'stamp'}", f"UV_STAMP={tmp_path / 'uv'}")
    done = make("install", f"PYTHON={python}", *fresh)
    assert done.returncode == 2
    sentences = [line for line in done.stderr.splitlines() if not line.startswith("make: *** ")]
    assert len(sentences) == 1, done.stderr
    assert "Python 3.11 or later" in sentences[0]
    assert not list(tmp_path.iterdir())


# --- certificates ---------------------------------------------------------------------------------------------------


class Index:
    """A package index on loopback whose certificate comes from an authority that nobody else knows."""

    def __init__(self, folder: Path) -> None:
        self.authority = folder / "authority.pem"
        self.bundle = folder / "bundle.pem"
        self._folder = folder
        self._certify()
        self.bundle.write_bytes(BUNDLE.read_bytes() + self.authority.read_bytes())
        self._offer()

    def _certify(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority of a company")])
        now = dt.datetime.now(dt.UTC)
        made = (
            x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key(), serial_number=1)
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        ).sign(key, hashes.SHA256())
        own = ec.generate_private_key(ec.SECP256R1())
        server = (
            x509.CertificateBuilder(
                issuer_name=name,
                subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]),
                public_key=own.public_key(),
                serial_number=2,
            )
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        ).sign(key, hashes.SHA256())
        pem = serialization.Encoding.PEM
        self.authority.write_bytes(made.public_bytes(pem))
        private = own.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (self._folder / "server.pem").write_bytes(server.public_bytes(pem) + private)

    def _offer(self) -> None:
        folder = self._folder / "served" / "simple" / "offered"
        folder.mkdir(parents=True)
        name = "offered-1.0-py3-none-any.whl"
        with zipfile.ZipFile(folder / name, "w") as wheel:
            wheel.writestr("offered.py", "")
            wheel.writestr("offered-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: offered\nVersion: 1.0\n")
            wheel.writestr(
                "offered-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr("offered-1.0.dist-info/RECORD", "")
        (folder / "index.html").write_text(f'<a href="{name}">{name}</a>')

    def serve(self) -> http.server.ThreadingHTTPServer:
        served = str(self._folder / "served")

        class Quiet(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *arguments: object) -> None:
                super().__init__(*arguments, directory=served)  # type: ignore[arg-type]

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name in the base class
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._folder / "server.pem")
        # The handshake belongs to the thread of a connection: one that fails must not end the loop.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        return server


@pytest.fixture
def index(tmp_path: Path) -> Iterator[tuple[Index, str]]:
    if not (ROOT / ".cache" / "uv" / "bin" / "uv").exists() or not BUNDLE.exists():
        pytest.skip("needs .cache/uv, which `make dev` makes, and the certificates of the system")
    index = Index(tmp_path)
    server = index.serve()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield index, f"https://localhost:{server.server_port}/simple/"
    server.shutdown()
    thread.join()
    server.server_close()


def fetching(url: str, folder: Path) -> tuple[str, str]:
    """Arguments of make: a target that fetches with uv from that index, as `install` does from PyPI."""
    install = f"$(UV) pip install --quiet --no-cache --target {folder} --default-index {url} offered"
    return f"--eval=fetch: ; @{install}", "fetch"


def test_an_unknown_authority_is_refused(index: tuple[Index, str], tmp_path: Path) -> None:
    done = make(*fetching(index[1], tmp_path / "target"))
    assert done.returncode != 0
    assert "certificate" in done.stderr, done.stderr
    assert not (tmp_path / "target" / "offered.py").exists()


def test_an_authority_of_ssl_cert_file_is_trusted(index: tuple[Index, str], tmp_path: Path) -> None:
    done = make(*fetching(index[1], tmp_path / "target"), SSL_CERT_FILE=str(index[0].bundle))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "target" / "offered.py").exists()


def test_an_authority_in_the_store_of_the_system_is_trusted(index: tuple[Index, str], tmp_path: Path) -> None:
    """Where a company puts its own. The store is replaced in a mount namespace of this command alone."""
    namespace = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*namespace, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("no mount namespace can be made here")
    script = 'mount --bind "$1" "$2" && shift 2 && exec make -C "$@"'
    told = fetching(index[1], tmp_path / "target")
    done = subprocess.run(
        [*namespace, "sh", "-c", script, "sh", index[0].bundle, BUNDLE, ROOT, *told],
        env=NO_VARIABLES, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "target" / "offered.py").exists()
    again = fetching(index[1], tmp_path / "another")
    without = subprocess.run(
        [*namespace, "sh", "-c", script, "sh", index[0].bundle, BUNDLE, ROOT, "UV_SYSTEM_CERTS=0", *again],
        env=NO_VARIABLES, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert without.returncode != 0
