#!/usr/bin/env python3
"""A definition file with its arguments filled in, for Singularity of any age, or over a local root file system.

Singularity 2 and 3 and Apptainer before 1.2 know no `%arguments` and no `{{ NAME }}`. Needs Python alone.
"""
from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Dict, List, Optional, Tuple

FIELD = re.compile(r"\{\{ *(\w+) *\}\}")


class Mistake(ValueError):
    """Of the user's; the text says what and where."""


def sections(definition: str) -> Tuple[str, List[str]]:
    """The header of a definition and its sections, each from its %name on."""
    header, *rest = re.split(r"^(?=%)", definition, flags=re.MULTILINE)
    return header, rest


def arguments(section: str) -> Dict[str, str]:
    """The defaults that a section %arguments gives."""
    lines = (line.strip() for line in section.splitlines()[1:])
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))  # type: ignore[misc]


def flat(definition: str, given: Dict[str, str], base: Optional[str] = None) -> str:
    """The definition without arguments; over the image or folder `base` if there is one. Mistake: an unknown name."""
    header, parts = sections(definition)
    defaults: Dict[str, str] = {}
    for part in parts:
        defaults.update(arguments(part) if part.startswith("%arguments") else {})
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        raise Mistake(f"{unknown[0]} is not an argument; valid: {', '.join(sorted(defaults)) or 'none'}")
    if base is not None:
        comments = [line for line in header.splitlines() if line.startswith("#")]
        header = "\n".join([*comments, "Bootstrap: localimage", f"From: {base}", "", ""])
    values = {**defaults, **given}

    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise Mistake(f"{match[0]} is not among %arguments ({', '.join(sorted(values)) or 'there are none'})")
        return values[match[1]]

    return FIELD.sub(value, header + "".join(part for part in parts if not part.startswith("%arguments")))


def main() -> int:
    """The command; 2 for a user's mistake."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("definition", type=Path, metavar="DEFINITION")
    parser.add_argument("settings", nargs="*", metavar="NAME=VALUE", help="an argument that is not at its default")
    parser.add_argument("--from", dest="base", metavar="IMAGE",
                        help="Bootstrap: localimage from this image or folder, in place of the definition's header")
    options = parser.parse_intermixed_args()
    try:
        wrong = [setting for setting in options.settings if "=" not in setting]
        if wrong:
            raise Mistake(f"{wrong[0]}; expected NAME=VALUE")
        given = dict(setting.split("=", 1) for setting in options.settings)
        print(flat(options.definition.read_text(), given, options.base), end="")
    except OSError as error:
        print(f"definition: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except Mistake as mistake:
        print(f"definition: {options.definition}: {mistake}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
