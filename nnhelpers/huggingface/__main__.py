"""`python -m nnhelpers.huggingface`: there is no command, and it says so."""

import sys

if __name__ == "__main__":
    sys.exit(
        "nnhelpers.huggingface has no command of its own; in Python, huggingface.save(model, FOLDER, tokenizer) "
        "writes a folder and huggingface.load(FOLDER) reads one"
    )
