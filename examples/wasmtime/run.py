"""Calls `stats-json` of a component made by `build`, with PyPI's wasmtime. The host has no functions but WASI's."""

import argparse

from wasmtime import Engine, Store, WasiConfig
from wasmtime.component import Component, Linker, Variant

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--dir", help="directory that the component may read as /cgroup")
parser.add_argument("component")
parser.add_argument("format", choices=["gvisor", "runc"])
parser.add_argument("container", nargs="+")
args = parser.parse_args()

engine = Engine()
linker = Linker(engine)
linker.add_wasip2()
wasi = WasiConfig()
if args.dir:
    wasi.preopen_dir(args.dir, "/cgroup", fs_mutable=False)
store = Store(engine)
store.set_wasi(wasi)
component = Component.from_file(engine, args.component)
instance = linker.instantiate(store, component)
events = component.get_export_index("eventout:stats/events@0.1.0")
stats_json = instance.get_func(store, component.get_export_index("stats-json", events))
for container in args.container:
    result = stats_json(store, container, args.format)
    if isinstance(result, Variant):
        result = f"error {result.tag}: {result.payload}"
    print(result)
