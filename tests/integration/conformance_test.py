#!/usr/bin/env python3
"""tools/conformance with a program that does what its cases' names say."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
TOOL = HERE.parent.parent / "tools/conformance"


class Conformance(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.place = pathlib.Path(directory.name)

    def run_cases(self, cases, *arguments, name="results.json"):
        """Runs them on the fake; returns exit status, standard output and the kept results."""
        (self.place / "cases").write_text("\n".join(cases))
        done = subprocess.run(
            [sys.executable, TOOL, "--program", HERE / "fake_deqp", "--natively", "--cases", self.place / "cases",
             "--results", self.place / name, *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        results = self.place / name
        self.errors = done.stderr
        return done.returncode, done.stdout, json.loads(results.read_text())["cases"] if results.exists() else {}

    def statuses(self, cases, *arguments):
        _, _, results = self.run_cases(cases, *arguments)
        return {case.removeprefix("dEQP-VK."): result["status"] for case, result in results.items()}

    def test_goes_on_behind_what_ends_the_program(self):
        cases = ["dEQP-VK.a.pass.1", "dEQP-VK.b.crash.1", "dEQP-VK.c.pass.2", "dEQP-VK.d.lost.1", "dEQP-VK.e.pass.3",
                 "dEQP-VK.f.exit.1", "dEQP-VK.g.pass.4"]
        self.assertEqual(self.statuses(cases, "--jobs", "1"), {
            "a.pass.1": "Pass", "b.crash.1": "Crash", "c.pass.2": "Pass", "d.lost.1": "DeviceLost", "e.pass.3": "Pass",
            "f.exit.1": "Crash", "g.pass.4": "Pass"})

    def test_blames_no_case_for_a_device_that_the_case_before_lost(self):
        cases = ["dEQP-VK.a.fail.1", "dEQP-VK.b.victim.1", "dEQP-VK.c.pass.1"]
        self.assertEqual(self.statuses(cases), {"a.fail.1": "Fail", "b.victim.1": "Pass", "c.pass.1": "Pass"})

    def test_ends_a_case_that_does_not_end(self):
        cases = ["dEQP-VK.a.hang.1", "dEQP-VK.b.pass.1"]
        self.assertEqual(self.statuses(cases, "--timeout", "3"), {"a.hang.1": "Timeout", "b.pass.1": "Pass"})

    def test_tells_what_the_program_does_not_know(self):
        cases = ["dEQP-VK.a.unknown.1", "dEQP-VK.b.fail.1", "dEQP-VK.c.unknown.2"]
        self.assertEqual(self.statuses(cases), {"a.unknown.1": "NotRun", "b.fail.1": "Fail", "c.unknown.2": "NotRun"})

    def test_keeps_what_the_program_said_last(self):
        _, _, results = self.run_cases(["dEQP-VK.a.crash.1", "dEQP-VK.b.fail.1"])
        self.assertEqual(results["dEQP-VK.a.crash.1"]["detail"], "signal 11 | it hurts")
        self.assertEqual(results["dEQP-VK.b.fail.1"]["detail"], 'as "fail" says')

    def test_counts_percentages_without_what_was_skipped(self):
        cases = [f"dEQP-VK.a.{fate}.{number}" for fate in ("pass", "skip") for number in range(3)]
        status, output, _ = self.run_cases([*cases, "dEQP-VK.b.fail.1"], "--batch", "2")
        self.assertEqual(status, 1)
        self.assertIn("| a | 6 | 3 | 0 | 3 | 100.00 % |", output)
        self.assertIn("| b | 1 | 0 | 1 | 0 | 0.00 % |", output)
        self.assertIn("| all | 7 | 3 | 1 | 3 | 75.00 % |", output)

    def test_takes_less_than_all_if_told_so(self):
        cases = ["dEQP-VK.a.pass.1", "dEQP-VK.a.fail.1"]
        self.assertEqual(self.run_cases(cases, "--at-least", "50")[0], 0)
        self.assertEqual(self.run_cases(cases, "--at-least", "50.1")[0], 1)

    def test_runs_no_case_twice(self):
        cases = ["dEQP-VK.a.pass.1", "dEQP-VK.a.pass.2"]
        _, _, before = self.run_cases(cases[:1])
        before["dEQP-VK.a.pass.1"]["detail"] = "from the first run"
        (self.place / "results.json").write_text(json.dumps({"cases": before}))
        status, _, results = self.run_cases(cases)
        self.assertEqual(status, 0)
        self.assertEqual(results["dEQP-VK.a.pass.1"]["detail"], "from the first run")
        self.assertEqual(results["dEQP-VK.a.pass.2"]["status"], "Pass")

    def test_keeps_results_of_cases_that_it_is_not_asked_for(self):
        cases = ["dEQP-VK.a.pass.1", "dEQP-VK.a.fail.1"]
        self.run_cases(cases)
        status, output, results = self.run_cases(cases, "--match", "*.pass.*")
        self.assertEqual(status, 0)
        self.assertIn("| all | 1 | 1 | 0 | 0 | 100.00 % |", output)
        self.assertEqual(len(results), 2)

    def test_compares_with_an_earlier_run(self):
        def kept(**status):
            path = self.place / "earlier.json"
            cases = {f"dEQP-VK.a.{fate}.1": {"status": before, "detail": ""} for fate, before in status.items()}
            path.write_text(json.dumps({"cases": cases}))
            return path

        cases = ["dEQP-VK.a.pass.1", "dEQP-VK.a.fail.1"]
        earlier = kept(**{"pass": "Fail", "fail": "Crash"})
        status, output, _ = self.run_cases(cases, "--compare", earlier)
        self.assertEqual(status, 0)
        self.assertIn("1 cases got better:\n  Fail -> Pass dEQP-VK.a.pass.1", output)
        status, output, _ = self.run_cases(cases, "--compare", kept(**{"fail": "Pass"}))
        self.assertEqual(status, 1)
        self.assertIn("1 cases got worse:\n  Pass -> Fail dEQP-VK.a.fail.1", output)

    def test_runs_what_failed_before(self):
        cases = ["dEQP-VK.a.pass.1", "dEQP-VK.a.fail.1", "dEQP-VK.a.warn.1"]
        self.run_cases(cases)
        _, _, results = self.run_cases(cases, "--failed-in", self.place / "results.json", name="again.json")
        self.assertEqual(list(results), ["dEQP-VK.a.fail.1"])

    def test_stops_if_the_program_does_not_run_at_all(self):
        cases = [f"dEQP-VK.a.pass.{number}" for number in range(100)]
        status, _, results = self.run_cases(cases, "--argument=--useless=1")
        self.assertEqual(status, 1)
        self.assertIn("ends before a case begins: exit status 1 | no device", self.errors)
        self.assertLess(len(results), 20)


if __name__ == "__main__":
    unittest.main()
