"""fruits: its public functions on a session as PySpark makes it."""

import sys

from pyspark.sql import SparkSession

import fruits

folder, weights, output = sys.argv[1:]
spark = SparkSession.builder.master("local[2]").getOrCreate()
model = fruits.load_model(weights)
fruits.extract_features(fruits.list_images(folder), model, spark=spark, output=output)
