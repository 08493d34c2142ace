"""docs/search-file.md: the search file's reference, from menndl.proto's comments and an example with every field."""
from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

from google.protobuf import descriptor_pb2, text_format

from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import DESCRIPTORS, menndl_pb2

PROTO = "menndl.proto"
EXAMPLE = Path(__file__).with_name("every_field.search.prototxt")
OTHER_TYPES = EXAMPLE.with_name("other_types.search.prototxt")  # no search: what the example, a GA, has not
# Where a comment stands is a path of numbers: those of the fields in descriptor.proto, and indices among the repeated.
SYNTAX, MESSAGE, FIELD, ENUM, VALUE = 12, 4, 2, 4, 2
Field = descriptor_pb2.FieldDescriptorProto
Examples = Dict[Tuple[str, str], str]  # message, field -> the example's text of it

TYPES = {Field.TYPE_STRING: "text", Field.TYPE_DOUBLE: "number", Field.TYPE_BOOL: "true or false",
         Field.TYPE_INT32: "whole number", Field.TYPE_INT64: "whole number"}
TITLE = f"""\
# The search file

This page is made by `make docs` from the comments in [{PROTO}](../menndl_caffe/nets/proto/{PROTO}).
[templates.md](templates.md) tells how templates and genes work together, [tutorial.md](tutorial.md) writes a search
from nothing. A file with every field, of which most can be left out:
"""
OF_OTHERS = f"""\
A search without generations, such as `type: "RANDOM"`, has a `limit` in place of `ga_param`, and maybe settings of its
own. What there is beside the above, each block for another search:

```
{OTHER_TYPES.read_text()}```
"""


class Schema:
    """menndl.proto compiled, with its comments."""

    def __init__(self, file: descriptor_pb2.FileDescriptorProto):
        self.messages = file.message_type
        self._comments = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}

    def comment(self, *place: int) -> str:
        """The comment before what stands at a place, in one line."""
        return " ".join(self._comments.get(place, "").split())

    def head(self) -> List[str]:
        """The lines of the comment with which the file begins."""
        return [line[1:] for line in self._comments[(SYNTAX,)].splitlines()]


def compiled() -> Schema:
    """The schema as protoc reads it: the package's own descriptors come without comments."""
    from grpc_tools import protoc

    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "descriptors.binpb"
        if protoc.main(["protoc", f"--proto_path={DESCRIPTORS.parent}", f"--descriptor_set_out={made}",
                        "--include_source_info", PROTO]):
            raise ValueError(f"{PROTO} does not compile")
        return Schema(descriptor_pb2.FileDescriptorSet.FromString(made.read_bytes()).file[0])


def page() -> str:
    """The reference as Markdown."""
    schema = compiled()
    files = [prototxt.load(path, menndl_pb2.SearchParameter).message for path in (OTHER_TYPES, EXAMPLE)]
    examples = {name: text for message in files for name, text in _examples(message)}
    parts = [TITLE, f"```\n{EXAMPLE.read_text()}```\n", OF_OTHERS, *_names(schema)]
    for i, message in enumerate(schema.messages):
        parts.append(f"## {message.name}\n")
        parts.append(f"{schema.comment(MESSAGE, i)}\n" if i else "The whole file.\n")
        parts.append("| field | type | default | meaning | example |\n|---|---|---|---|---|")
        parts += [_row(schema, i, k, examples) for k in range(len(message.field))]
        parts.append("")
    return "\n".join(parts)


def _examples(message: Any) -> Iterator[Tuple[Tuple[str, str], str]]:
    """Message and field -> that field alone as text, of every field in the example; of repeated ones each."""
    for field, value in message.ListFields():
        repeated = not isinstance(value, (str, bytes)) and hasattr(value, "__len__")
        for item in value if repeated else (value,):
            alone = type(message)()
            if field.message_type:
                (getattr(alone, field.name).add() if repeated else getattr(alone, field.name)).CopyFrom(item)
                yield from _examples(item)
            elif repeated:
                getattr(alone, field.name).append(item)
            else:
                setattr(alone, field.name, item)
            text = text_format.MessageToString(alone, as_one_line=True).strip()
            yield (message.DESCRIPTOR.name, field.name), re.sub(r"(?<=\d)\.0\b", "", text)  # 600.0


def _names(schema: Schema) -> Iterator[str]:
    """What the schema's head says of the names in templates: lines `  - NAME, NAME   what it is;`."""
    lines = schema.head()
    begin = next(i for i, line in enumerate(lines) if line.startswith("Both templates"))
    yield f"## What a template may name\n\n{lines[begin]}\n"
    for line in lines[begin + 1:]:
        names, _, meaning = line.strip()[2:].partition("   ")
        quoted = ", ".join(f"`{name}`" for name in names.split(", "))
        yield f"- {quoted}: {meaning.strip()}" if meaning else f"- {names}"
    yield ""


def _row(schema: Schema, i: int, k: int, examples: Examples) -> str:
    message = schema.messages[i]
    field = message.field[k]
    comment, example = schema.comment(MESSAGE, i, FIELD, k), examples.get((message.name, field.name))
    if not comment or not example:
        raise ValueError(f"{message.name}.{field.name}: needs a comment in {PROTO} and a place in {EXAMPLE.name}")
    enums = [(j, k, enum) for j, owner in enumerate(schema.messages) for k, enum in enumerate(owner.enum_type)
             if field.type_name.endswith(f".{owner.name}.{enum.name}")]
    values = {value.name: schema.comment(MESSAGE, j, ENUM, k, VALUE, number)
              for j, k, enum in enums for number, value in enumerate(enum.value)}
    cells = [f"`{field.name}`", " or ".join(f"`{name}`" for name in values) or _type(field),
             f"`{field.default_value}`" if field.HasField("default_value") else "-",
             " ".join([comment, *(f"`{name}`: {text}" for name, text in values.items() if text)]), f"`{example}`"]
    return f"| {' | '.join(cells)} |"


def _type(field: Any) -> str:
    name = field.type_name.rpartition(".")[2]
    text = f"[{name}](#{name.lower()})" if name else TYPES[field.type]
    return f"{text}, repeated" if field.label == Field.LABEL_REPEATED else text
