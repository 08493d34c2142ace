"""`python menndl_caffe/nets/proto/compile.py` makes `descriptors.binpb` after a change of a `.proto`.

Needs grpcio-tools."""
from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).resolve().parent
SOURCES = ("caffe.proto", "menndl.proto")


def compile_into(path: Path) -> None:
    """Compile both schemas into one serialized FileDescriptorSet; protoc prints what it does not understand."""
    from grpc_tools import protoc

    if protoc.main(["protoc", f"--proto_path={FOLDER}", f"--descriptor_set_out={path}", *SOURCES]):
        raise SystemExit(f"{FOLDER}: the schemas do not compile")


if __name__ == "__main__":
    compile_into(FOLDER / "descriptors.binpb")
