/* What the files of the shim share. The theory is on top of smolmix.c. */
#ifndef SMX_SHIM_SHIM_H
#define SMX_SHIM_SHIM_H

#include "shim/raw.h"

#include "stack/config.h"
#include "stack/control.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

/* --- whose socket is it (identify.c) --------------------------------------------------------------------------- */

enum smx_class {
    SMX_FOREIGN, /* not the network: AF_UNIX and the like */
    SMX_KERNEL,  /* a real INET socket of the kernel: loopback only (kernel.c) */
    SMX_TUNNEL,  /* ours: an AF_UNIX socket with a name as in control.h */
};

struct smx_address {
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
        struct sockaddr_storage room;
    };
    socklen_t len;
};

struct smx_socket {
    enum smx_class class;
    char kind;     /* as in control.h; also for SMX_KERNEL */
    bool accepted; /* by a listener, whose name it has; the id is the connection's */
    uint8_t id[SMX_SOCKET_ID_LEN];
    char engine[SMX_CONTROL_NAME_MAX];
    struct smx_address name; /* as the kernel has it */
};

/* 0, or -EBADF, -ENOTSOCK and whatever else getsockname(2) says; -EACCES: the program forbids us to ask (sandbox.c). */
int smx_identify(int fd, struct smx_socket *s);
/* Without the id of an accepted socket, and the kind of a kernel's: half the price for connections. */
int smx_identify_class(int fd, struct smx_socket *s);
/* The same from a name. */
void smx_classify(struct smx_socket *s, const struct smx_address *name);
bool smx_engine_name_valid(const char *name);
/* The abstract address \0<engine><rest>; rest may be empty. */
void smx_abstract(struct smx_address *out, const char *engine, const char *rest);
/* A new unix socket of this kind with a fresh name: its descriptor, or -errno. flags: SOCK_CLOEXEC, SOCK_NONBLOCK. */
int smx_tunnel_socket(char kind, int flags, const char *engine, uint8_t id[static SMX_SOCKET_ID_LEN]);

static inline bool smx_is_stream(const struct smx_socket *s)
{
    return s->kind == 't' || s->kind == 'T';
}

static inline bool smx_is_ipv6(const struct smx_socket *s)
{
    return s->kind < 'a';
}

/* Connected to an engine, or was: the kernel knows. */
bool smx_was_connected(int fd);
bool smx_is_listening(int fd);

/* --- programs that lock themselves in (sandbox.c) ----------------------------------------------------------------- */

struct seccomp_data;
struct sock_fprog;

/* No filter of the program's own forbids this thread what identify.c asks. */
bool smx_may_ask(void);
uint32_t smx_filter_run(const struct sock_fprog *program, const struct seccomp_data *call);
int smx_seccomp(unsigned operation, unsigned flags, void *argument);
int smx_prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d);

/* --- addresses (address.c) --------------------------------------------------------------------------------------- */

int smx_address_in(struct smx_address *out, const void *addr, socklen_t len); /* 0, -EINVAL, -EFAULT */
bool smx_address_is_any(const struct smx_address *a);
bool smx_address_is_loopback(const struct smx_address *a);
uint16_t smx_address_port(const struct smx_address *a);
/* The any address becomes the loopback address, which is what connecting to it means. */
void smx_address_any_to_loopback(struct smx_address *a);
/* 127.0.0.1, ::1, or for IPv6 sockets that also take IPv4 ::ffff:127.0.0.1 */
void smx_address_loopback(struct smx_address *a, bool ipv6, bool mapped, uint16_t port);
#define SMX_PORT_DNS 53 /* on loopback it is the engine's name server, also without the guard */
void smx_address_to_control(struct smx_control_addr *out, const struct smx_address *a);
/* family 0 gives the any address; ipv6: in the form of an IPv6 socket */
void smx_address_from_control(struct smx_address *out, const struct smx_control_addr *a, bool ipv6);

/* --- what is remembered about sockets (memo.c) ------------------------------------------------------------------- */

#define SMX_MEMO_VALUES 48

bool smx_memo_get(const uint8_t id[static SMX_SOCKET_ID_LEN], unsigned slot, int *value);
void smx_memo_set(const uint8_t id[static SMX_SOCKET_ID_LEN], unsigned slot, int value);
bool smx_memo_bound(const uint8_t id[static SMX_SOCKET_ID_LEN], struct smx_control_addr *local);
void smx_memo_bind(const uint8_t id[static SMX_SOCKET_ID_LEN], const struct smx_control_addr *local);
void smx_memo_move(const uint8_t from[static SMX_SOCKET_ID_LEN], const uint8_t to[static SMX_SOCKET_ID_LEN]);
/* A connection attempt was left to itself and the program has not heard of its end through connect(2). A datagram
 * socket: it has talked through the tunnel. */
void smx_memo_set_pending(const uint8_t id[static SMX_SOCKET_ID_LEN], bool pending);
bool smx_memo_pending(const uint8_t id[static SMX_SOCKET_ID_LEN]);
/* Epoll instances a socket was added to before it was connected: they must learn of the file that takes its place. */
#define SMX_WATCHES 2
struct smx_watch {
    int epoll;
    uint32_t events;
    uint64_t data;
};
void smx_memo_watch(const uint8_t id[static SMX_SOCKET_ID_LEN], const struct smx_watch *watch, bool on);
int smx_memo_watches(const uint8_t id[static SMX_SOCKET_ID_LEN], struct smx_watch out[static SMX_WATCHES]);

/* --- names (names.c) --------------------------------------------------------------------------------------------- */

/* What the engine knows: false if it cannot be asked. */
bool smx_ask_state(const struct smx_socket *s, struct smx_control_reply *reply);
/* Gives an address to the program: copies what fits and stores the full length, as the kernel does. */
int smx_give_name(void *addr, socklen_t *len, const struct smx_socket *s, const struct smx_control_addr *a);

/* --- options (option.c) ------------------------------------------------------------------------------------------ */

/* Sends what was set before the connection to the engine. */
void smx_options_send(int control, int fd, const struct smx_socket *s);
/* From one descriptor to the one that takes its place. */
void smx_options_copy(int from, int to, const struct smx_socket *s, bool to_kernel);
bool smx_option_ipv6_only(const struct smx_socket *s);
bool smx_option_reuse_port(const struct smx_socket *s);
int smx_option_value(const struct smx_socket *s, int level, int name); /* 0 also if it was never set */

/* --- the control protocol (control.c) ---------------------------------------------------------------------------- */

#define SMX_REPLY_HEAD offsetof(struct smx_control_reply, addrs) /* enough for most questions */

/* A connection to an engine, or -errno: ENETDOWN, EMFILE, ... */
int smx_control_open(const char *engine);
void smx_control_limit(int control, long seconds); /* how long a reply may take; 0: for ever */
/* One question. size: bytes of the reply that are wanted, at least SMX_REPLY_HEAD. 0, or -errno if there is no answer;
 * what the engine says is in reply->error. Restarts after signals. */
int smx_control_call(int control, const struct smx_control_request *request, struct smx_control_reply *reply,
                     size_t size);
/* Opens, asks one short question, closes; the engine's error becomes the result, -errno. */
int smx_control_ask(const char *engine, const struct smx_control_request *request, struct smx_control_reply *reply);
void smx_control_request(struct smx_control_request *request, enum smx_control_op op, const struct smx_socket *s);
/* The peer of a unix socket is an engine we trust. */
bool smx_control_trusted(int fd);
bool smx_control_trusted_user(uid_t user);

/* The tunnel's own addresses, in reply->addrs; waits until it is ready. 0 or -ENETDOWN. */
int smx_tunnel_addresses(struct smx_control_reply *reply);

#define SMX_READY_SECONDS   70 /* a tunnel is ready, or has failed, after 60 */
#define SMX_CONTROL_SECONDS 10 /* for questions that an engine answers at once */

/* --- who serves (serve.c), the engine in our own process (guest.c) ------------------------------------------------ */

extern __thread bool smx_engine_thread __attribute__((tls_model("initial-exec")));

/* True in the thread of our own engine: its calls are the system's. */
static inline bool smx_is_engine(void)
{
    return smx_engine_thread;
}

/* The name of the engine for new sockets. Does not start anything. */
void smx_serve_name(char name[static SMX_CONTROL_NAME_MAX]);
/* The same, and it runs: 0 or -ENETDOWN. */
int smx_serve(char name[static SMX_CONTROL_NAME_MAX]);
const struct smx_config *smx_serve_config(void);
/* Around us is the guard: sockets of the kernel cannot be had, loopback is the engine's. A hint, not what makes it so.
 */
bool smx_guarded(void);
/* The calling thread may be made to wait; the supervisor's may not (supervisor/). */
bool smx_may_wait(void);

/* A plain preload with SMOLMIX_GUARD=seccomp (apart.c): is it one; and from now on it is guarded, by an engine of that
 * name. config: the engine has to be started; NULL: it runs, or none can. Ends the process if there can be no guard. */
bool smx_apart_wanted(void);
void smx_apart_enter(const char *name, const struct smx_config *config);

bool smx_guest_start(const char *name, const struct smx_config *config);
bool smx_guest_running(char name[static SMX_CONTROL_NAME_MAX]); /* in this very process */
void smx_guest_forget(void);                                    /* after fork */

/* Waits until the peer has everything this process has written; see leave.c. */
void smx_drain(void);
void smx_leave_at_quick_exit(void);

/* --- sockets of the kernel, for loopback (kernel.c) --------------------------------------------------------------- */

/* The file at fd becomes a kernel socket, to talk to that address (NULL: to be bound). 0 or -errno; updates *s. */
int smx_make_kernel(int fd, struct smx_socket *s, const struct smx_address *to);
/* May this socket of the kernel, or one that becomes one, talk to that address? 0 or -errno; rewrites the any address.
 */
int smx_kernel_destination(struct smx_address *a);
int smx_kernel_bindable(struct smx_address *a);
int smx_kernel_control_messages(const struct msghdr *m);
/* A descriptor received from elsewhere that leads to the network is put to death. */
void smx_defuse_received(const struct msghdr *m);
/* A new tunnel socket in the place of one that cannot connect any more. */
int smx_renew(int fd, struct smx_socket *s);

/* --- datagram sockets (datagram.c, datagram_recv.c) -------------------------------------------------------------- */

#define SMX_TUNNEL_INDEX 2 /* of the tunnel's interface; 1 is the loopback's */

/* Each returns what the system call would, -errno on failure. */
long smx_connect_datagram(int fd, struct smx_socket *s, struct smx_address *to);
/* m has checked pointers; to NULL: where the socket is connected to. May make it a socket of the kernel. */
long smx_send_datagram(int fd, struct smx_socket *s, const struct msghdr *m, struct smx_address *to, int flags);
long smx_receive_datagram(int fd, const struct smx_socket *s, struct msghdr *m, int flags);
/* What a failed native call on such a socket means. */
long smx_datagram_errno(const struct smx_socket *s, long r);
/* The most bytes that one datagram carries. */
size_t smx_datagram_largest(const struct smx_socket *s, bool ipv6);
/* The place that a flow's name spells. */
bool smx_flow_place(const struct smx_socket *s, const struct smx_address *name, struct smx_control_addr *place);
/* SMX_FLOW_REUSE, SMX_FLOW_IPV6_ONLY, SMX_FLOW_INBOUND; bound: where the socket is, or is going to be, family 0: not */
unsigned smx_flow_flags(int fd, const struct smx_socket *s, const struct smx_control_addr *bound);

/* --- the interposed functions that others need -------------------------------------------------------------------- */

int smx_local_door(const struct smx_address *to); /* local.c: 0, or -errno for a unix socket that is closed */
long smx_connect_address(int fd, struct smx_socket *s, struct smx_address *to); /* 0 or -errno */
int smx_socket(int domain, int type, int protocol);
int smx_socketpair(int domain, int type, int protocol, int pair[2]);
int smx_connect(int fd, const void *addr, socklen_t len);
int smx_bind(int fd, const void *addr, socklen_t len);
int smx_listen(int fd, int backlog);
int smx_accept4(int fd, void *addr, socklen_t *len, int flags);
int smx_getsockname(int fd, void *addr, socklen_t *len);
int smx_getpeername(int fd, void *addr, socklen_t *len);
int smx_getsockopt(int fd, int level, int option, void *value, socklen_t *len);
int smx_setsockopt(int fd, int level, int option, const void *value, socklen_t len);
int smx_shutdown(int fd, int how);
ssize_t smx_send(int fd, const void *data, size_t len, int flags);
ssize_t smx_sendto(int fd, const void *data, size_t len, int flags, const void *addr, socklen_t addr_len);
ssize_t smx_sendmsg(int fd, const struct msghdr *m, int flags);
int smx_sendmmsg(int fd, struct mmsghdr *m, unsigned n, int flags);
ssize_t smx_recvfrom(int fd, void *data, size_t len, int flags, void *addr, socklen_t *addr_len);
ssize_t smx_recvmsg(int fd, struct msghdr *m, int flags);
/* What SO_ERROR says, and takes away: an errno or 0. */
int smx_pending_error(int fd, const struct smx_socket *s);
int smx_recvmmsg(int fd, struct mmsghdr *m, unsigned n, int flags, struct timespec *timeout);
struct epoll_event;
int smx_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event);
int smx_ioctl(int fd, unsigned long request, void *argument);
int smx_execve(const char *path, char *const argv[], char *const envp[]);
int smx_execveat(int dir, const char *path, char *const argv[], char *const envp[], int flags);
_Noreturn void smx_exit_now(int status);

/* --- environment and targets of exec (environment.c, target.c) ---------------------------------------------------- */

/* A variable as it was when the program started; NULL: not set. */
const char *smx_environment_get(const char *name);
/* Another one, for us and our children; name: with "=". Before there are threads that could read. */
bool smx_environment_add(const char *name, const char *value);
char *const *smx_environment_own(void); /* all SMOLMIX_ variables, NULL terminated */
bool smx_environment_complete(char *const envp[]);
/* An upper bound for the entries of the array that smx_environment_fix fills. */
size_t smx_environment_room(char *const envp[]);
#define SMX_PRELOAD_MAX 8192
/* Fills out with envp and what is missing in it. preload: room for a new LD_PRELOAD. -E2BIG when that is too small. */
int smx_environment_fix(char *const envp[], const char *out[], char preload[static SMX_PRELOAD_MAX]);
/* Calls use with the completed environment, which lives that long. */
typedef long smx_environment_user(char *const envp[], void *ctx);
long smx_with_environment(char *const envp[], smx_environment_user *use, void *ctx);
/* PATH, one candidate after the other: out has PATH_MAX bytes. */
const char *smx_path_list(void);
bool smx_path_next(const char **list, const char *file, char *out);
/* 0, or -EACCES for programs that the preload cannot reach. */
int smx_target_allowed(int dir, const char *path, int flags);

/* --- real functions ----------------------------------------------------------------------------------------------- */

void *smx_next(const char *name); /* the libc's own, found with dlsym; NULL: there is none */

#endif
