"""`python -m bench` is `resizer-bench`."""

from bench.cli import main

if __name__ == "__main__":
    main()
