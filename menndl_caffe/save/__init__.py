"""`menndl best RUN --save DIR`: one of the best individuals with trained weights, in files as Caffe's users know them.

A run keeps no weights. But an individual's seed determines its training, so it is trained once more here, with the
run's own search, templates, data and engine, and its test passes are held against the recorded ones.

    DIR/train_test.prototxt, solver.prototxt, deploy.prototxt, weights.caffemodel, mean.binaryproto, README.md
"""
