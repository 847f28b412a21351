"""resizer-bench: does a learned image resizer help, and is it worth what it costs?"""

__version__ = "0.1.0"
