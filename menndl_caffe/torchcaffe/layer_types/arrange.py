"""Layers that put numbers elsewhere: what goes in comes out in other places, other shapes, once or more often.

Sources: `batch_reindex_layer.cpp`, `concat_layer.cpp`, `embed_layer.cpp`, `filter_layer.cpp`, `flatten_layer.cpp`,
`reshape_layer.cpp`, `silence_layer.cpp`, `slice_layer.cpp`, `split_layer.cpp`, `tile_layer.cpp`.

What shares its bottom's memory does so again in every pass: since the last one either blob may have got another.
"""
from __future__ import annotations

from typing import Any, List, Sequence

import torch
from torch import Tensor

from menndl_caffe.nets.layer_rules.arrange import axis_or_dim
from menndl_caffe.nets.layer_rules.blob import axis_of
from menndl_caffe.torchcaffe.layer import Blobs, Layer, register
from menndl_caffe.torchcaffe.numbers import check_indices


@register("BatchReindex")
class BatchReindex(Layer):
    """The images of the first bottom that the second one lists."""

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        top[0].value = bottom[0].value.index_select(0, self._index(bottom))

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        super().backward(top, [False, *propagate_down[1:]], bottom)
        if propagate_down[0]:
            bottom[0].grad = torch.zeros_like(bottom[0].value).index_add_(0, self._index(bottom), top[0].grad)

    def _index(self, bottom: Blobs) -> Tensor:
        index = bottom[1].value.floor().long()
        check_indices(index, bottom[0].shape[0], f"layer {self.param.name}: image")
        return index


@register("Concat", "Slice")
class ConcatOrSlice(Layer):
    """Several blobs, one after the other on an axis, as one; or the reverse. What is alone is only passed on."""

    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        super().reshape(bottom, top)
        if self.type == "Concat":
            param, older = self.param.concat_param, "concat_dim"
        else:
            param, older = self.param.slice_param, "slice_dim"
        self._axis = axis_or_dim(param, older, bottom[0].shape)
        self._is_alone = len(bottom) == len(top) == 1
        if self._is_alone:
            top[0].share(bottom[0])

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        if self._is_alone:
            top[0].share(bottom[0])
            return
        if self.type == "Concat":
            top[0].value = torch.cat([blob.value for blob in bottom], self._axis)
            return
        for blob, part in zip(top, self._parts(bottom[0].value, top)):
            blob.value = part.clone()

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        if self._is_alone:
            return
        if self.type == "Concat":
            for blob, wanted, part in zip(bottom, propagate_down, self._parts(top[0].grad, bottom)):
                if wanted:
                    blob.grad = part.clone()
        elif propagate_down[0]:
            bottom[0].grad = torch.cat([blob.grad for blob in top], self._axis)

    def _parts(self, whole: Tensor, blobs: Blobs) -> Sequence[Tensor]:
        return whole.split([blob.shape[self._axis] for blob in blobs], self._axis)


@register("Embed")
class Embed(Layer):
    """Every number becomes a row of the weight input_dim x num_output, plus the bias num_output."""

    def fillers(self) -> Sequence[Any]:
        return self.param.embed_param.weight_filler, self.param.embed_param.bias_filler

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        rows = self.blobs[0].value.index_select(0, self._index(bottom))
        if len(self.blobs) > 1:
            rows += self.blobs[1].value
        top[0].value = rows.view(top[0].shape)

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        super().backward(top, propagate_down, bottom)
        rows = top[0].grad.reshape(bottom[0].count, -1)
        if self.propagates_to[0]:
            self.blobs[0].grad.index_add_(0, self._index(bottom), rows)
        if len(self.blobs) > 1 and self.propagates_to[1]:
            self.blobs[1].grad += rows.sum(0)

    def _index(self, bottom: Blobs) -> Tensor:
        index = bottom[0].value.reshape(-1).long()
        check_indices(index, self.blobs[0].shape[0], f"layer {self.param.name}: index")
        return index


@register("Filter")
class Filter(Layer):
    """The images of the other bottoms for which the last one holds something else than 0."""

    dynamic = True

    def setup(self, bottom: Blobs, top: Blobs) -> None:
        super().setup(bottom, top)
        self._is_new = True

    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        self._index = bottom[-1].value.reshape(-1).nonzero().squeeze(1)
        images = bottom[0].shape[0] if self._is_new else len(self._index)  # while the net is made, room for all
        for blob, shape in zip(top, self.outcome(bottom).tops):
            blob.reshape(images, *shape[1:])
        self._is_new = False

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        for above, below in zip(top, bottom):
            above.value = below.value.index_select(0, self._index)

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        super().backward(top, [*[False] * len(top), propagate_down[-1]], bottom)
        for above, below, wanted in zip(top, bottom, propagate_down):
            if wanted:
                below.grad = torch.zeros_like(below.value).index_copy_(0, self._index, above.grad)


@register("Flatten", "Reshape")
class Reshape(Layer):
    """The bottom's numbers and gradients in another shape: shared, never copied."""

    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        super().reshape(bottom, top)
        top[0].share_diff(bottom[0])
        if self.type == "Reshape":
            top[0].share_data(bottom[0])

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        top[0].share(bottom[0])

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        """Nothing is left to do."""


@register("Silence")
class Silence(Layer):
    """Reads its bottoms and makes nothing; their gradients are 0."""

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        """Nothing is to do."""

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        for blob, wanted in zip(bottom, propagate_down):
            if wanted:
                blob.grad.zero_()


@register("Split")
class Split(Layer):
    """The bottom's numbers for several readers: shared, never copied; the sum of their gradients."""

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        for blob in top:
            blob.share_data(bottom[0])

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        if not propagate_down[0]:
            return
        gradients: List[Tensor] = [blob.grad for blob in top]
        if len(gradients) == 1:
            bottom[0].grad = gradients[0].clone()
            return
        total = torch.add(*gradients[:2], out=bottom[0].grad_room(gradients[0]))
        for gradient in gradients[2:]:
            total += gradient
        bottom[0].grad = total


@register("Tile")
class Tile(Layer):
    """`axis` repeated `tiles` times."""

    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        super().reshape(bottom, top)
        self._axis = axis_of(self.param.tile_param.axis, bottom[0].shape)

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        top[0].value = torch.cat([bottom[0].value] * self.param.tile_param.tiles, self._axis)

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        if propagate_down[0]:
            tiles = top[0].grad.unflatten(self._axis, (self.param.tile_param.tiles, -1))
            bottom[0].grad = tiles.sum(self._axis)
