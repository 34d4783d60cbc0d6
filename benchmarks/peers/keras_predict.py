"""Keras: `predict` over image_dataset_from_directory."""

import sys

import keras
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

folder, weights, output = sys.argv[1:]
images = keras.utils.image_dataset_from_directory(
    f"{folder}/Training", labels=None, shuffle=False, image_size=(224, 224), interpolation="bicubic", batch_size=32
)
scaled = images.map(lambda pixels: tf.clip_by_value(tf.round(pixels), 0, 255) / 127.5 - 1, tf.data.AUTOTUNE)
shape = (224, 224, 3)
model = keras.applications.MobileNetV2(weights=weights, include_top=False, pooling="avg", input_shape=shape)
features = model.predict(scaled.prefetch(tf.data.AUTOTUNE), verbose=0)
pq.write_table(pa.table({"path": images.file_paths, "features": list(features)}), output)
