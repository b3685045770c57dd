/*
 * Interfaces, addresses and routes of a network namespace, by the kernel's own messages. A socket belongs to the
 * namespace that it was opened in and goes on doing so, wherever its owner goes. What the kernel refuses ends us.
 */
#ifndef RTNETLINK_H
#define RTNETLINK_H

#include <stdint.h>

struct prefix {
	int family;
	unsigned length;
	uint8_t address[16];
};

/* `10.0.0.0/8`; an address alone is a prefix of its whole length. */
struct prefix prefix_parse(const char *text);

int rtnetlink_open(void);

/* The same, but it also hears of every interface that comes. */
int rtnetlink_listen(void);

/* Waits until an interface of that name is there; -1 if there is something to read from `ended` before. */
int rtnetlink_await(int fd, const char *interface, int ended);

/* A pair of interfaces, each the other's wire: one here, its peer in another namespace. */
void rtnetlink_pair(int fd, const char *interface, const char *peer, int peer_namespace);

void rtnetlink_raise(int fd, const char *interface);

/* Its length is that of the network that is reached directly. */
void rtnetlink_address(int fd, const char *interface, const struct prefix *address);

/* Through the gateway, which need not be an address of the interface's network. */
void rtnetlink_route(int fd, const struct prefix *to, const char *interface, const struct prefix *gateway);

/* Whoever asks for it is told that there is no way. */
void rtnetlink_refuse(int fd, const struct prefix *to);

#endif
