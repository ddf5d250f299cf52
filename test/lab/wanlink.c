/*
 * wanlink: a WAN link between two network namespaces, in user space, for kernels without netem.
 *
 *     wanlink NAMESPACE_A DEVICE_A NAMESPACE_B DEVICE_B
 *
 * Makes a TUN device in each namespace; its caller gives them addresses. An IP packet read from one device is written
 * to the other after it waited its turn at the link's rate and then travelled for the one-way delay. What meets a queue
 * longer than the limit is dropped (tail drop), and so is what loss or a cut takes. Packets keep their order.
 *
 * Standard input takes lines, and each is answered with one line of JSON, the counters of both directions; the first
 * such line says that the devices exist.
 *
 *     shape MBIT_PER_S ONE_WAY_MS QUEUE_MS LOSS_PERCENT DOWN    rate 0: unlimited; DOWN 0 or 1
 *     stats
 *
 * It ends at the end of its input, so it cannot outlive whoever started it. Loss follows a fixed sequence: the same
 * packets in the same order meet the same fate. SIGINT is ignored: Ctrl-C reaches a whole process group, and those who
 * then still close their business over this link do so before its caller ends it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* Packets that a direction holds, queued and travelling: 1 Gbit/s for 190 ms in frames of 1,500 bytes. */
#define SLOTS 16384u
/* Above the devices' MTU of 1,500. */
#define PACKET_BYTES 1600
/* Packets taken from one device before the other has its turn. */
#define BURST 64
#define LINE_BYTES 256
#define NEVER UINT64_MAX

struct packet {
  uint64_t due_ns;
  uint32_t length;
  unsigned char data[PACKET_BYTES];
};

struct direction {
  int from, to;
  uint64_t free_ns;     /* when the link will have sent all that is queued */
  uint64_t last_due_ns; /* no packet arrives before the one sent before it */
  uint64_t packets, bytes, dropped;
  uint32_t first, count;
  struct packet *ring;
};

static struct {
  double ns_per_byte; /* 0: unlimited */
  uint64_t delay_ns, queue_ns;
  double loss; /* 0..1 */
  int down;
} shape;

static uint64_t dice = 0x9e3779b97f4a7c15u;

static void fail(const char *what) {
  fprintf(stderr, "wanlink: %s: %s\n", what, strerror(errno));
  exit(1);
}

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* xorshift64; uniform in 0..1. */
static double roll(void) {
  dice ^= dice << 13;
  dice ^= dice >> 7;
  dice ^= dice << 17;
  return (double)(dice >> 11) / 9007199254740992.0;
}

/* A TUN device in the namespace; the process itself comes back to where it was. */
static int open_device(const char *space, const char *device) {
  char path[256];
  snprintf(path, sizeof path, "/var/run/netns/%s", space);
  int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  int away = open(path, O_RDONLY | O_CLOEXEC);
  if (home < 0 || away < 0 || setns(away, CLONE_NEWNET) != 0) fail(path);

  int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (tun < 0) fail("/dev/net/tun");
  struct ifreq request;
  memset(&request, 0, sizeof request);
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  snprintf(request.ifr_name, sizeof request.ifr_name, "%s", device);
  if (ioctl(tun, TUNSETIFF, &request) != 0) fail(device);

  if (setns(home, CLONE_NEWNET) != 0) fail("setns");
  close(home);
  close(away);
  return tun;
}

/* Takes what a device has to send, and decides when it arrives. */
static void take(struct direction *way) {
  static unsigned char spare[PACKET_BYTES];
  for (int burst = 0; burst < BURST; burst++) {
    int full = way->count == SLOTS;
    struct packet *slot = &way->ring[(way->first + way->count) % SLOTS];
    ssize_t length = read(way->from, full ? spare : slot->data, PACKET_BYTES);
    if (length <= 0) return;

    uint64_t now = now_ns();
    uint64_t start = way->free_ns > now ? way->free_ns : now;
    if (shape.down || (shape.loss > 0 && roll() < shape.loss) || full || start - now > shape.queue_ns) {
      way->dropped++;
      continue;
    }
    way->free_ns = start + (uint64_t)((double)length * shape.ns_per_byte);
    uint64_t due = way->free_ns + shape.delay_ns;
    if (due < way->last_due_ns) due = way->last_due_ns;
    way->last_due_ns = due;
    slot->due_ns = due;
    slot->length = (uint32_t)length;
    way->count++;
  }
}

/* Delivers what has arrived by now; returns when the next packet does. */
static uint64_t deliver(struct direction *way, uint64_t now) {
  while (way->count > 0) {
    struct packet *packet = &way->ring[way->first];
    if (packet->due_ns > now) return packet->due_ns;
    if (write(way->to, packet->data, packet->length) == (ssize_t)packet->length) {
      way->packets++;
      way->bytes += packet->length;
    } else {
      way->dropped++;
    }
    way->count--;
    /* An empty ring starts over at its first pages, so that a calm link does not walk through all its memory. */
    way->first = way->count == 0 ? 0 : (way->first + 1) % SLOTS;
  }
  return NEVER;
}

static void print_counters(const char *name, const struct direction *way, const char *end) {
  printf("\"%s\":{\"packets\":%llu,\"bytes\":%llu,\"dropped\":%llu}%s", name, (unsigned long long)way->packets,
         (unsigned long long)way->bytes, (unsigned long long)way->dropped, end);
}

static void answer(const struct direction ways[2]) {
  printf("{");
  print_counters("forth", &ways[0], ",");
  print_counters("back", &ways[1], "}\n");
  fflush(stdout);
}

static void obey(const char *line, const struct direction ways[2]) {
  double rate, delay, queue, loss;
  int down;
  if (sscanf(line, "shape %lf %lf %lf %lf %d", &rate, &delay, &queue, &loss, &down) == 5) {
    shape.ns_per_byte = rate > 0 ? 8e3 / rate : 0;
    shape.delay_ns = (uint64_t)(delay * 1e6);
    shape.queue_ns = (uint64_t)(queue * 1e6);
    shape.loss = loss / 100;
    shape.down = down;
  } else if (strcmp(line, "stats") != 0) {
    fprintf(stderr, "wanlink: unknown command: %s\n", line);
    exit(2);
  }
  answer(ways);
}

/* Reads what there is of commands and obeys whole lines; ends the process at the end of input. */
static void hear(const struct direction ways[2]) {
  static char text[LINE_BYTES];
  static size_t held;
  ssize_t got = read(0, text + held, sizeof text - 1 - held);
  if (got < 0 && errno == EINTR) return;
  if (got <= 0) exit(0);
  held += (size_t)got;
  text[held] = 0;
  for (char *end; (end = strchr(text, '\n')) != NULL;) {
    *end = 0;
    obey(text, ways);
    held -= (size_t)(end + 1 - text);
    memmove(text, end + 1, held + 1);
  }
  if (held == sizeof text - 1) {
    errno = E2BIG;
    fail("command");
  }
}

int main(int argc, char **argv) {
  if (argc != 5) {
    fprintf(stderr, "usage: wanlink NAMESPACE_A DEVICE_A NAMESPACE_B DEVICE_B\n");
    return 2;
  }
  signal(SIGINT, SIG_IGN);
  /* A link has its own hardware: it should not wait for those who use it. Refused where it may not, and then it waits. */
  setpriority(PRIO_PROCESS, 0, -10);
  prctl(PR_SET_TIMERSLACK, 1000ul, 0ul, 0ul, 0ul);

  int a = open_device(argv[1], argv[2]), b = open_device(argv[3], argv[4]);
  struct direction ways[2] = {{.from = a, .to = b}, {.from = b, .to = a}};
  for (int i = 0; i < 2; i++)
    if ((ways[i].ring = calloc(SLOTS, sizeof(struct packet))) == NULL) fail("memory");
  answer(ways);

  for (;;) {
    uint64_t now = now_ns();
    uint64_t forth = deliver(&ways[0], now), back = deliver(&ways[1], now);
    uint64_t due = forth < back ? forth : back;
    uint64_t wait = due > now ? due - now : 0;
    struct timespec until = {(time_t)(wait / 1000000000u), (long)(wait % 1000000000u)};
    struct pollfd polled[3] = {{a, POLLIN, 0}, {b, POLLIN, 0}, {0, POLLIN, 0}};
    if (ppoll(polled, 3, due == NEVER ? NULL : &until, NULL) < 0 && errno != EINTR) fail("poll");
    /* A device that is gone, with its namespace, is ready for ever: the link is over. */
    if ((polled[0].revents | polled[1].revents) & (POLLERR | POLLHUP | POLLNVAL)) return 0;
    if (polled[0].revents & POLLIN) take(&ways[0]);
    if (polled[1].revents & POLLIN) take(&ways[1]);
    if (polled[2].revents) hear(ways);
  }
}
