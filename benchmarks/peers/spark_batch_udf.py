"""Spark's predict_batch_udf: the workers keep the model, the bytes of binaryFile go to them as they are."""

import io
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from pyspark.ml.functions import predict_batch_udf
from pyspark.sql import SparkSession
from pyspark.sql.types import ArrayType, FloatType

folder, weights, output = sys.argv[1:]


def make_predict() -> Callable[[Any], Any]:
    """Load the model in a worker, once."""
    import keras
    import tensorflow as tf
    from PIL import Image

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    shape = (224, 224, 3)
    model = keras.applications.MobileNetV2(weights=weights, include_top=False, pooling="avg", input_shape=shape)
    run = tf.function(lambda batch: model(batch, training=False), reduce_retracing=True)

    def predict(contents: Any) -> Any:
        images = [Image.open(io.BytesIO(content)).convert("RGB").resize((224, 224)) for content in contents]
        pixels = np.stack([np.asarray(image) for image in images])
        return run(tf.constant(pixels.astype(np.float32) / 127.5 - 1)).numpy()

    return predict


spark = SparkSession.builder.master("local[2]").config("spark.driver.memory", "4g").getOrCreate()
reader = spark.read.format("binaryFile").option("recursiveFileLookup", "true").option("pathGlobFilter", "*.jpg")
files = reader.load(folder).repartition(4)
featurize = predict_batch_udf(make_predict, return_type=ArrayType(FloatType()), batch_size=32)
files.select("path", featurize("content").alias("features")).write.parquet(output)
