/*
 * libsmolmix.so: the program's end of the tunnel.
 *
 * THEORY OF OPERATION
 *
 * A program's INET socket is an AF_UNIX socket. It sits at the descriptor that the program holds, the engine holds the
 * other end and pumps bytes between it and a TCP connection of its own stack. So everything that works on descriptors
 * works natively, at the kernel's speed and without us: read, write, poll, select, epoll, dup, fork, exec, sendfile,
 * stdio, descriptor passing. Only calls that show the difference are interposed: those with addresses, options or
 * names, those that start programs (children must be in the tunnel too), and those that leave the process.
 *
 * What belongs together:
 *
 *   raw.c          system calls: the one instruction             names.c       getsockname, getpeername, shutdown
 *   identify.c     is this descriptor ours? its name says so     option.c      socket options, ioctl
 *   memo.c         what we remember about sockets                resolve.c     names: the question to the engine
 *   control.c      asking the engine (stack/control.h)           getaddrinfo.c gethost.c getnameinfo.c res.c
 *   serve.c        which engine                                  environment.c what children need
 *   guest.c        the engine as a thread of ours                target.c      which programs may be started
 *   socket.c connect.c bind.c accept.c send.c recv.c             exec.c spawn.c leave.c syscall.c dlopen.c remote.c
 *   kernel.c       loopback: real INET sockets, kept on a leash  datagram.c datagram_recv.c
 *   interfaces.c   the tunnel as an interface                    getifaddrs.c
 *   sandbox.c      programs whose own filter forbids our questions
 *
 * A socket's states as the shim sees them, from two questions to the kernel and one to the engine:
 *
 *   getsockname: an INET address       a socket of the kernel, for loopback; nothing leads from it to the tunnel
 *   getsockname: smolmix-NAME.tID      ours, and
 *     getpeername: ENOTCONN              new: nothing is known about it but what memo.c remembers
 *     getpeername: an engine             STATE asks the engine: connecting, connected, closed, failed
 *
 * RULES, and why
 *
 *   - Never directly to the network. Whatever goes wrong, the answer is an errno: ENETDOWN when there is no engine.
 *     That holds for programs that mean well; the guarantee is the guard's.
 *   - No state that must be true. Libc closes and opens descriptors behind our back, children share memory with their
 *     parents, sockets come by mail. So the kernel is asked, each time; memo.c is a cache that may forget.
 *   - No malloc, no stdio, no locks, no dlsym on the way of calls that POSIX lets signal handlers make; no signals
 *     blocked but while serve.c decides. errno is untouched on success. Blocking calls stay cancellation points.
 *   - No descriptor is kept open, so none can be inherited, closed or mistaken.
 *   - Works before any constructor has run: other libraries' constructors open sockets.
 *   - The engine's own thread calls the same functions: for it they are the system's (smx_is_engine).
 *
 * LIMITS of this version
 *
 *   Programs that the preload cannot reach (target.c) are not started, unless a guard is there or the user said off.
 *   An engine inside the process ends with it: sockets that survive an exec, or the end of a parent, are dead then.
 *   Differences from TCP that remain are listed on top of connect.c, from UDP on top of datagram.c, of loopback sockets
 *   on top of kernel.c, of interfaces on top of interfaces.c.
 */
#include "shim/shim.h"

/* For `LD_PRELOAD=libsmolmix.so strings` and for the curious: which build this is. */
__attribute__((used)) static const char version[] = "libsmolmix " SMX_VERSION;
