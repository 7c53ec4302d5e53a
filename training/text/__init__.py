"""
Texts for training: encoders with their cache, the adapter for Arabizi, and what fits the shipped text models.

`make_encoder` gives an encoder and `encode_texts` the features of texts: language, vectors, and whether they are
understood. Only modules here import torch, and only when they encode.
"""

from training.text.encoder import Encoder, EncoderParams, cache_folder, make_encoder
from training.text.features import TextFeatures, encode_texts

__all__ = ["Encoder", "EncoderParams", "TextFeatures", "cache_folder", "encode_texts", "make_encoder"]
