"""Text and other sequences, one token after another, from models that predict the next one."""

from graphcore.generation.generator import Generator as Generator
from graphcore.generation.generator import generate as generate
