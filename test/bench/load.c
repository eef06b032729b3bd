/*
 * Load for datapath.bench.ts, from one network namespace to another.
 *   load serve PORT          TCP: closes what it accepts; UDP: counts packets, tells the count to who sends "?"
 *   load tcp HOST PORT SECS  prints connections made and closed by the peer, per second
 *   load udp HOST PORT SECS  prints 64-byte packets that arrived, per second
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static struct sockaddr_in at(const char *host, const char *port) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
  inet_pton(AF_INET, host, &a.sin_addr);
  return a;
}

static int serve(const char *port) {
  struct sockaddr_in here = at("0.0.0.0", port);
  int kind = fork() ? SOCK_STREAM : SOCK_DGRAM, one = 1, room = 1 << 26;
  int s = socket(AF_INET, kind, 0);
  setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(s, (void *)&here, sizeof here)) return 1;
  if (kind == SOCK_STREAM) {
    listen(s, 4096);
    for (;;) {
      int peer = accept(s, NULL, NULL);
      if (peer >= 0) close(peer);
    }
  }
  setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  for (unsigned long count = 0;;) {
    char packet[128];
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    ssize_t n = recvfrom(s, packet, sizeof packet, 0, (void *)&from, &size);
    if (n == 1 && sendto(s, &count, sizeof count, 0, (void *)&from, size) < 0) return 1;
    if (n > 1) count++;
  }
}

static unsigned long asked(int s) {
  unsigned long count = 0;
  struct timeval patience = {2, 0};
  setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  for (int tries = 0; tries < 5; tries++)
    if (send(s, "?", 1, 0) == 1 && recv(s, &count, sizeof count, 0) == sizeof count) return count;
  exit(3);
}

int main(int argc, char **argv) {
  if (argc == 3 && !strcmp(argv[1], "serve")) return serve(argv[2]);
  if (argc != 5) return 2;
  struct sockaddr_in there = at(argv[2], argv[3]);
  double length = atof(argv[4]), start;
  unsigned long count = 0;
  if (!strcmp(argv[1], "tcp")) {
    for (start = seconds(); seconds() - start < length;) {
      int s = socket(AF_INET, SOCK_STREAM, 0);
      struct linger reset = {1, 0};
      char end;
      if (!connect(s, (void *)&there, sizeof there) && recv(s, &end, 1, 0) == 0) count++;
      setsockopt(s, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
      close(s);
    }
  } else {
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    char packet[64] = "load";
    struct iovec part = {packet, sizeof packet};
    struct mmsghdr batch[32];
    for (int i = 0; i < 32; i++) batch[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}};
    if (connect(s, (void *)&there, sizeof there)) return 1;
    unsigned long before = asked(s);
    for (start = seconds(); seconds() - start < length;) sendmmsg(s, batch, 32, 0);
    length = seconds() - start;
    usleep(300000);
    count = asked(s) - before;
  }
  printf("%.0f\n", count / length);
  return 0;
}
