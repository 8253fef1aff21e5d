"""Which files of a folder are copied into a workspace, decided by their paths alone. Pure."""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final, Literal

import msgspec

REPRODUCIBLE_FOLDERS: Final = frozenset(
    {
        ".venv", "node_modules", "__pycache__", ".holdfast", ".tox", ".nox", ".mypy_cache", ".ruff_cache",
        ".pytest_cache", ".hypothesis", ".gradle", ".terraform",
    }
)  # fmt: skip
"""Names of folders that tools can make again from other files, and our own data folder."""

_EXAMPLES: Final = (".example", ".sample", ".template", ".dist", ".defaults", ".pub")
"""Ends of names of files that only show what a secret file looks like, and of public keys."""

_SECRET_FILES: Final = (
    ".env", ".env.*", "*.env", ".envrc",
    "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.ppk", "*.gpg",
    "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*",
    ".netrc", "_netrc", ".npmrc", ".yarnrc.yml", ".pypirc", ".pgpass", ".my.cnf", ".git-credentials", ".htpasswd",
    ".dockercfg", ".s3cfg", ".boto", ".vault-token", ".terraformrc", "terraform.tfstate*", "*.tfvars",
    "credentials", ".credentials*", "*credentials.json", "client_secret*.json", "service-account*.json",
    "service_account*.json", "kubeconfig", "rclone.conf",
    *(f"{name}.{end}" for name in ("secret", "secrets", "credentials")
      for end in ("json", "yml", "yaml", "toml", "ini", "cfg", "conf", "txt", "xml", "properties", "csv")),
)  # fmt: skip
"""Names, in lower case, of files that commonly hold passwords, keys or tokens."""

_SECRET_FOLDERS: Final = frozenset({".ssh", ".gnupg", ".aws", ".kube", ".password-store", ".env"})

_PASSWORD: Final = re.compile(rb"://[^/@\s]+@[^/\s]+|extraheader\s*=|oauth", re.IGNORECASE)
"""In a git configuration: `https://user:token@host` or `https://token@host`, and headers with credentials."""

Reason = Literal["excluded", "made anew", "may hold secrets", "ignored by git", "data of holdfast", "not a file"]
"""Why a path is left out."""


class Selection(msgspec.Struct, frozen=True):
    """What a user wants to copy. `ignored` are paths that git ignores; those of folders end with `/`."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    ignored: frozenset[str] = frozenset()

    def left_out(self, path: str, *, folder: bool) -> Reason | None:
        """Why this path and everything below it is left out; None when a file is copied, or a folder is walked."""
        if _any(self.exclude, path):
            return "excluded"
        if self.wanted(path):
            return None
        name = path.rpartition("/")[2]
        if name in REPRODUCIBLE_FOLDERS:
            return "made anew"
        if is_secret(name, folder=folder):
            return "may hold secrets"
        if path in self.ignored or (folder and f"{path}/" in self.ignored):
            return "ignored by git"
        return None

    def wanted(self, path: str) -> bool:
        """Whether an include pattern names this path."""
        return _any(self.include, path)

    def reaches_into(self, path: str) -> bool:
        """Whether an include pattern matches something below this folder, which is then walked."""
        return any(_reaches(glob, path) for glob in self.include)


def is_secret(name: str, *, folder: bool = False) -> bool:
    """Whether a file or folder of that name commonly holds passwords, keys or tokens."""
    lower = name.lower()
    if folder:
        return lower in _SECRET_FOLDERS
    return not lower.endswith(_EXAMPLES) and any(fnmatchcase(lower, glob) for glob in _SECRET_FILES)


def holds_password(git_config: bytes) -> bool:
    """Whether the text of a `.git/config` holds a password or token: in the address of a remote, or as a header."""
    return _PASSWORD.search(git_config) is not None


def matches(glob: str, path: str) -> bool:
    """Whether `glob` names `path` or a folder above it.

    Without `/`, but for one at its end, it is compared with each name of the path.
    """
    anywhere = "/" not in glob.rstrip("/")
    glob = _plain(glob)
    parts = path.split("/")
    if anywhere:
        return any(fnmatchcase(part, glob) for part in parts)
    return any(fnmatchcase("/".join(parts[:count]), glob) for count in range(1, len(parts) + 1))


def _any(globs: Sequence[str], path: str) -> bool:
    return any(matches(glob, path) for glob in globs)


def _reaches(glob: str, folder: str) -> bool:
    parts, above = _plain(glob).split("/"), folder.split("/")
    return len(parts) > len(above) and all(fnmatchcase(have, want) for have, want in zip(above, parts, strict=False))


def _plain(glob: str) -> str:
    return glob.removeprefix("./").rstrip("/")
