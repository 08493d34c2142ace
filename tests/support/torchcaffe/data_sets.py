"""Small data sets in every form that data layers read, and the nets that read them.

`python -m tests.support.torchcaffe.data_sets` writes the files of `cases_data.py` anew; its cases then have to be
frozen anew.
"""
from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterable, List, NamedTuple, Sequence

import numpy as np

from menndl_caffe.nets.proto import caffe_pb2

FROZEN_FILES = Path(__file__).resolve().parent / "frozen" / "data_files.npz"
LABELS = (3, 0, 127, 128, 70000, -2, 9)


def random_images(*shape: int, seed: int = 5) -> np.ndarray:
    """Random uint8 pixels."""
    return np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)


def smooth_image(height: int, width: int, channels: int = 3, seed: int = 1) -> np.ndarray:
    """An H x W x C photograph of sorts: waves of a few lengths, so that JPEG keeps it roughly."""
    random = np.random.RandomState(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [[np.sin(random.uniform(0.05, 0.6) * rows + random.uniform(0.05, 0.6) * columns + phase)
              for phase in random.uniform(0, 6, 3)] for _ in range(channels)]
    return (127.5 + 42 * np.sum(waves, axis=1)).round().clip(0, 255).astype(np.uint8).transpose(1, 2, 0)


def write_lmdb(folder: Path, values: Iterable[bytes]) -> Path:
    """An LMDB of these values."""
    import lmdb

    environment = lmdb.open(str(folder), map_size=1 << 24)
    with environment.begin(write=True) as transaction:
        for index, value in enumerate(values):
            transaction.put(b"%05d" % index, value)
    environment.close()
    return folder


def raw_data(images: Sequence[np.ndarray], labels: Sequence[int] = LABELS) -> List[bytes]:
    """Serialized Datums of C x H x W images, uint8 or float."""
    values = []
    for image, label in zip(images, labels):
        channels, height, width = image.shape
        datum = caffe_pb2.Datum(channels=channels, height=height, width=width, label=label)
        if image.dtype == np.uint8:
            datum.data = image.tobytes()
        else:
            datum.float_data.extend(image.ravel().tolist())
        values.append(datum.SerializeToString())
    return values


def encoded(pixels: np.ndarray, form: str, mode: str = "RGB", **how: Any) -> bytes:
    """H x W x C pixels, red first, as an image file's content."""
    from PIL import Image

    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    if mode == "P" and pixels.shape[2] == 3:
        image = image.quantize(16)
    elif mode != image.mode:
        image = image.convert(mode)
    content = io.BytesIO()
    image.save(content, form, **how)
    return content.getvalue()


def encoded_datum(content: bytes, label: int) -> bytes:
    """A serialized Datum with an encoded image."""
    return caffe_pb2.Datum(data=content, label=label, encoded=True).SerializeToString()


def write_mean(path: Path, *shape: int) -> Path:
    """A mean file of C x H x W."""
    mean = np.random.RandomState(3).uniform(90, 150, shape).astype(np.float32)
    proto = caffe_pb2.BlobProto(num=1, channels=shape[0], height=shape[1], width=shape[2], data=mean.ravel())
    path.write_bytes(proto.SerializeToString())
    return path


class DataNet(NamedTuple):
    """A net, and how to run it."""

    text: str
    phase: int = 0
    seed: int = 1
    passes: int = 4


def data_layer(source: str, transform: str = "", batch: int = 5, labels: bool = True, weights: bool = True) -> str:
    """A Data layer on an LMDB, and a layer whose weights are drawn after it."""
    return (f'layer {{ name: "read" type: "Data" top: "data" {LABEL * labels} data_param {{ source: "{source}" '
            f'batch_size: {batch} backend: LMDB }} transform_param {{ {transform} }} }} {WEIGHTS * weights}')


LABEL = 'top: "label"'
WEIGHTS = ('layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 3 '
           'weight_filler { type: "xavier" } } }')


def image_layer(source: str, param: str, transform: str = "", batch: int = 3) -> str:
    """An ImageData layer on a list."""
    return (f'layer {{ name: "read" type: "ImageData" top: "data" top: "label" image_data_param {{ source: "{source}" '
            f'batch_size: {batch} {param} }} transform_param {{ {transform} }} }} {WEIGHTS}')


def hdf5_layer(source: str, batch: int, shuffle: bool) -> str:
    """An HDF5Data layer."""
    return (f'layer {{ name: "read" type: "HDF5Data" top: "data" top: "label" hdf5_data_param {{ source: "{source}" '
            f'batch_size: {batch} shuffle: {str(shuffle).lower()} }} }}')


def write_all(folder: Path) -> None:
    """Databases, means, images and lists, by the names that the nets use."""
    import h5py

    images = random_images(7, 3, 8, 9)
    write_lmdb(folder / "raw_lmdb", raw_data(images))
    write_mean(folder / "mean.binaryproto", 3, 8, 9)
    floats = np.random.RandomState(2).uniform(-3, 3, (7, 2, 4, 4)).astype(np.float32)
    write_lmdb(folder / "float_lmdb", raw_data(floats))
    sizes = [(8, 9), (8, 9), (12, 10), (10, 8), (9, 9)]
    write_lmdb(folder / "sizes_lmdb", raw_data([random_images(3, *size) for size in sizes]))
    mixed = raw_data(images)
    mixed[2] = raw_data(images.astype(np.float32) / 7)[2]
    write_lmdb(folder / "mixed_lmdb", mixed)
    files = write_images(folder)
    write_lmdb(folder / "encoded_lmdb", [encoded_datum((folder / name).read_bytes(), label)
                                         for label, name in enumerate(files) if name.endswith(("rgb.jpg", "rgb.png"))])
    write_windows(folder)
    (folder / "list.txt").write_text("".join(f"{name} {label}\n" for label, name in enumerate(files)))
    (folder / "odd.txt").write_bytes(b"a_rgb.jpg 3\r\ngrey.jpg -7\nb_rgb.png x5\ngrey.png 4.9\nalpha.png 12")
    random = np.random.RandomState(4)
    for index, rows in enumerate((5, 3, 4)):
        with h5py.File(folder / f"{index}.h5", "w") as file:
            file["data"] = random.uniform(-1, 1, (rows, 2, 3))
            file["label"] = random.randint(0, 9, (rows,))
    (folder / "three.txt").write_text("0.h5\n1.h5 2.h5\n")
    (folder / "one.txt").write_text("0.h5\n")


def write_windows(folder: Path) -> None:
    """A window file: two images, windows of every kind of overlap, at the edges too."""
    random = np.random.RandomState(6)
    lines = []
    for number, name in enumerate(("b_rgb.png", "grey.png")):
        lines.append(f"# {number} {name} 3 20 26 12")
        for index in range(12):
            (x1, x2), (y1, y2) = (sorted(random.choice(size, 2, replace=False)) for size in (26, 20))
            lines.append(f"{index % 3 + 1} {index / 11:.3f} {x1} {y1} {x2} {y2}")
    (folder / "windows.txt").write_text("\n".join(lines))
    write_mean(folder / "large_mean.binaryproto", 3, 15, 17)


def window_layer(param: str, transform: str = "") -> str:
    """A WindowData layer."""
    return (f'layer {{ name: "read" type: "WindowData" top: "data" top: "label" window_data_param {{ '
            f'source: "windows.txt" batch_size: 9 {param} }} transform_param {{ crop_size: 12 {transform} }} }} '
            f'{WEIGHTS}')


def write_images(folder: Path) -> List[str]:
    """Images of several kinds; their names."""
    color, grey = smooth_image(20, 26), smooth_image(20, 26, 1, seed=2)
    alpha = np.concatenate([color, grey], axis=2)
    contents: Dict[str, bytes] = {
        "a_rgb.jpg": encoded(color, "JPEG", quality=90), "grey.jpg": encoded(grey, "JPEG", mode="L"),
        "b_rgb.png": encoded(color, "PNG"), "grey.png": encoded(grey, "PNG", mode="L"),
        "alpha.png": encoded(alpha, "PNG", mode="RGBA"), "palette.png": encoded(color, "PNG", mode="P"),
        "dots.png": encoded(grey, "PNG", mode="1"), "c_rgb.jpg": encoded(color[::-1], "JPEG", subsampling=2),
        "d_rgb.jpg": encoded(color[:, ::-1], "JPEG", subsampling=0, progressive=True),
        "grey_alpha.png": encoded(grey, "PNG", mode="LA"), "e.bmp": encoded(color, "BMP"),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return list(contents)


def freeze() -> None:
    """Keep the files of one data set of each kind, under the names they have there; the LMDB's as `data.mdb`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_all(folder)
        (folder / "raw_lmdb" / "data.mdb").rename(folder / "data.mdb")
        np.savez_compressed(FROZEN_FILES, **{path.name: np.frombuffer(path.read_bytes(), np.uint8)
                                             for path in sorted(folder.iterdir()) if path.is_file()})


if __name__ == "__main__":
    freeze()
