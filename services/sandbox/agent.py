"""The agent inside a sandbox: it runs the tools, spoken to in frames over its own stdin and stdout.

One file with the standard library of any Python from 3.9 on, since it runs on what the host has, bound read-only into
the sandbox. One thread and one loop; a tool that touches files runs in a process of its own, so that it can be killed,
cannot block the others, and gives its memory back. Everything here runs with the rights of the model's own code: the
service treats each frame that leaves as untrusted.

A frame is four bytes of length (big endian) and a JSON object.
    in   {"id": 1, "name": "bash", "input": {...}, "limit": 120.0}     run a tool for at most so many seconds
         {"id": 1, "cancel": true}                                     stop it with all its processes
    out  {"hello": 1}                                                  ready
         {"id": 1, "content": [block, ...], "is_error": false}         exactly one per call

Tool inputs and results follow the SDK's own implementation of `agent_toolset_20260401`; where it and the measured
hosted service differ, `services/sandbox/README.md` says which is followed.
"""

import errno
import json
import os
import select
import signal
import stat
import struct
import sys
import time

WORKSPACE = "/workspace"
HIDDEN = ".holdfast"
"""Folder of ours in the workspace: the home directory and outputs that were too long."""

FRAME_LIMIT = 64 * 1024 * 1024
OUTPUT_LIMIT = 100_000
"""Characters of a result; what is longer goes to a file."""
PREVIEW_HEAD, PREVIEW_TAIL = 20_000, 10_000
"""Characters shown of a result that went to a file."""
SPILL_LIMIT = 16 * 1024 * 1024
"""Bytes of one output kept in a file."""
SPILL_FILES = 20
"""Outputs kept in files; the oldest makes room."""
TEXT_LIMIT = 256 * 1024
IMAGE_LIMIT = 5 * 1024 * 1024 // 4 * 3
"""Bytes of an image: the Messages API takes 5 MiB in base64."""
PDF_LIMIT = 20 * 1024 * 1024
SEARCH_LIMIT = 100 * 1024
GLOB_LIMIT = 200
WALK_LIMIT = 50_000
LINE_LIMIT = 2000
COMMAND_LIMIT = 1024 * 1024
STATUS_LIMIT = 4 * 1024 * 1024
MEDIA = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".pdf": "application/pdf",
}


class ToolError(Exception):
    """The tool says no; the text tells the model what to change."""


# ---------------------------------------------------------------------------------------------- text that is safe to show

_SEQUENCES = None
_CONTROLS = None


def clean(data, *, terminal):
    """Bytes as text without anything a terminal or a reader could be fooled by.

    `terminal`: escape sequences (CSI, OSC, DCS and the like) are removed and carriage returns made line ends. Other
    control characters and the marks that turn the direction of writing are spelled out, such as `\\x00` or `\\u202e`.
    """
    global _SEQUENCES, _CONTROLS
    if _CONTROLS is None:
        import re

        _SEQUENCES = re.compile(
            r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b\x9c]{0,65536}(?:\x07|\x1b\\|\x9c|$)|\x1b[ -/]*[0-~]|\x9b[0-?]*[ -/]*[@-~]"
        )
        _CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
    text = data.decode("utf-8", "replace") if isinstance(data, (bytes, bytearray)) else data
    if terminal:
        text = _SEQUENCES.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub(_spelled, text)


def _spelled(match):
    code = ord(match.group())
    return "\\x%02x" % code if code < 256 else "\\u%04x" % code


def text_block(text):
    return {"type": "text", "text": text}


# ------------------------------------------------------------------------------------------- files, never outside the root

_RESOLVE = 0x08 | 0x02
"""RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS: the kernel refuses every way out, whatever is swapped meanwhile."""
_OPENAT2 = 437
_syscall = None


def open_beneath(root, path, flags, mode=0o644):
    """Open `path` below the folder `root` (a descriptor). Raises OSError; EXDEV when the path leads outside."""
    global _syscall
    import ctypes

    if _syscall is None:
        _syscall = ctypes.CDLL(None, use_errno=True).syscall
    # The kernel refuses flags that mean nothing together.
    flags |= os.O_CLOEXEC | (0 if flags & os.O_PATH else os.O_NOCTTY)
    how = struct.pack("QQQ", flags, mode if flags & os.O_CREAT else 0, _RESOLVE)
    while True:
        fd = _syscall(_OPENAT2, root, os.fsencode(path), how, len(how))
        if fd >= 0:
            return fd
        code = ctypes.get_errno()
        if code not in (errno.EAGAIN, errno.EINTR):  # EAGAIN: something was renamed while the kernel looked
            raise OSError(code, os.strerror(code), path)


class Root:
    """The workspace as the file tools see it."""

    def __init__(self, path=WORKSPACE):
        self.path = path
        self.fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def inside(self, path, tool):
        """`path` relative to the root; absolute ones must lie below it. Raises ToolError."""
        if not isinstance(path, str) or not path:
            raise ToolError(f"{tool}: a path must be a non-empty string")
        if "\0" in path:
            raise ToolError(f"{tool}: a path cannot hold a NUL character")
        parts = []
        full = path if path.startswith("/") else f"{self.path}/{path}"
        for part in full.split("/"):
            if part == "..":
                if parts:
                    parts.pop()
            elif part not in ("", "."):
                parts.append(part)
        root = [part for part in self.path.split("/") if part]
        if parts[: len(root)] != root:
            raise ToolError(f"{tool}: path {path!r} is outside the session's working directory")
        return "/".join(parts[len(root) :]) or "."

    def shown(self, relative):
        return self.path if relative == "." else f"{self.path}/{relative}"

    def open(self, relative, flags, mode=0o644):
        return open_beneath(self.fd, relative, flags, mode)

    def make_parents(self, relative):
        """Create the folders above `relative` one by one, each below the one before."""
        parts = relative.split("/")[:-1]
        for depth in range(len(parts)):
            here = "/".join(parts[: depth + 1])
            try:
                os.close(self.open(here, os.O_PATH | os.O_DIRECTORY))
            except FileNotFoundError:
                above = self.open("/".join(parts[:depth]) or ".", os.O_PATH | os.O_DIRECTORY)
                try:
                    os.mkdir(parts[depth], 0o755, dir_fd=above)
                except FileExistsError:
                    pass  # made by another call at the same time, or a dangling link: the next open tells
                finally:
                    os.close(above)


def reason(exc, path):
    """What went wrong with a file, in the same words everywhere."""
    words = {
        errno.ENOENT: "no such file or directory",
        errno.ENOTDIR: "not a directory",
        errno.EISDIR: "is a directory",
        errno.EACCES: "permission denied",
        errno.EPERM: "permission denied",
        errno.EROFS: "permission denied",
        errno.EEXIST: "file already exists",
        errno.ELOOP: "too many levels of symbolic links",
        errno.ENXIO: "not a regular file",
        errno.ENODEV: "not a regular file",
        errno.EXDEV: "the path leads outside the session's working directory (links must be relative and stay inside)",
        errno.ENOSPC: "no space left",
        errno.EDQUOT: "no space left",
        errno.EFBIG: "the file would be larger than a file may be here",
        errno.ENAMETOOLONG: "the path is too long",
        errno.EMFILE: "too many open files",
    }
    return f"{path}: {words.get(exc.errno) or (exc.strerror or 'i/o error').lower()}"


def open_regular(root, relative, path, tool, flags=os.O_RDONLY):
    """A descriptor of a regular file. A FIFO or a device is refused without ever waiting for it. Raises ToolError."""
    try:
        fd = root.open(relative, flags | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise ToolError(f"{tool}: {path}: not a regular file")
        return fd
    except OSError as exc:
        raise ToolError(f"{tool}: {reason(exc, path)}") from None


def read_exactly(fd, limit):
    """At most `limit` + 1 bytes: what grows while it is read is still bounded."""
    parts, left = [], limit + 1
    while left > 0:
        part = os.read(fd, min(left, 1 << 20))
        if not part:
            break
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def write_all(fd, data):
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


# --------------------------------------------------------------------------------------------------------- checked inputs

REQUIRED = object()


def checked(tool, given, fields):
    """The fields of a tool's input by name. Raises ToolError that says what to change."""
    if not isinstance(given, dict):
        raise ToolError(f"{tool}: the input must be an object with the fields {', '.join(fields)}")
    unknown = sorted(set(given) - set(fields))
    if unknown:
        raise ToolError(f"{tool}: unknown field {unknown[0]!r}; known are {', '.join(fields)}")
    values = []
    for name, (kind, default) in fields.items():
        value = given.get(name)
        if value is None:
            if default is REQUIRED:
                raise ToolError(f"{tool}: {name} is required")
            value = default
        elif kind is int and isinstance(value, bool) or not isinstance(value, kind):
            raise ToolError(f"{tool}: {name} must be {_KINDS[kind]}")
        values.append(value)
    return values


_KINDS = {str: "a string", int: "an integer", bool: "true or false", list: "a list of two integers"}


# -------------------------------------------------------------------------------------------------------------- file tools


def tool_read(root, given):
    """Return a file's text, or an image or PDF as a block."""
    path, view = checked("read", given, {"file_path": (str, REQUIRED), "view_range": (list, None)})
    if view and (len(view) != 2 or any(not isinstance(n, int) or isinstance(n, bool) for n in view)):
        raise ToolError("read: view_range must be [start_line, end_line]")
    relative = root.inside(path, "read")
    fd = open_regular(root, relative, path, "read")
    try:
        size = os.fstat(fd).st_size
        media = MEDIA.get(os.path.splitext(relative)[1].lower())
        if media:
            if view:
                raise ToolError("read: view_range is not supported for image/PDF files")
            return [_media_block(fd, path, size, media)]
        if size > TEXT_LIMIT and not view:
            raise ToolError(
                f"read: {path} is {size} bytes, exceeds {TEXT_LIMIT}-byte limit. "
                "Use the view_range parameter to read specific line ranges, e.g. view_range: [1, 500]."
            )
        try:
            text = _lines(fd, path, view) if view else _whole(fd, path)
        except UnicodeDecodeError:
            raise ToolError(
                f"read: {path}: not valid UTF-8 text (binary files are only supported for image/PDF extensions)"
            ) from None
        except OSError as exc:
            raise ToolError(f"read: {reason(exc, path)}") from None
        return [text_block(clean(text, terminal=False) or ("(no such lines)" if view else "(the file is empty)"))]
    finally:
        os.close(fd)


def _whole(fd, path):
    data = read_exactly(fd, TEXT_LIMIT)
    if len(data) > TEXT_LIMIT:
        raise ToolError(f"read: {path} grew over the {TEXT_LIMIT}-byte limit while it was read; use view_range.")
    return data.decode("utf-8")


def _lines(fd, path, view):
    start, end = max(0, view[0] - 1), view[1] if view[1] > 0 else sys.maxsize
    picked, line = bytearray(), 0
    while line < end:
        part = os.read(fd, 1 << 16)
        pieces = part.split(b"\n")
        for index, piece in enumerate(pieces):
            last = index == len(pieces) - 1
            if start <= line < end:
                picked += piece
                if not last and line + 1 < end:
                    picked += b"\n"
                if len(picked) > TEXT_LIMIT:
                    if end - start == 1:
                        raise ToolError(
                            f"read: line {start + 1} of {path} alone exceeds {TEXT_LIMIT}-byte limit. "
                            "The read tool cannot return part of a line, so view_range cannot narrow this further."
                        )
                    raise ToolError(
                        f"read: view_range [{view[0]}, {view[1]}] of {path} exceeds {TEXT_LIMIT}-byte limit. "
                        "Narrow the view_range to read a smaller portion."
                    )
            if not last:
                line += 1
        if not part:
            break
    return picked.decode("utf-8")


def _media_block(fd, path, size, media):
    import base64

    limit = PDF_LIMIT if media == "application/pdf" else IMAGE_LIMIT
    data = read_exactly(fd, limit)
    if len(data) > limit:
        raise ToolError(f"read: {path} is {size} bytes, exceeds {limit}-byte limit for image/PDF files.")
    kind = "document" if media == "application/pdf" else "image"
    encoded = base64.standard_b64encode(data).decode("ascii")
    return {"type": kind, "source": {"type": "base64", "media_type": media, "data": encoded}}


def tool_write(root, given):
    """Write a file, creating parent folders as needed."""
    path, content = checked("write", given, {"file_path": (str, REQUIRED), "content": (str, REQUIRED)})
    relative = root.inside(path, "write")
    if relative == "." or path.endswith("/"):
        raise ToolError(f"write: {path}: is a directory")
    data = content.encode("utf-8", "surrogatepass")
    try:
        root.make_parents(relative)
    except OSError as exc:
        raise ToolError(f"write: {reason(exc, path)}") from None
    _store(root, relative, path, "write", data, os.O_CREAT)
    return [text_block(f"wrote {len(data)} bytes to {path}")]


def _store(root, relative, path, tool, data, extra=0):
    # Truncated only once it is known to be a regular file.
    fd = open_regular(root, relative, path, tool, os.O_WRONLY | extra)
    try:
        os.ftruncate(fd, 0)
        write_all(fd, data)
    except OSError as exc:
        raise ToolError(f"{tool}: {reason(exc, path)}") from None
    finally:
        os.close(fd)


def tool_edit(root, given):
    """Replace text in a file by exact match."""
    path, old, new, every = checked(
        "edit",
        given,
        {
            "file_path": (str, REQUIRED),
            "old_string": (str, REQUIRED),
            "new_string": (str, REQUIRED),
            "replace_all": (bool, False),
        },
    )
    if not old:
        raise ToolError("edit: old_string must not be empty; use write to create a file")
    relative = root.inside(path, "edit")
    fd = open_regular(root, relative, path, "edit")
    try:
        data = read_exactly(fd, TEXT_LIMIT)
        if len(data) > TEXT_LIMIT:
            raise ToolError(
                f"edit: {path} is {os.fstat(fd).st_size} bytes, exceeds {TEXT_LIMIT}-byte limit. "
                "The edit tool loads the whole file and cannot modify a file this large."
            )
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise ToolError(f"edit: {path}: not valid UTF-8 text (cannot edit binary files)") from None
    except OSError as exc:
        raise ToolError(f"edit: {reason(exc, path)}") from None
    finally:
        os.close(fd)
    count = text.count(old)
    if count == 0:
        raise ToolError(f"edit: old_string not found in {path}")
    if count > 1 and not every:
        raise ToolError(f"edit: old_string appears {count} times in {path} (must be unique)")
    text = text.replace(old, new) if every else text.replace(old, new, 1)
    _store(root, relative, path, "edit", text.encode("utf-8", "surrogatepass"))
    return [text_block(f"edited {path} ({count if every else 1} replacement(s))")]


# ------------------------------------------------------------------------------------------------------------- search tools


def tool_glob(root, given):
    """List files that match a pattern, newest first."""
    pattern, path = checked("glob", given, {"pattern": (str, REQUIRED), "path": (str, None)})
    if not pattern:
        raise ToolError("glob: pattern is required")
    if pattern.startswith("/"):
        raise ToolError("glob: absolute pattern not permitted; pass a relative pattern (and optionally path)")
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ToolError("glob: '..' is not permitted in the pattern")
    # A plain name is looked for everywhere, as the hosted tool does.
    if len(parts) == 1 and parts[0] != "**":
        parts = ["**", *parts]
    relative = root.inside(path or root.path, "glob")
    match = _pattern(parts)
    found, seen = [], 0
    try:
        for name, info in _walk(root, relative):
            seen += 1
            if match("/" + name):
                found.append((info.st_mtime_ns, name))
            if seen >= WALK_LIMIT:
                break
    except OSError as exc:
        raise ToolError(f"glob: {reason(exc, path or root.path)}") from None
    if not found:
        return [text_block("no matches")]
    found.sort(key=lambda entry: (-entry[0], entry[1]))
    base = root.shown(relative)
    lines = [f"{base}/{name}" for _, name in found[:GLOB_LIMIT]]
    if len(found) > GLOB_LIMIT:
        lines.append(f"[{GLOB_LIMIT} of {len(found)} paths shown, the newest; narrow the pattern or the path]")
    return [text_block(clean("\n".join(lines), terminal=False))]


def _pattern(parts):
    import re

    source = ""
    for index, part in enumerate(parts):
        if part == "**":
            source += r"(?:/[^/]+)*" if index < len(parts) - 1 else r"(?:/[^/]+)+"
        else:
            source += "/(?:" + "|".join(_expression(choice) for choice in _braces(part)) + ")"
    try:
        return re.compile(source + r"\Z").match
    except re.error as exc:
        raise ToolError(f"glob: malformed pattern: {exc}") from None


def _expression(part):
    """One path component with `*`, `?` and `[...]` as a regular expression."""
    import re

    source, at = "", 0
    while at < len(part):
        char = part[at]
        at += 1
        if char == "*":
            source += "" if source.endswith("[^/]*") else "[^/]*"
        elif char == "?":
            source += "[^/]"
        elif char == "[" and "]" in part[at + 1 :]:
            end = part.index("]", at + 1)
            inner = part[at:end].replace("\\", r"\\").replace("[", r"\[")
            source += "[" + ("^" + inner[1:] if inner[0] in "!^" else inner) + "]"
            at = end + 1
        else:
            source += re.escape(char)
    return source


def _braces(part):
    """`*.{py,md}` as its alternatives; not nested."""
    start, end = part.find("{"), part.find("}")
    if 0 <= start < end and "," in part[start:end]:
        return [part[:start] + choice + part[end + 1 :] for choice in part[start + 1 : end].split(",")][:64]
    return [part]


def _walk(root, relative):
    """Each file and folder below `relative` as (path from there, lstat), links neither followed nor entered."""
    top = root.open(relative, os.O_RDONLY | os.O_DIRECTORY)
    os.close(top)
    stack = [""]
    while stack:
        prefix = stack.pop()
        here = "/".join(filter(None, (relative if relative != "." else "", prefix))) or "."
        try:
            fd = root.open(here, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            continue  # removed or swapped while we looked, or not readable
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    name = f"{prefix}/{entry.name}" if prefix else entry.name
                    if name == HIDDEN and relative == ".":
                        continue
                    try:
                        info = entry.stat(follow_symlinks=False)
                    except OSError:
                        continue
                    yield name, info
                    if stat.S_ISDIR(info.st_mode):
                        stack.append(name)
        finally:
            os.close(fd)


def tool_grep(root, given):
    """Search the contents of files for a regular expression."""
    pattern, path = checked("grep", given, {"pattern": (str, REQUIRED), "path": (str, None)})
    if "\0" in pattern:
        raise ToolError("grep: the pattern cannot hold a NUL character")
    relative = root.inside(path or root.path, "grep")
    try:
        fd = root.open(relative, os.O_PATH)
        mode = os.fstat(fd).st_mode
        os.close(fd)
    except OSError as exc:
        raise ToolError(f"grep: {reason(exc, path or root.path)}") from None
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise ToolError(f"grep: {path}: not a regular file")
    rg = next((f"{folder}/rg" for folder in ("/usr/local/bin", "/usr/bin") if os.access(f"{folder}/rg", os.X_OK)), None)
    found = _ripgrep(rg, pattern, root.shown(relative)) if rg else _grep(root, relative, stat.S_ISDIR(mode), pattern)
    return [text_block(clean(found, terminal=False))]


def _ripgrep(rg, pattern, where):
    import subprocess

    arguments = [rg, "--no-config", "-n", "--no-heading", "--with-filename", "-M", str(LINE_LIMIT), "-e", pattern]
    with subprocess.Popen(
        [*arguments, "--", where], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        out = process.stdout.read(SEARCH_LIMIT + 1)
        if len(out) > SEARCH_LIMIT:
            process.kill()
            shown = out[:SEARCH_LIMIT].decode("utf-8", "replace")
            return f"{shown}\n[output truncated at {SEARCH_LIMIT} bytes]"
        failure = process.stderr.read(4096).decode("utf-8", "replace")
    if process.returncode == 1:
        return "no matches"
    if process.returncode != 0:
        raise ToolError(f"grep: rg failed: {failure.strip()}")
    return out.decode("utf-8", "replace")


def _grep(root, relative, folder, pattern):
    import re

    try:
        expression = re.compile(pattern)
    except re.error as exc:
        raise ToolError(f"grep: invalid regex: {exc}") from None
    names = [name for name, info in _searched(root, relative) if stat.S_ISREG(info.st_mode)] if folder else [""]
    hits, left = [], SEARCH_LIMIT
    for name in names:
        here = "/".join(filter(None, (relative if relative != "." else "", name)))
        try:
            fd = root.open(here, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            continue  # gone, or not readable: as grep without permission goes on
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode) or b"\0" in file.read(512):
                continue
            file.seek(0)
            number = 0
            while True:
                line = file.readline(1 << 20)
                if not line:
                    break
                number += 1
                if len(line) > LINE_LIMIT:  # a slow pattern on a very long line would take for ever
                    continue
                shown = line.decode("utf-8", "replace").rstrip("\r\n")
                if expression.search(shown):
                    hit = f"{root.shown(here)}:{number}:{shown}"
                    left -= len(hit) + 1
                    if left < 0:
                        return "\n".join([*hits, f"[output truncated at {SEARCH_LIMIT} bytes]"])
                    hits.append(hit)
    return "\n".join(hits) if hits else "no matches"


def _searched(root, relative):
    seen = 0
    for name, info in _walk(root, relative):
        if not any(part in (".git", "node_modules") for part in name.split("/")):
            seen += 1
            if seen > WALK_LIMIT:
                return
            yield name, info


FILE_TOOLS = {"read": tool_read, "write": tool_write, "edit": tool_edit, "glob": tool_glob, "grep": tool_grep}
"""One line per tool that works on files; each gets the root and the model's input and returns blocks."""


# ------------------------------------------------------------------------------------------------------------- long outputs


class Output:
    """What a command prints: all of it while it is short, then its beginning, its end, and the rest in a file."""

    def __init__(self, root):
        self._root = root
        self._head = bytearray()
        self._tail = bytearray()
        self._total = 0
        self._file = -1
        self._name = ""
        self._spilled = 0

    def add(self, data):
        self._total += len(data)
        if self._file < 0 and not self._name:
            self._head += data
            if len(self._head) > OUTPUT_LIMIT:
                self._name, self._file = new_spill(self._root)
                self._spill(self._head)
                self._tail = self._head[PREVIEW_HEAD:]
                del self._head[PREVIEW_HEAD:]
            return
        self._spill(data)
        self._tail += data
        if len(self._tail) > 4 * PREVIEW_TAIL:
            del self._tail[:-PREVIEW_TAIL]

    def _spill(self, data):
        room = SPILL_LIMIT - self._spilled
        if self._file < 0 or room <= 0:
            return
        try:
            write_all(self._file, data[:room])
            self._spilled += len(data[:room])
        except OSError:  # disk full: what was kept so far stays
            self.close()

    def close(self):
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def text(self):
        self.close()
        if not self._name and self._total <= OUTPUT_LIMIT:
            whole = clean(self._head, terminal=True)
            if len(whole) <= OUTPUT_LIMIT:
                return whole
            # Only the spelled-out control characters made it too long.
            return whole[:PREVIEW_HEAD] + "\n... [left out: control characters] ...\n" + whole[-PREVIEW_TAIL:]
        tail = self._tail[-PREVIEW_TAIL:]
        left_out = self._total - len(self._head) - len(tail)
        if self._spilled:
            whole = "the whole output is" if self._spilled == self._total else f"the first {self._spilled} bytes are"
            where = f"{whole} in {self._root.path}/{self._name}"
        else:
            where = "the rest could not be kept"
        begin, end = clean(self._head, terminal=True), clean(tail, terminal=True)
        middle = f"\n\n... [output of {self._total} bytes is too long: {left_out} bytes left out here; {where}] ...\n\n"
        return begin[: 2 * PREVIEW_HEAD] + middle + end[-2 * PREVIEW_TAIL :]


def new_spill(root):
    """A fresh file for a long output as (path below the root, descriptor); an empty name when there can be none."""
    folder = f"{HIDDEN}/outputs"
    try:
        root.make_parents(f"{folder}/x")
        fd = root.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            old = sorted(os.listdir(fd))
            for name in old[: max(0, len(old) - SPILL_FILES + 1)]:
                os.unlink(name, dir_fd=fd)
        finally:
            os.close(fd)
        name = f"{folder}/{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(3).hex()}.txt"
        return name, root.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    except OSError:
        return "?", -1


# ---------------------------------------------------------------------------------------------------------------- processes


def processes():
    """Parent by process id, of all there are in this sandbox."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as file:
                    parents[int(entry)] = int(file.read().rsplit(b")", 1)[1].split()[1])
            except OSError:
                continue  # it has just ended
    return parents


def present():
    return {int(entry) for entry in os.listdir("/proc") if entry.isdigit()}


def kill(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def child_setup(oom=True):
    """After a fork: signals as a program expects them, and first in line when memory runs out."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if oom:
        try:
            with open("/proc/self/oom_score_adj", "w") as file:
                file.write("1000")
        except OSError:
            pass  # not offered here: then the kernel chooses by size alone


# -------------------------------------------------------------------------------------------------------------------- shell

LOOP = r"""
while IFS= builtin read -r -d '' -u 198 __holdfast; do
  builtin eval "$__holdfast" </dev/null >&197 2>&1 197>&- 198<&- 199>&-
  { builtin printf '%d\0%s\0' "$?" "$PWD"; builtin export -p; builtin printf '\0'; } >&199 2>/dev/null
done
"""
"""What the persistent bash runs: commands come NUL-ended on one private descriptor, exit code, folder and exported
variables go back on another. Nothing a command prints can be taken for its end."""

TERM_AFTER, KILL_AFTER = 0.3, 0.3
"""Seconds between asking processes to end and killing them, and until the shell itself is given up."""


class Shell:
    """The one bash of the session: folder, variables, functions and jobs live on from call to call."""

    def __init__(self, agent):
        self._agent = agent
        self._root = agent.root
        self._cwd, self._exports = self._root.path, b""
        self._pid = self._pidfd = self._commands = self._status = self._out = -1
        self._call = None
        self._between = bytearray()

    def run(self, call, given, limit):
        command, restart, _ = checked(
            "bash", given, {"command": (str, None), "restart": (bool, False), "timeout_ms": (int, 0)}
        )
        if restart:
            self._end()
            self._cwd, self._exports = self._root.path, b""
            self._agent.reply(call, [text_block("bash session restarted")])
            return
        if not command:
            raise ToolError("bash: command is required")
        if "\0" in command:
            raise ToolError("bash: the command cannot hold a NUL character")
        data = command.encode("utf-8", "surrogatepass")
        if len(data) > COMMAND_LIMIT:
            raise ToolError(f"bash: the command is over {COMMAND_LIMIT} bytes; write it to a file and run that")
        fresh = self._pid < 0
        if fresh:
            self._start()
        self._call = call
        self._limit = limit
        self._output = Output(self._root)
        self._reply = bytearray()
        self._old = present()
        self._phase, self._why = 0, ""
        # A new shell first takes up the variables of the one before.
        self._skip = 1 if fresh and self._exports else 0
        restore = b"{ :\n" + self._exports + b"\n} 2>/dev/null\0" if self._skip else b""
        self._queue = bytearray(restore + data + b"\0")
        # As in a terminal: what background jobs have printed since comes first.
        self._output.add(self._between)
        self._between = bytearray()
        self._feed()
        self._timer = self._agent.after(limit, self._expired)

    def cancel(self):
        self._stop("cancelled")

    def _start(self):
        commands, self._commands = os.pipe()
        self._status, status = os.pipe()
        self._out, out = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                child_setup()
                null = os.open("/dev/null", os.O_RDWR)
                # Away from the numbers they are to have, so that none is closed by another's placing.
                high = [os.dup2(fd, 240 + index) for index, fd in enumerate((out, commands, status))]
                for index, fd in enumerate(high):
                    os.dup2(fd, 197 + index)
                for fd in (0, 1, 2):
                    os.dup2(null, fd)
                os.closerange(3, 197)
                os.closerange(200, 512)
                try:
                    os.chdir(self._cwd)
                except OSError:
                    os.chdir(self._root.path)
                os.execve("/bin/bash", ["bash", "--noprofile", "--norc", "-c", LOOP], os.environ)
            finally:
                os._exit(127)
        for fd in (commands, status, out):
            os.close(fd)
        self._pid, self._pidfd = pid, os.pidfd_open(pid)
        for fd in (self._out, self._status, self._commands):
            os.set_blocking(fd, False)
        self._agent.watch(self._out, self._printed)
        self._agent.watch(self._status, self._answered)
        self._agent.watch(self._pidfd, self._exited)

    def _feed(self):
        try:
            while self._queue:
                del self._queue[: os.write(self._commands, self._queue[:65536])]
        except BlockingIOError:
            self._agent.watch(self._commands, self._feed, select.EPOLLOUT)
            return
        except BrokenPipeError:
            self._queue.clear()  # the shell is ending; its exit is seen
        self._agent.unwatch(self._commands)

    def _printed(self):
        """Take what is there, so that no job ever blocks. Of what comes between calls the end is kept for the next."""
        for _ in range(16):
            try:
                data = os.read(self._out, 65536)
            except BlockingIOError:
                return
            if not data:
                self._agent.unwatch(self._out)
                return
            if self._call is not None:
                self._output.add(data)
            else:
                self._between += data
                del self._between[:-PREVIEW_TAIL]

    def _answered(self):
        try:
            data = os.read(self._status, 65536)
        except BlockingIOError:
            return
        if not data:
            # The shell became another program by `exec`; that one's end is the end of the call.
            self._agent.unwatch(self._status)
            return
        if self._call is None:
            return
        self._reply += data
        if len(self._reply) > STATUS_LIMIT:
            self._why = "the environment became too large"
            kill(self._pid, signal.SIGKILL)
            return
        while self._reply.count(b"\0") >= 3:
            code, cwd, exports, rest = bytes(self._reply).split(b"\0", 3)
            self._reply = bytearray(rest)
            if self._skip:
                self._skip -= 1
                continue
            if not code.isdigit():
                kill(self._pid, signal.SIGKILL)
                return
            self._cwd, self._exports = os.fsdecode(cwd), exports
            self._printed()
            self._finish(int(code))
            return

    def _exited(self):
        self._printed()
        _, status = os.waitpid(self._pid, 0)
        code = os.waitstatus_to_exitcode(status)
        self._close()
        if self._call is None:
            return
        note = "the shell ended; the next command gets a new one with the folder and exported variables of the last"
        self._finish(128 - code if code < 0 else code, f"[{note}; other variables, functions and jobs are gone]")

    def _expired(self):
        self._stop("timed out")

    def _stop(self, why):
        """End the present command, harder each time: ask its processes, kill them, give up the shell."""
        if self._call is None:
            return
        self._why = self._why or why
        self._phase += 1
        self._agent.cancel_timer(self._timer)
        if self._phase <= 2:
            number = signal.SIGTERM if self._phase == 1 else signal.SIGKILL
            for pid in self._started():
                kill(pid, number)
            self._timer = self._agent.after(TERM_AFTER if self._phase == 1 else KILL_AFTER, lambda: self._stop(why))
            return
        # bash itself is busy, in a loop of its own perhaps.
        for pid in self._started():
            kill(pid, signal.SIGKILL)
        kill(self._pid, signal.SIGKILL)

    def _started(self):
        """Processes that this command has started: all that are new, wherever they hung themselves in the tree, except
        those of earlier background jobs and of other calls."""
        parents = processes()
        spared = self._agent.own_processes() | {1, self._pid}
        mine = []
        for pid in parents:
            if pid in self._old or pid in spared:
                continue
            above, seen = parents.get(pid, 0), 0
            while above not in spared and above not in self._old and above in parents and seen < 1000:
                above, seen = parents[above], seen + 1
            if above in (1, self._pid, 0) or above not in parents:
                mine.append(pid)
        return mine

    def _finish(self, code, note=""):
        call, self._call = self._call, None
        self._agent.cancel_timer(self._timer)
        self._queue.clear()
        text = self._output.text()
        notes = [note] if note else []
        if self._why == "timed out":
            kept = "" if self._pid < 0 else " and its processes were stopped; the shell is kept"
            notes.insert(0, f"[timed out after {self._limit:g} s: the command{kept or ' was stopped with its shell'}]")
        elif self._why:
            notes.insert(0, f"[{self._why}]")
        elif code:
            notes.insert(0, f"[exit code {code}]")
        if not text and not notes:
            text = "(no output)"
        joint = "" if not text or text.endswith("\n") or not notes else "\n"
        self._agent.reply(call, [text_block(text + joint + "\n".join(notes))], bool(code or self._why))

    def _end(self):
        """Stop the shell with everything that was started from it."""
        if self._pid < 0:
            return
        spared = self._agent.own_processes() | {1}
        for pid in present() - spared:
            kill(pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        self._close()

    def _close(self):
        for fd in (self._pidfd, self._commands, self._status, self._out):
            self._agent.unwatch(fd)
            os.close(fd)
        self._pid = self._pidfd = self._commands = self._status = self._out = -1


# -------------------------------------------------------------------------------------------------------------- other calls


class Worker:
    """One call of a file tool in a process of its own."""

    def __init__(self, agent, call, name, given, limit):
        self._agent, self._call, self._name, self._limit = agent, call, name, limit
        self._data, self._why = bytearray(), ""
        self._out, out = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self._work(out, name, given)
        os.close(out)
        os.set_blocking(self._out, False)
        agent.watch(self._out, self._readable)
        self._timer = agent.after(limit, self._expired)

    def _work(self, out, name, given):
        status = 1
        try:
            os.setsid()
            child_setup()
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as an error to report, not a death
            try:
                content, failed = FILE_TOOLS[name](self._agent.root, given), False
            except ToolError as exc:
                content, failed = [text_block(clean(str(exc), terminal=False))], True
            except MemoryError:
                content, failed = [text_block(f"{name}: out of memory")], True
            write_all(out, json.dumps([content, failed]).encode())
            status = 0
        finally:
            os._exit(status)

    def _readable(self):
        for _ in range(64):
            try:
                data = os.read(self._out, 1 << 18)
            except BlockingIOError:
                return
            if not data:
                self._ended()
                return
            self._data += data
            if len(self._data) > FRAME_LIMIT:
                self._why = "the result is too large"
                self.cancel()

    def _ended(self):
        self._agent.cancel_timer(self._timer)
        self._agent.unwatch(self._out)
        os.close(self._out)
        os.waitpid(self.pid, 0)
        self._agent.ended(self._call)
        try:
            content, failed = json.loads(bytes(self._data))
            if self._why:
                raise ValueError(self._why)
        except ValueError:
            why = self._why or "it was killed, most likely for want of memory"
            content, failed = [text_block(f"{self._name}: stopped: {why}")], True
        self._agent.reply(self._call, content, failed)

    def _expired(self):
        self._why = f"timed out after {self._limit:g} s"
        self.cancel()

    def cancel(self):
        self._why = self._why or "cancelled"
        for pid in [pid for pid, parent in processes().items() if parent == self.pid]:
            kill(pid, signal.SIGKILL)
        kill(self.pid, signal.SIGKILL)


# -------------------------------------------------------------------------------------------------------------------- agent


class Agent:
    """Reads calls, runs them side by side, and answers each once."""

    def __init__(self, root):
        self.root = root
        self._poll = select.epoll()
        self._handlers = {}
        self._timers = []
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._workers = {}
        self._shell = Shell(self)
        self._shell_call = None
        self._waiting = []

    # What the calls use.

    def watch(self, fd, handler, events=select.EPOLLIN):
        if fd in self._handlers:
            self._poll.modify(fd, events)
        else:
            self._poll.register(fd, events)
        self._handlers[fd] = handler

    def unwatch(self, fd):
        if self._handlers.pop(fd, None):
            self._poll.unregister(fd)

    def after(self, seconds, action):
        timer = [time.monotonic() + seconds, action]
        self._timers.append(timer)
        return timer

    def cancel_timer(self, timer):
        if timer in self._timers:
            self._timers.remove(timer)

    def own_processes(self):
        return {os.getpid(), *(worker.pid for worker in self._workers.values())}

    def ended(self, call):
        self._workers.pop(call, None)

    def reply(self, call, content, is_error=False):
        self.send({"id": call, "content": content, "is_error": is_error})
        if call == self._shell_call:
            self._shell_call = None
            self._next()

    # The stream.

    def send(self, frame):
        data = json.dumps(frame).encode()
        self._outgoing += struct.pack(">I", len(data)) + data
        self._flush()

    def _flush(self):
        try:
            while self._outgoing:
                del self._outgoing[: os.write(1, self._outgoing[: 1 << 20])]
        except BlockingIOError:
            self.watch(1, self._flush, select.EPOLLOUT)
            return
        except BrokenPipeError:
            raise SystemExit(0) from None
        self.unwatch(1)

    def _readable(self):
        data = os.read(0, 1 << 20)
        if not data:
            raise SystemExit(0)  # the service is gone, and with us ends the whole sandbox
        self._incoming += data
        while len(self._incoming) >= 4:
            size = struct.unpack_from(">I", self._incoming)[0]
            if size > FRAME_LIMIT:
                raise SystemExit(1)
            if len(self._incoming) < 4 + size:
                return
            frame = json.loads(bytes(self._incoming[4 : 4 + size]))
            del self._incoming[: 4 + size]
            self._handle(frame)

    def _handle(self, frame):
        call = frame["id"]
        if frame.get("cancel"):
            self._cancel(call)
            return
        name, given, limit = frame["name"], frame["input"], frame["limit"]
        if name == "bash":
            self._waiting.append((call, given, limit))
            self._next()
        elif name in FILE_TOOLS:
            self._workers[call] = Worker(self, call, name, given, limit)
        else:
            known = ", ".join(["bash", *FILE_TOOLS])
            self.reply(call, [text_block(f"there is no tool {name!r}; there are {known}")], True)

    def _next(self):
        """Commands take the one shell in the order they came."""
        while self._waiting and self._shell_call is None:
            call, given, limit = self._waiting.pop(0)
            self._shell_call = call
            try:
                self._shell.run(call, given, limit)
            except ToolError as exc:
                self.reply(call, [text_block(clean(str(exc), terminal=False))], True)
            except OSError as exc:
                self.reply(call, [text_block(f"bash: could not start: {(exc.strerror or '').lower()}")], True)

    def _cancel(self, call):
        if call == self._shell_call:
            self._shell.cancel()
        elif call in self._workers:
            self._workers[call].cancel()
        elif any(entry[0] == call for entry in self._waiting):
            self._waiting = [entry for entry in self._waiting if entry[0] != call]
            self.reply(call, [text_block("[cancelled]")], True)

    def run(self):
        os.set_blocking(1, False)
        self.watch(0, self._readable)
        self.send({"hello": 1})
        self._prepare()
        while True:
            now = time.monotonic()
            for timer in [timer for timer in self._timers if timer[0] <= now]:
                if timer in self._timers:
                    self._timers.remove(timer)
                    timer[1]()
            due = min((timer[0] for timer in self._timers), default=None)
            wait = -1 if due is None else max(0.0, due - time.monotonic())
            for fd, _ in self._poll.poll(wait):
                handler = self._handlers.get(fd)
                if handler:
                    handler()

    def _prepare(self):
        """What the first call would otherwise wait for."""
        try:
            self.root.make_parents(f"{HIDDEN}/home/x")
            fd = self.root.open(f"{HIDDEN}/.gitignore", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            write_all(fd, b"*\n")
            os.close(fd)
        except OSError:
            pass  # it is there already, or the workspace is full
        try:
            os.close(open_beneath(self.root.fd, ".", os.O_PATH))
        except OSError:
            pass  # each call that needs it will say so
        clean(b"", terminal=True)


def main():
    if os.getppid() != 1 or os.getpid() > 16:
        # It ends all processes it can see: outside of a sandbox of its own that would be the host's.
        raise SystemExit("this program runs in a sandbox only")
    # Nothing that is printed by accident may get between the frames, or into the service's log.
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 2)
    Agent(Root()).run()


if __name__ == "__main__":
    main()
