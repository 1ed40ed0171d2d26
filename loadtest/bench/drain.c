/* A WebSocket client that opens many connections and drains them, so lean that the server saturates first.
 *
 *   drain --port P --path /x --connections N [--host 127.0.0.1] [--window 200] [--sources 4]
 *         [--hello FILE --replies R] [--stamp '"ts":'] [--nap MICROSECONDS] [--life SECONDS]
 *
 * The first # in the path becomes the connection's number, from 0.
 * FILE has one line per connection: the text it sends once upgraded; a tab in it goes out as a newline. A connection is
 * ready after R objects that begin {"id": (or, with R = 0, after the 101). Anything else counts as a message; several
 * joined by newlines in one frame count each. {} and protocol pings are answered. With --stamp the number behind that
 * text is the producer's CLOCK_MONOTONIC in nanoseconds, and the latency of every message is kept. With --nap it sleeps
 * so long between two polls: a client that sleeps in epoll is woken by the server's write, which on one machine adds
 * the cost of waking it to the cost of writing.
 *
 * Commands on stdin: `report`, `reset`, `wait MESSAGES MILLISECONDS`, `samples`, `quit`. Each answers with one JSON
 * line on stdout; a `ready` line comes by itself when all connections are ready or failed. End of input means quit.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BUFFER (1 << 18)
#define MAX_SAMPLES (1 << 20)
#define MAX_CONNECTIONS 19900

enum state { UNUSED, CONNECTING, UPGRADING, OPENING, READY, CLOSED };

struct connection {
    int fd;
    enum state state;
    int replies;
    size_t kept;    /* bytes of an unfinished head or frame */
    char *rest;
};

static struct { const char *host, *path, *hello, *stamp; int port, connections, window, sources, replies, nap, life; } option =
    { "127.0.0.1", "/", NULL, NULL, 0, 1, 200, 4, 0, 0, 600 };

static struct connection *all;
static char **hello;
static int poller, started, in_flight, ready, failed, closed, refused, announced;
static uint64_t messages, frames, bytes, pings, began, all_ready, first_message, last_message;
static int last_close_code;
static uint32_t *samples;
static size_t sample_count;
static uint64_t wait_for, wait_until;
static char buffer[BUFFER + 1];

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what) {
    fprintf(stderr, "drain: %s: %s\n", what, strerror(errno));
    exit(2);
}

static void report(const char *event) {
    printf("{\"event\":\"%s\",\"ready\":%d,\"failed\":%d,\"closed\":%d,\"refused\":%d,\"close_code\":%d,\"messages\":%llu,"
           "\"frames\":%llu,\"bytes\":%llu,\"pings\":%llu,\"began_ns\":%llu,\"ready_ns\":%llu,\"first_ns\":%llu,\"last_ns\":%llu}\n",
           event, ready, failed, closed, refused, last_close_code, (unsigned long long)messages, (unsigned long long)frames,
           (unsigned long long)bytes, (unsigned long long)pings, (unsigned long long)began, (unsigned long long)all_ready,
           (unsigned long long)first_message, (unsigned long long)last_message);
    fflush(stdout);
}

static void drop(struct connection *c) {
    if (c->state == CLOSED) return;
    if (c->state == READY) closed++;
    else { failed++; in_flight--; }
    close(c->fd);
    free(c->rest);
    c->rest = NULL;
    c->kept = 0;
    c->state = CLOSED;
}

/* Small and rare enough to go into the empty send buffer of a socket at once; a full one is a fault. */
static void put(struct connection *c, const void *data, size_t size) {
    if (send(c->fd, data, size, MSG_NOSIGNAL) != (ssize_t)size) drop(c);
}

/* A client frame must be masked (RFC 6455, 5.3); a mask of zeros leaves the payload as it is. */
static void put_frame(struct connection *c, int opcode, const char *payload, size_t size) {
    static char frame[70000];
    size_t head = 2;
    if (size > 65535) { errno = EMSGSIZE; die("hello"); }
    frame[0] = (char)(0x80 | opcode);
    if (size < 126) frame[1] = (char)(0x80 | size);
    else { frame[1] = (char)(0x80 | 126); frame[2] = (char)(size >> 8); frame[3] = (char)size; head = 4; }
    memset(frame + head, 0, 4);
    memcpy(frame + head + 4, payload, size);
    put(c, frame, head + 4 + size);
}

static void become_ready(struct connection *c) {
    c->state = READY;
    ready++;
    in_flight--;
}

static void on_object(struct connection *c, const char *text, size_t size, uint64_t now) {
    if (size == 2 && text[0] == '{') { pings++; put_frame(c, 1, "{}", 2); return; }
    if (size > 6 && memcmp(text, "{\"id\":", 6) == 0) {
        if (memmem(text, size < 40 ? size : 40, "\"error\":", 8)) refused++;
        if (++c->replies == option.replies && c->state == OPENING) become_ready(c);
        return;
    }
    if (!messages++) first_message = now;
    last_message = now;
    if (!option.stamp) return;
    size_t length = strlen(option.stamp);
    const char *at = memmem(text, size, option.stamp, length);
    if (at && sample_count < MAX_SAMPLES) samples[sample_count++] = (uint32_t)((now - strtoull(at + length, NULL, 10)) / 1000);
}

static void on_frame(struct connection *c, int opcode, const char *payload, size_t size, uint64_t now) {
    frames++;
    if (opcode == 9) { pings++; put_frame(c, 10, payload, size < 125 ? size : 125); return; }
    if (opcode == 8) {
        if (size >= 2) last_close_code = (unsigned char)payload[0] << 8 | (unsigned char)payload[1];
        drop(c);
        return;
    }
    if (opcode != 1 && opcode != 2) return;
    const char *end = payload + size;
    while (payload < end && c->state != CLOSED) {
        const char *line = memchr(payload, '\n', (size_t)(end - payload));
        if (!line) line = end;
        on_object(c, payload, (size_t)(line - payload), now);
        payload = line + 1;
    }
}

/* Takes whole frames off the front; returns how many bytes they had. */
static size_t take_frames(struct connection *c, const char *data, size_t size, uint64_t now) {
    size_t used = 0;
    while (c->state != CLOSED && size - used >= 2) {
        const unsigned char *f = (const unsigned char *)data + used;
        size_t head = 2, length = f[1] & 127;
        if (length == 126) { if (size - used < 4) break; length = (size_t)f[2] << 8 | f[3]; head = 4; }
        else if (length == 127) {
            if (size - used < 10) break;
            length = 0;
            for (int i = 2; i < 10; i++) length = length << 8 | f[i];
            head = 10;
        }
        if (length > BUFFER / 2) { drop(c); break; }
        if (size - used < head + length) break;
        on_frame(c, f[0] & 15, (const char *)f + head, length, now);
        used += head + length;
    }
    return used;
}

static size_t take_head(struct connection *c, const char *data, size_t size) {
    const char *end = memmem(data, size, "\r\n\r\n", 4);
    if (!end) return 0;
    if (size < 12 || memcmp(data, "HTTP/1.1 101", 12) != 0) { drop(c); return 0; }
    c->state = OPENING;
    if (option.replies == 0) become_ready(c);
    if (hello) { const char *line = hello[c - all]; put_frame(c, 1, line, strlen(line)); }
    return (size_t)(end - data) + 4;
}

static void on_readable(struct connection *c) {
    memcpy(buffer, c->rest, c->kept);
    ssize_t got = recv(c->fd, buffer + c->kept, BUFFER - c->kept, 0);
    if (got <= 0) { if (got == 0 || (errno != EAGAIN && errno != EINTR)) drop(c); return; }
    uint64_t now = now_ns();
    size_t size = c->kept + (size_t)got, used = 0;
    bytes += (uint64_t)got;
    buffer[size] = 0;
    if (c->state == UPGRADING) used = take_head(c, buffer, size);
    if (c->state == OPENING || c->state == READY) used += take_frames(c, buffer + used, size - used, now);
    if (c->state == CLOSED) return;
    c->kept = size - used;
    if (c->kept) {
        c->rest = realloc(c->rest, c->kept);
        if (!c->rest) die("memory");
        memcpy(c->rest, buffer + used, c->kept);
    }
}

static void put_request(struct connection *c) {
    char request[1024];
    const char *mark = strchrnul(option.path, '#');
    char number[12] = "";
    if (*mark) snprintf(number, sizeof number, "%d", (int)(c - all));
    int size = snprintf(request, sizeof request, "GET %.*s%s%s HTTP/1.1\r\nHost: %s:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                        (int)(mark - option.path), option.path, number, *mark ? mark + 1 : "", option.host, option.port);
    if (size >= (int)sizeof request) { errno = EMSGSIZE; die("path"); }
    put(c, request, (size_t)size);
}

static void on_connected(struct connection *c) {
    int fault = 0;
    socklen_t size = sizeof fault;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &fault, &size);
    if (fault) { drop(c); return; }
    struct epoll_event want = { .events = EPOLLIN, .data.ptr = c };
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &want);
    c->state = UPGRADING;
    put_request(c);
}

static void start_one(void) {
    struct connection *c = &all[started];
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)option.port) };
    struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002u + (uint32_t)(started % option.sources)) };
    int on = 1;
    struct linger reset = { 1, 0 };    /* close by RST: no port is left in TIME_WAIT */
    inet_pton(AF_INET, option.host, &to.sin_addr);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (strncmp(option.host, "127.", 4) == 0 && bind(c->fd, (struct sockaddr *)&from, sizeof from)) die("bind");
    c->state = CONNECTING;
    started++;
    in_flight++;
    struct epoll_event want = { .events = EPOLLOUT, .data.ptr = c };
    epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &want);
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) drop(c);
}

static void print_samples(void) {
    printf("{\"event\":\"samples\",\"us\":[");
    for (size_t i = 0; i < sample_count; i++) printf(i ? ",%u" : "%u", samples[i]);
    printf("]}\n");
    fflush(stdout);
}

static void on_command(char *line) {
    unsigned long long count, milliseconds;
    if (strcmp(line, "quit") == 0) exit(0);
    else if (strcmp(line, "report") == 0) report("report");
    else if (strcmp(line, "samples") == 0) print_samples();
    else if (strcmp(line, "reset") == 0) {
        messages = frames = bytes = pings = first_message = last_message = 0;
        sample_count = 0;
        report("reset");
    } else if (sscanf(line, "wait %llu %llu", &count, &milliseconds) == 2) {
        wait_for = count;
        wait_until = now_ns() + milliseconds * 1000000u;
    } else fprintf(stderr, "drain: unknown command\n");
}

static void on_stdin(void) {
    static char line[256];
    static size_t length;
    char got[256];
    ssize_t size = read(0, got, sizeof got);
    if (size <= 0) exit(0);
    for (ssize_t i = 0; i < size; i++) {
        if (got[i] == '\n') { line[length] = 0; length = 0; on_command(line); }
        else if (length < sizeof line - 1) line[length++] = got[i];
    }
}

static void read_hello(void) {
    FILE *file = fopen(option.hello, "r");
    if (!file) die(option.hello);
    hello = calloc((size_t)option.connections, sizeof *hello);
    for (int i = 0; i < option.connections; i++) {
        size_t room = 0;
        ssize_t size = getline(&hello[i], &room, file);
        if (size <= 0) { errno = EINVAL; die("too few hello lines"); }
        hello[i][strcspn(hello[i], "\n")] = 0;
        for (char *p = hello[i]; *p; p++) if (*p == '\t') *p = '\n';
    }
    fclose(file);
}

static void read_options(int argc, char **argv) {
    static const struct option known[] = {
        { "host", 1, 0, 'h' }, { "port", 1, 0, 'p' }, { "path", 1, 0, 'u' }, { "connections", 1, 0, 'n' }, { "window", 1, 0, 'w' },
        { "sources", 1, 0, 's' }, { "hello", 1, 0, 'f' }, { "replies", 1, 0, 'r' }, { "stamp", 1, 0, 't' }, { "nap", 1, 0, 'z' },
        { "life", 1, 0, 'l' }, { 0 } };
    int c;
    while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) switch (c) {
        case 'h': option.host = optarg; break;
        case 'p': option.port = atoi(optarg); break;
        case 'u': option.path = optarg; break;
        case 'n': option.connections = atoi(optarg); break;
        case 'w': option.window = atoi(optarg); break;
        case 's': option.sources = atoi(optarg); break;
        case 'f': option.hello = optarg; break;
        case 'r': option.replies = atoi(optarg); break;
        case 't': option.stamp = optarg; break;
        case 'z': option.nap = atoi(optarg); break;
        case 'l': option.life = atoi(optarg); break;
        default: exit(2);
    }
    if (option.port < 1 || option.connections < 1 || option.connections > MAX_CONNECTIONS || option.window < 1 || option.sources < 1) {
        fprintf(stderr, "drain: --port, --connections 1 to %d, --window and --sources from 1\n", MAX_CONNECTIONS);
        exit(2);
    }
}

static int poll_timeout(uint64_t now) {
    if (!wait_until) return 1000;
    return wait_until <= now ? 0 : (int)((wait_until - now) / 1000000u) + 1;
}

static void after_turn(void) {
    while (started < option.connections && in_flight < option.window) start_one();
    if (!announced && started == option.connections && in_flight == 0) {
        announced = 1;
        all_ready = now_ns();
        report("ready");
    }
    if (wait_until && (messages >= wait_for || now_ns() >= wait_until)) { wait_until = 0; report("wait"); }
}

int main(int argc, char **argv) {
    read_options(argc, argv);
    alarm((unsigned)option.life);    /* whatever happens to the harness, this process ends */
    if (option.hello) read_hello();
    all = calloc((size_t)option.connections, sizeof *all);
    samples = malloc(MAX_SAMPLES * sizeof *samples);
    if (!all || !samples) die("memory");
    poller = epoll_create1(0);
    struct epoll_event input = { .events = EPOLLIN, .data.ptr = NULL }, events[512];
    if (epoll_ctl(poller, EPOLL_CTL_ADD, 0, &input)) die("stdin");
    began = now_ns();
    for (;;) {
        after_turn();
        if (option.nap && announced) usleep((useconds_t)option.nap);
        int count = epoll_wait(poller, events, 512, poll_timeout(now_ns()));
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (!c) on_stdin();
            else if (c->state == CONNECTING) on_connected(c);
            else if (c->state != CLOSED) on_readable(c);
        }
    }
}
