"""deploy/asyncapi.json is read by the official parser of AsyncAPI, which is fetched once. HOLDFAST_TEST_ASYNCAPI=1.

Not by default: npm takes half a minute, and another test compares the file with the types that it is made from.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARSER = "@asyncapi/parser@3.6.6"
CACHE = ROOT / ".cache" / "asyncapi"

PROGRAM = """
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";
const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
for (const one of diagnostics) if (one.severity <= 1) console.log(one.code, one.path.join("."), one.message);
console.log(document ? document.allMessages().length : "no document");
"""
"""Prints errors and warnings, each in a line, and the number of messages."""


@pytest.fixture
def parser() -> Path:
    """The folder in which the parser is. Skips unless it is asked for."""
    if "HOLDFAST_TEST_ASYNCAPI" not in os.environ:
        pytest.skip("only with HOLDFAST_TEST_ASYNCAPI=1, which needs Node.js and a network")
    if not (CACHE / "node_modules").exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        argv = ["npm", "install", "--prefix", str(CACHE), "--no-audit", "--no-fund", "--ignore-scripts", PARSER]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=50, check=False)
        if done.returncode:
            shutil.rmtree(CACHE / "node_modules", ignore_errors=True)
            pytest.fail(done.stderr[-500:])
    return CACHE


def test_the_official_parser_finds_nothing_wrong(parser: Path) -> None:
    program = parser / "check.mjs"
    program.write_text(PROGRAM)
    argv = ["node", str(program), str(ROOT / "deploy" / "asyncapi.json")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    (count,) = done.stdout.splitlines()
    assert int(count) > 15
