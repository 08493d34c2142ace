"""The Data layers of a net: which of them read menndl's databases from now on, and in which folder these are."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from menndl_caffe.data import describe
from menndl_caffe.errors import UserError
from menndl_caffe.init.texts import Edit
from menndl_caffe.nets.layer_rules.blob import UnknownShape
from menndl_caffe.nets.prototxt import Document, PathOf
from menndl_caffe.nets.wiring import Wired, layers_of_phase

PARTS = {"TRAIN": "train", "TEST": "test"}  # phase -> part of the data, as in `*_train_lmdb`
FOLDER = "data"  # where none can be told


@dataclass(frozen=True)
class Images:
    """Of a net: for each phase the place and the layer that reads menndl's database, and the data's folder."""

    layers: Dict[str, Tuple[int, Any]]
    folder: Path
    remarks: Tuple[str, ...]

    @staticmethod
    def of(net: Document, given: Optional[str]) -> Images:
        """`given`: the data's folder, if the user names it."""
        layers: Dict[str, Tuple[int, Any]] = {}
        remarks: List[str] = []
        wired = {phase: layers_of_phase(net.message, phase, 0, ()) for phase in PARTS}
        readers = {phase: [(one.place or 0, one.layer) for one in wired[phase] if one.layer.type == "Data"]
                   for phase in PARTS}
        for phase, found in readers.items():
            if len(found) == 1 and found not in [other for name, other in readers.items() if name != phase]:
                layers[phase] = found[0]
            else:
                remarks.append(_unfit(phase, [one for one in wired[phase] if not one.bottoms]))
        folder = Path(given) if given else _folder(layers)
        return Images(layers, folder, (*remarks, *_misnamed(layers, folder)))

    def edits(self, net: Document) -> Iterator[Edit]:
        """Of the net's text: menndl's names for the databases and the mean, and LMDB for their backend."""
        field = "layers" if len(net.message.layers) else "layer"
        for phase, (place, layer) in self.layers.items():
            at: PathOf = (field, place)
            source = net.span((*at, "data_param", "source"))
            if source:
                yield Edit(*source, f'"{{{{ {PARTS[phase]}_source }}}}"')
            for settings in ("transform_param", "data_param"):
                mean = net.span((*at, settings, "mean_file"))
                if mean:
                    yield Edit(*mean, '"{{ mean_file }}"')
            if source and layer.data_param.backend != layer.data_param.LMDB:
                backend = net.span((*at, "data_param", "backend"))
                yield Edit(*backend, "LMDB") if backend else Edit(source[1], source[1], " backend: LMDB")

    def shape(self, layer: Any) -> Tuple[int, int, int]:
        """C, H, W of what a Data layer reads, from the data's folder or from its own source; UnknownShape where neither
        has a database that can be read."""
        parts = [PARTS[phase] for phase, (_, reader) in self.layers.items() if reader == layer]
        here = [path for part in parts for path in self.folder.glob(f"*_{part}_lmdb")]
        for path in (*here, Path(layer.data_param.source)):
            try:
                return describe(path).shape
            except UserError:
                pass
        raise UnknownShape("its images are not here", layer.name)


def _unfit(phase: str, readers: Sequence[Wired]) -> str:
    """What to do about a phase that has no Data layer to itself; `readers` are the layers that it begins with."""
    part, names = PARTS[phase], ", ".join(f"{one.layer.name} ({one.layer.type})" for one in readers) or "no layer"
    said = f"phase {phase} takes its images from {names}, which stays as it is"
    if any(one.layer.type == "Data" for one in readers):
        return (f"{said}; for menndl's database expected one Data layer for this phase alone, with include "
                f'{{ phase: {phase} }} and source: "{{{{ {part}_source }}}}"')
    return f"{said}; all the same menndl looks for a *_{part}_lmdb in the data folder"


def _folder(layers: Dict[str, Tuple[int, Any]]) -> Path:
    """In which all databases are."""
    folders = {Path(layer.data_param.source).parent for _, layer in layers.values() if layer.data_param.source}
    return folders.pop() if len(folders) == 1 else Path(FOLDER)


def _misnamed(layers: Dict[str, Tuple[int, Any]], folder: Path) -> Iterator[str]:
    """How to give the databases and the mean of a net the names that menndl looks for, where they have others."""
    for phase, (_, layer) in layers.items():
        source, part = Path(layer.data_param.source), PARTS[phase]
        if any(folder.glob(f"*_{part}_lmdb")):
            continue
        said = f"layer {layer.name} of phase {phase} read {source}; menndl reads {folder}/*_{part}_lmdb"
        if layer.data_param.backend != layer.data_param.LMDB:
            yield f"{said}, an LMDB, and this is a LevelDB: convert_imageset --backend=lmdb writes one"
        elif source.parent != folder or not source.name.endswith(f"_{part}_lmdb"):
            yield f"{said}: a link of such a name will do"
    mean = folder / "mean.binaryproto"
    for other in sorted({layer.transform_param.mean_file for _, layer in layers.values()} - {"", str(mean)}):
        if not mean.exists():
            yield f"the mean was {other}; menndl reads {mean}: a link of this name will do"
