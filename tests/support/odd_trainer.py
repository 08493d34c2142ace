"""A trainer whose accuracy is a sixteenth of the net's first kernel size, and which changes one of the lines it says:
`odd_trainer.py FILE` with {"line": number of the line, "kind": see `changed`, "at": number, "value": anything}."""
from __future__ import annotations

import json
import re
import sys
from typing import Any, Dict, List


class Trainer:
    """Says its lines, one of them changed."""

    def __init__(self, change: Dict[str, Any]):
        self.change = change
        self.said = 0
        self.held: List[str] = []  # what is said after the next request

    def changed(self, line: str) -> List[str]:
        """The lines that are said in place of one."""
        kind, at, value = (self.change[name] for name in ("kind", "at", "value"))
        if kind == "later":
            self.held.append(line)
        if kind in ("dropped", "later"):
            return []
        if kind == "twice":
            return [line, line]
        if kind == "cut":
            return [line[:at * 5]]
        if kind == "noise":
            return [json.dumps(value), line]
        message = json.loads(line)
        fields = message["outputs"] if kind == "output" and "outputs" in message else message
        name = list(fields)[at % len(fields)]
        if kind == "missing":
            del fields[name]
        else:
            fields[name] = value
        return [json.dumps(message)]

    def say(self, **message: Any) -> None:
        """One line, or what it is changed into."""
        line = json.dumps(message)
        for each in self.changed(line) if self.said == self.change["line"] else [line]:
            print(each, flush=True)
        self.said += 1

    def serve(self) -> None:
        """Until its input ends."""
        self.say(event="ready", engine="odd", version="0")
        for line in sys.stdin:
            request = json.loads(line)
            while self.held:
                print(self.held.pop(), flush=True)
            accuracy = int(re.findall(r"kernel_size: (\d+)", request["net"])[0]) / 16
            for iteration, share in ((2, 0.5), (4, 1.0)):
                outputs = {"accuracy": accuracy * share, "loss": 2.0}
                self.say(id=request["id"], event="test", iteration=iteration, outputs=outputs)
            self.say(id=request["id"], event="done", engine_seconds=0.25)


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        Trainer(json.load(file)).serve()
