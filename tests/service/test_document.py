"""schemathesis against the running service: every response matches its OpenAPI document, and none is a 5xx."""

import os
import subprocess
import sys
import tempfile
import unittest

from running import Service, environment

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
    # Not `positive_data_acceptance`: no schema can express that two parameters exclude each other, or that a number is kept
    # exactly. Not `use_after_free`: a deleted session is an empty one.
]

# The stream of events has no end; the Rust tests cover it.
ENDLESS = "/v1/sessions/{session}/events"


class Document(unittest.TestCase):
    def test_the_service_answers_as_its_document_says(self):
        with Service("read", "write", "metrics") as service, tempfile.TemporaryDirectory() as folder:
            command = [
                *[sys.executable, "-m", "schemathesis.cli", "run", f"{service.url}/openapi.json"],
                *["--header", f"Authorization: Bearer {service.key}", "--exclude-path", ENDLESS],
                *["--checks", ",".join(CHECKS), "--max-examples", "60", "--seed", "1", "--continue-on-failure"],
                *["--phases", "examples,coverage,fuzzing,stateful", "--warnings", "off", "--no-color"],
            ]
            # It writes a database of examples into the working directory.
            ran = subprocess.run(command, cwd=folder, env=environment(NO_COLOR="1"), capture_output=True, text=True)
        print(ran.stdout[-2000:] if ran.returncode == 0 else ran.stdout + ran.stderr)
        self.assertEqual(ran.returncode, 0, "schemathesis found what is printed above")
        self.assertEqual(service.code, 0, service.said)
        self.assertNotIn(service.key, service.said, "the log names no key")
        self.assertNotIn("panicked", service.said)


if __name__ == "__main__":
    unittest.main()
