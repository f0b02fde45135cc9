"""`python -m pyllama_rt`: the command line."""

from pyllama_rt.cli import main

if __name__ == "__main__":
    main()
