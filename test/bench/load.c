/*
 * Load for datapath.bench.ts, between network namespaces.
 *   load serve PORT   TCP: a byte back for a byte, then closes with a reset; UDP: counts packets, tells the count to who sends one byte
 *   load run KIND ROUNDS MILLISECONDS HOST PORT NAMESPACE:SERVER...
 *                     KIND tcp: connections that asked and were answered; udp: packets of 64 bytes that arrived. One process goes through
 *                     the namespaces (names of ip netns, and the process that serves TCP behind each) in another order each round and
 *                     prints a line a round: for each namespace the number per second on the clock, and per second of processor time.
 * The path through the kernel runs on the sender's processor time, so that figure does not ask what else the machine does. For TCP the
 * client and its server share a processor, and both their times count; for UDP the server has one of its own, and the sender's time counts.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 32, BATCH = 32 };

static double clocked(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}
static double seconds(void) { return clocked(CLOCK_MONOTONIC); }

static struct sockaddr_in at(const char *host, const char *port) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
  inet_pton(AF_INET, host, &a.sin_addr);
  return a;
}

static void serve_tcp(int s) {
  struct linger reset = {1, 0};
  listen(s, 4096);
  for (;;) {
    int peer = accept(s, NULL, NULL);
    char byte;
    if (peer < 0) continue;
    if (read(peer, &byte, 1) == 1 && write(peer, &byte, 1) != 1) exit(1);
    setsockopt(peer, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(peer);
  }
}

static void serve_udp(int s) {
  static char packets[BATCH][128];
  static struct sockaddr_in from[BATCH];
  struct iovec parts[BATCH];
  struct mmsghdr batch[BATCH];
  int room = 1 << 26;
  setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  for (unsigned long count = 0;;) {
    for (int i = 0; i < BATCH; i++) {
      parts[i] = (struct iovec){packets[i], sizeof packets[i]};
      batch[i] = (struct mmsghdr){
          .msg_hdr = {.msg_iov = &parts[i], .msg_iovlen = 1, .msg_name = &from[i], .msg_namelen = sizeof from[i]}};
    }
    int n = recvmmsg(s, batch, BATCH, MSG_WAITFORONE, NULL);
    for (int i = 0; i < n; i++)
      if (batch[i].msg_len > 1) count++;
      else if (sendto(s, &count, sizeof count, 0, (void *)&from[i], sizeof from[i]) < 0) exit(1);
  }
}

static void pin(pid_t process, int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  if (sched_setaffinity(process, sizeof set, &set)) perror("load: sched_setaffinity"), exit(1);
}

static int serve(const char *port) {
  struct sockaddr_in here = at("0.0.0.0", port);
  int kind = fork() ? SOCK_STREAM : SOCK_DGRAM, one = 1, s = socket(AF_INET, kind, 0);
  if (kind == SOCK_DGRAM && sysconf(_SC_NPROCESSORS_ONLN) > 1) pin(0, 1);
  setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(s, (void *)&here, sizeof here)) return 1;
  if (kind == SOCK_STREAM) serve_tcp(s);
  else serve_udp(s);
  return 0;
}

static unsigned long asked(int s) {
  unsigned long count = 0;
  struct timeval patience = {2, 0};
  setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  for (int tries = 0; tries < 100; tries++, usleep(20000)) // refused at once until the server is there
    if (send(s, "?", 1, 0) == 1 && recv(s, &count, sizeof count, 0) == sizeof count) return count;
  fprintf(stderr, "load: no answer\n"), exit(3);
}

struct world {
  int namespace, udp;
  clockid_t server;
};
struct seen {
  double clock, processor;
};

static struct seen tcp(const struct world *w, struct sockaddr_in there, double length) {
  double start = seconds(), used = clocked(CLOCK_THREAD_CPUTIME_ID) + clocked(w->server), took;
  unsigned long count = 0;
  while ((took = seconds() - start) < length) {
    int s = socket(AF_INET, SOCK_STREAM, 0);
    char byte = 1;
    if (!connect(s, (void *)&there, sizeof there) && write(s, &byte, 1) == 1 && read(s, &byte, 1) == 1) count++;
    close(s);
  }
  used = clocked(CLOCK_THREAD_CPUTIME_ID) + clocked(w->server) - used;
  return (struct seen){count / took, count / used};
}

static struct seen udp(const struct world *w, double length) {
  char packet[64] = "load";
  struct iovec part = {packet, sizeof packet};
  struct mmsghdr batch[BATCH];
  for (int i = 0; i < BATCH; i++) batch[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}};
  unsigned long before = asked(w->udp), now, then;
  double start = seconds(), used = clocked(CLOCK_THREAD_CPUTIME_ID), took;
  while ((took = seconds() - start) < length) sendmmsg(w->udp, batch, BATCH, 0);
  used = clocked(CLOCK_THREAD_CPUTIME_ID) - used;
  for (then = asked(w->udp); (now = asked(w->udp)) != then;) then = now; // the queue at the server is empty
  return (struct seen){(now - before) / took, (now - before) / used};
}

int main(int argc, char **argv) {
  if (argc == 3 && !strcmp(argv[1], "serve")) return serve(argv[2]);
  if (argc < 8 || argc - 7 > MOST || strcmp(argv[1], "run")) return 2;
  int is_tcp = !strcmp(argv[2], "tcp"), rounds = atoi(argv[3]), n = argc - 7;
  double length = atof(argv[4]) / 1000;
  struct sockaddr_in there = at(argv[5], argv[6]);
  struct world worlds[MOST];
  for (int i = 0; i < n; i++) {
    char path[256], *server = strchr(argv[7 + i], ':');
    if (!server) return 2;
    *server++ = 0;
    snprintf(path, sizeof path, "/run/netns/%s", argv[7 + i]);
    struct world *w = &worlds[i];
    w->namespace = open(path, O_RDONLY | O_CLOEXEC);
    if (w->namespace < 0 || setns(w->namespace, CLONE_NEWNET)) return perror(path), 1;
    if (clock_getcpuclockid(atoi(server), &w->server)) return 1;
    if (is_tcp) pin(atoi(server), 0);
    w->udp = socket(AF_INET, SOCK_DGRAM, 0);
    if (connect(w->udp, (void *)&there, sizeof there)) return perror("load: connect"), 1;
    asked(w->udp);
  }
  pin(0, 0);
  srand(1);
  for (int round = -1; round < rounds; round++) { // the first warms up and is not printed
    int order[MOST];
    struct seen seen[MOST];
    for (int i = 0; i < n; i++) {
      int j = rand() % (i + 1);
      order[i] = order[j];
      order[j] = i;
    }
    for (int i = 0; i < n; i++) {
      const struct world *w = &worlds[order[i]];
      setns(w->namespace, CLONE_NEWNET);
      seen[order[i]] = is_tcp ? tcp(w, there, length) : udp(w, length);
    }
    for (int i = 0; i < n && round >= 0; i++)
      printf("%.0f %.0f%c", seen[i].clock, seen[i].processor, i == n - 1 ? '\n' : ' ');
  }
  return 0;
}
