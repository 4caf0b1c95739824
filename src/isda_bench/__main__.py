"""`python -m isda_bench` is `isda-bench`."""

from isda_bench.cli.main import main

if __name__ == "__main__":
    main()
