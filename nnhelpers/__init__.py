"""The models and tools of the course *Neural Networks: Playground*, one module per lecture.

Importing the package loads nothing else; `nnhelpers.micrograd` needs neither torch nor matplotlib.
"""

__version__ = "0.1.0"
