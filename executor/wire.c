/* By the old calls, of which one does one thing. */
#include "wire.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/ipv6.h>
#include <linux/ipv6_route.h>
#include <linux/route.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "channel.h"

#define CARD "eth0"

struct address {
	int family;
	unsigned length;
	struct in_addr four;
	struct in6_addr six;
};

static struct address parse(char *word)
{
	struct address address = { .family = strchr(word, ':') ? AF_INET6 : AF_INET };
	char *slash = strchr(word, '/');
	void *to = address.family == AF_INET6 ? (void *)&address.six : &address.four;

	if (slash) {
		*slash = 0;
		address.length = (unsigned)strtoul(slash + 1, NULL, 10);
	}
	if (inet_pton(address.family, word, to) != 1 || address.length > (address.family == AF_INET6 ? 128 : 32))
		fail_with("raising the network: expected an address, found", word);
	return address;
}

/* The card is there a moment after its driver. It is looked again without an end: the host has the deadline. */
static int await_card(int fd)
{
	static const struct timespec millisecond = { .tv_nsec = 1000000 };
	struct ifreq request = { .ifr_name = CARD };

	while (ioctl(fd, SIOCGIFINDEX, &request))
		nanosleep(&millisecond, NULL);
	return request.ifr_ifindex;
}

static void set(int fd, unsigned long call, const char *what, struct in_addr address)
{
	struct ifreq request = { .ifr_name = CARD };
	struct sockaddr_in value = { .sin_family = AF_INET, .sin_addr = address };

	memcpy(&request.ifr_addr, &value, sizeof(value));
	if (ioctl(fd, call, &request))
		fail("ioctl", what);
}

static void add_four(int fd, const struct address *own, const struct address *gateway)
{
	const struct in_addr mask = { own->length ? htonl(~0u << (32 - own->length)) : 0 };
	const struct sockaddr_in next = { .sin_family = AF_INET, .sin_addr = gateway->four };
	struct rtentry route = {
		.rt_dst.sa_family = AF_INET, .rt_genmask.sa_family = AF_INET, .rt_flags = RTF_UP | RTF_GATEWAY,
	};

	set(fd, SIOCSIFADDR, "its address", own->four);
	set(fd, SIOCSIFNETMASK, "its network", mask);
	memcpy(&route.rt_gateway, &next, sizeof(next));
	if (ioctl(fd, SIOCADDRT, &route))
		fail("ioctl", "its gateway");
}

static void add_six(int card, const struct address *own, const struct address *gateway)
{
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct in6_ifreq request = { .ifr6_addr = own->six, .ifr6_prefixlen = own->length, .ifr6_ifindex = card };
	struct in6_rtmsg route = {
		.rtmsg_gateway = gateway->six, .rtmsg_metric = 1, .rtmsg_flags = RTF_UP | RTF_GATEWAY, .rtmsg_ifindex = card,
	};

	if (fd < 0 || ioctl(fd, SIOCSIFADDR, &request) || ioctl(fd, SIOCADDRT, &route))
		fail("ioctl", "its address of IP version 6");
	close(fd);
}

void wire_raise(char *words)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), card;
	struct ifreq request = { .ifr_name = CARD };
	char *rest = words, *word, *next;

	if (fd < 0)
		fail("socket", "the network");
	card = await_card(fd);
	if (ioctl(fd, SIOCGIFFLAGS, &request))
		fail("ioctl", CARD);
	request.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &request))
		fail("ioctl", CARD);
	while ((word = strsep(&rest, " ")) && (next = strsep(&rest, " "))) {
		struct address own = parse(word), gateway = parse(next);

		if (own.family != gateway.family)
			fail_with("raising the network: expected a gateway of the same version, found", next);
		if (own.family == AF_INET6)
			add_six(card, &own, &gateway);
		else
			add_four(fd, &own, &gateway);
	}
	close(fd);
}
