/*
 * Fetches a page with io_uring alone: socket, connect, send and receive are orders to the ring. A static program without
 * liburing. Usage: netns-uring ADDRESS PORT
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct {
    int fd;
    struct io_uring_params params;
    uint8_t *submit, *complete;
    struct io_uring_sqe *entries;
} ring;

static unsigned *number(uint8_t *at, unsigned offset)
{
    return (unsigned *)(void *)(at + offset);
}

static void *map(size_t len, off_t what)
{
    void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, what);
    return at == MAP_FAILED ? NULL : at;
}

static int start(void)
{
    struct io_uring_params *p = &ring.params;
    ring.fd = (int)syscall(SYS_io_uring_setup, 4, p);
    if (ring.fd < 0)
        return errno;
    ring.submit = map(p->sq_off.array + p->sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
    ring.complete = map(p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
    ring.entries = map(p->sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
    return ring.submit && ring.complete && ring.entries ? 0 : ENOMEM;
}

/* One order, and its result. */
static int order(const struct io_uring_sqe *entry)
{
    unsigned *tail = number(ring.submit, ring.params.sq_off.tail),
             *head = number(ring.complete, ring.params.cq_off.head);
    unsigned at = *tail & *number(ring.submit, ring.params.sq_off.ring_mask);
    ring.entries[at] = *entry;
    number(ring.submit, ring.params.sq_off.array)[at] = at;
    __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
    if (syscall(SYS_io_uring_enter, ring.fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
        return -errno;
    const struct io_uring_cqe *done = (void *)(ring.complete + ring.params.cq_off.cqes);
    int result = done[*head & *number(ring.complete, ring.params.cq_off.ring_mask)].res;
    __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
    return result;
}

int main(int argc, char **argv)
{
    static const char request[] = "GET / HTTP/1.0\r\nHost: hello.lab\r\n\r\n";
    static char answer[4096];
    struct sockaddr_in to = {.sin_family = AF_INET};
    if (argc != 3 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1)
        return 2;
    to.sin_port = htons((uint16_t)atoi(argv[2]));
    int error = start();
    if (error) {
        printf("no io_uring: %s\n", strerror(error));
        return 77;
    }
    int s = order(&(struct io_uring_sqe){.opcode = IORING_OP_SOCKET, .fd = AF_INET, .off = SOCK_STREAM});
    if (s < 0) /* Linux before 5.19 */
        s = socket(AF_INET, SOCK_STREAM, 0);
    int r =
        order(&(struct io_uring_sqe){.opcode = IORING_OP_CONNECT, .fd = s, .addr = (uintptr_t)&to, .off = sizeof(to)});
    if (r == 0)
        r = order(&(struct io_uring_sqe){
            .opcode = IORING_OP_SEND, .fd = s, .addr = (uintptr_t)request, .len = sizeof(request) - 1});
    while (r > 0) {
        r = order(&(struct io_uring_sqe){
            .opcode = IORING_OP_RECV, .fd = s, .addr = (uintptr_t)answer, .len = sizeof(answer)});
        if (r > 0)
            fwrite(answer, 1, (size_t)r, stdout);
    }
    if (r < 0)
        printf("io_uring: %s\n", strerror(-r));
    return r < 0;
}
