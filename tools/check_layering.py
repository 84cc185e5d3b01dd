#!/usr/bin/env python3
"""Checks that every #include follows the arrows between the layers. Prints file:line and the rule broken.

The arrows are those of docs/architecture.md. A quoted include names its layer ("gpu/registers.hpp"), so that a
wrong one is seen before it is read. With an argument it checks that tree instead of the one it lies in.
"""

import pathlib
import re
import sys

# What a file of the layer may include besides itself: layers, or single headers of one. "public" is
# include/belfry, "uapi" is src/uapi and include/belfry/uapi. A room of a layer that has rules of its own is a layer.
ALLOWED = {
    "base": {},
    # The disassembler is public, and made of the table that lies here.
    "uapi": {"base", "belfry/disassembler.hpp"},
    "gpu/texture": {"base", "uapi"},
    "gpu/shader": {"base", "uapi", "gpu/texture"},
    "gpu": {"base", "uapi", "gpu/shader", "gpu/texture"},
    "drm": {"base", "uapi"},
    "drivers": {"base", "uapi", "drm", "gpu/registers.hpp", "gpu/firmware_interface.hpp", "gpu/board.hpp"},
    "server": {"base", "uapi", "gpu", "drm", "drivers"},
    "client": {"base", "uapi", "public"},
    "shim": {"base", "uapi", "public", "client"},
    # The transport: a benchmark waits for more at once than the public door offers.
    "cli": {"base", "uapi", "public", "client/transport.hpp"},
    "public": {"uapi"},
}

# The driver knows no sockets, threads, clocks, sleeps or environment; time is an argument.
SANS_IO = {"drm", "drivers"}
IO_HEADERS = re.compile(
    r"asio[./]|boost/asio|spdlog/|poll\.h|pthread\.h|time\.h|signal\.h|sys/(socket|un|epoll|poll|select|time|timerfd)\.h"
    r"|(thread|mutex|shared_mutex|condition_variable|future|semaphore|barrier|latch|stop_token|iostream|fstream|filesystem)$"
    r"|base/clock\.hpp"
)

# A public header needs nothing of this checkout or of other projects: std headers, and in uapi/ the kernel's.
STANDARD = re.compile(r"[a-z_0-9]+$")
STANDARD_OR_KERNEL = re.compile(r"[a-z_0-9]+$|stdint\.h$|stddef\.h$|linux/[a-z_0-9/]+\.h$")
# But for these, which the library itself does not need, and what each of them is written on.
OPTIONAL = {"include/belfry/uring.hpp": {"liburing.h", "poll.h", "sys/eventfd.h", "sys/stat.h", "unistd.h"}}

INCLUDE = re.compile(r'\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')


def layer_of_file(path):
    parts = path.parts
    if parts[:3] == ("include", "belfry", "uapi"):
        return "uapi"
    if "/".join(parts[1:3]) in ALLOWED:
        return "/".join(parts[1:3])
    return "public" if parts[0] == "include" else parts[1]


def layer_of_include(target):
    parts = target.split("/")
    if parts[0] == "belfry":
        return "uapi" if parts[1:2] == ["uapi"] else "public"
    if len(parts) > 2 and "/".join(parts[:2]) in ALLOWED:
        return "/".join(parts[:2])
    return parts[0] if len(parts) > 1 and parts[0] in ALLOWED else None


def rule_broken(path, target, quoted):
    """The rule that this include breaks, or None."""
    layer, included = layer_of_file(path), layer_of_include(target)
    if layer not in ALLOWED:
        return f"src/{layer} is no layer; the layers are in docs/architecture.md"
    if layer in SANS_IO and IO_HEADERS.match(target):
        return f"{layer} knows no sockets, threads, clocks or files: no {target}"
    if path.parts[0] == "include":
        standard = STANDARD_OR_KERNEL if layer == "uapi" else STANDARD
        own = target.startswith("belfry/uapi/" if layer == "uapi" else "belfry/")
        if own or (not quoted and (standard.match(target) or target in OPTIONAL.get(path.as_posix(), ()))):
            return None
        return f"public headers include only the standard library and {'belfry/uapi' if layer == 'uapi' else 'belfry'}, not {target}"
    if included is None:
        return f'a quoted include names its layer, "{layer}/{target}"' if quoted else None
    if included == layer or included in ALLOWED[layer] or target in ALLOWED[layer]:
        return None
    allowed = ", ".join(sorted(ALLOWED[layer])) or "nothing"
    return f"{layer} may include {allowed}; not {target}"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent).resolve()
    files = [p for top in ("include", "src") for p in (root / top).rglob("*") if p.suffix in (".h", ".hpp", ".cpp")]
    broken = 0
    for file in sorted(files):
        path = file.relative_to(root)
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            include = INCLUDE.match(line)
            if not include:
                continue
            rule = rule_broken(path, include[1] or include[2], include[1] is not None)
            if rule:
                print(f"{path}:{number}: {rule}")
                broken += 1
    if not files:
        print("no sources found")
    sys.exit(1 if broken or not files else 0)


if __name__ == "__main__":
    main()
