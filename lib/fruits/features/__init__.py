"""From image bytes to 1280 MobileNetV2 features, computed once."""
