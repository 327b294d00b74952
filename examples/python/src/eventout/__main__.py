"""Prints statistics of processes, descendants included, as `runc events --stats` does for containers."""

import argparse
import os
import sys

from . import Error, Events, ProcessTree


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m eventout", description=__doc__)
    parser.add_argument("pids", metavar="PID", type=_pid, nargs="+", help="the first process of a tree")
    pids: list[int] = parser.parse_args().pids
    events = Events()
    status = 0
    for pid in pids:
        tree = ProcessTree(pid)
        try:
            print(events.stats_json(tree, tree.container, "runc"), flush=True)
        except Error as error:
            print(f"eventout: cannot get stats of process {pid}: {error}", file=sys.stderr)
            status = 1
        except BrokenPipeError:
            # The reader has ended, which is no error. At exit, Python would write the rest once more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            break
    return status


def _pid(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!a} is not a PID")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
