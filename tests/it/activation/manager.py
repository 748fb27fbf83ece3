#!/usr/bin/env python3
"""Stands for a service manager that opens sockets and passes them on (sd_listen_fds(3)).

    manager.py SOCKET... -- PROGRAM ARGUMENTS

A SOCKET is udp:ADDRESS or tcp:ADDRESS, on the port that follows -dns.port among the arguments. The program is started at once, and again for
every line of standard input once it has ended; the sockets stay open.
"""

import os
import socket
import sys

separator = sys.argv.index("--")
wanted, command = sys.argv[1:separator], sys.argv[separator + 1:]
port = int(command[command.index("-dns.port") + 1])
sockets = []
for word in wanted:
    kind, address = word.split(":", 1)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    one = socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    one.bind((address, port))
    if kind == "tcp":
        one.listen(16)
    sockets.append(one)
while True:
    child = os.fork()
    if child == 0:
        high = [os.dup(one.fileno()) for one in sockets]
        high = [os.dup2(fd, 100 + at) for at, fd in enumerate(high)]
        for at, fd in enumerate(high):
            os.dup2(fd, 3 + at, inheritable=True)
        os.closerange(3 + len(high), 200)
        os.environ.update(LISTEN_FDS=str(len(high)), LISTEN_PID=str(os.getpid()))
        os.execvp(command[0], command)
    print("pid", child, flush=True)
    os.waitpid(child, 0)
    print("ended", flush=True)
    if not sys.stdin.readline():
        break
