"""A gRPC server, and a gRPC client without a sidecar, for tests of the mesh.

serve: answers every call with its name; prints "ready" when it listens.
call:  for each line "TARGET COUNT" on standard input, makes so many calls and
       prints one line of JSON: how often each server answered, and how often
       which status came instead.
"""

import argparse
import collections
import json
import sys
from concurrent import futures

import grpc

METHOD = "/shop.Stock/Look"
# How long a call may take, name resolution included.
DEADLINE_S = 5


def read(path):
    with open(path, "rb") as file:
        return file.read()


def serve(arguments):
    def look(_request, _context):
        return arguments.name.encode()

    handler = grpc.unary_unary_rpc_method_handler(look)
    service = grpc.method_handlers_generic_handler("shop.Stock", {"Look": handler})
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    server.add_generic_rpc_handlers((service,))
    if arguments.chain is None:
        server.add_insecure_port(arguments.address)
    else:
        credentials = grpc.ssl_server_credentials(
            [(read(arguments.key), read(arguments.chain))],
            root_certificates=read(arguments.roots),
            require_client_auth=True,
        )
        server.add_secure_port(arguments.address, credentials)
    server.start()
    print("ready", flush=True)
    sys.stdin.read()
    server.stop(None)


def call(_arguments):
    # What has no certificates configured is not dialled at all.
    credentials = grpc.xds_channel_credentials(grpc.ssl_channel_credentials(b""))
    channels = {}
    print("ready", flush=True)
    for line in sys.stdin:
        target, count = line.split()
        if target not in channels:
            channels[target] = grpc.secure_channel(target, credentials)
        look = channels[target].unary_unary(METHOD)
        answers, refusals = collections.Counter(), collections.Counter()
        for _ in range(int(count)):
            try:
                answers[look(b"", timeout=DEADLINE_S).decode()] += 1
            except grpc.RpcError as error:
                refusals[f"{error.code().name}: {error.details()}"] += 1
        print(json.dumps({"answers": answers, "refusals": refusals}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(required=True)
    server = verbs.add_parser("serve")
    for option in ("--address", "--name"):
        server.add_argument(option, required=True)
    for option in ("--chain", "--key", "--roots"):
        server.add_argument(option, help="a PEM file; without any the server speaks plaintext")
    server.set_defaults(run=serve)
    verbs.add_parser("call").set_defaults(run=call)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
