"""Python layers for Caffe that hand their bottom on, and in their forward pass do what nobody should."""
import ctypes
import os
import signal
import time

import caffe


class Identity(caffe.Layer):
    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data

    def backward(self, top, propagate_down, bottom):
        pass


class Raises(Identity):
    def forward(self, bottom, top):
        raise ValueError("the images are not to my liking")


class Crashes(Identity):
    def forward(self, bottom, top):
        ctypes.string_at(0)


class IsKilled(Identity):
    def forward(self, bottom, top):
        os.kill(os.getpid(), signal.SIGKILL)


class Hangs(Identity):
    def forward(self, bottom, top):
        time.sleep(3600)


class Exits(Identity):
    def forward(self, bottom, top):
        os._exit(7)
