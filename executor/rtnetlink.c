/* Each request is one message, answered by an error or its absence before the next is made. */
#include "rtnetlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "die.h"

/* As pasta has it: no wire of copper is on the way, and a packet costs the same whatever its length. */
enum { MTU = 65520 };

/* Far more than any of ours takes, and than the kernel says of one interface that is new. */
enum { REQUEST_BYTES_MAX = 1024, EVENT_BYTES_MAX = 32 << 10 };

struct request {
	struct nlmsghdr header;
	uint8_t body[REQUEST_BYTES_MAX];
};

struct prefix prefix_parse(const char *text)
{
	struct prefix prefix = { .family = strchr(text, ':') ? AF_INET6 : AF_INET };
	const char *slash = strchr(text, '/');
	char address[INET6_ADDRSTRLEN], *end;
	size_t length = slash ? (size_t)(slash - text) : strlen(text);
	const unsigned whole = prefix.family == AF_INET6 ? 128 : 32;

	if (length >= sizeof(address))
		die_plainly("expected a prefix, found %s", text);
	memcpy(address, text, length);
	address[length] = 0;
	prefix.length = whole;
	if (slash) {
		prefix.length = (unsigned)strtoul(slash + 1, &end, 10);
		if (*end || end == slash + 1 || prefix.length > whole)
			die_plainly("expected a prefix, found %s", text);
	}
	if (inet_pton(prefix.family, address, prefix.address) != 1)
		die_plainly("expected a prefix, found %s", text);
	return prefix;
}

static size_t address_bytes(const struct prefix *prefix)
{
	return prefix->family == AF_INET6 ? 16 : 4;
}

static int open_socket(unsigned groups)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = groups };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)))
		die("opening a socket for routes");
	return fd;
}

int rtnetlink_open(void)
{
	return open_socket(0);
}

int rtnetlink_listen(void)
{
	return open_socket(RTMGRP_LINK);
}

/* Room for `length` bytes at the end. */
static void *extend(struct request *request, size_t length)
{
	size_t at = NLMSG_ALIGN(request->header.nlmsg_len);

	if (at + NLMSG_ALIGN(length) > sizeof(*request))
		die_plainly("a request to the kernel is too long");
	request->header.nlmsg_len = (uint32_t)(at + length);
	return (uint8_t *)request + at;
}

static struct rtattr *attribute(struct request *request, unsigned short type, const void *value, size_t length)
{
	struct rtattr *made = extend(request, RTA_LENGTH(length));

	made->rta_type = type;
	made->rta_len = (unsigned short)RTA_LENGTH(length);
	if (length > 0)
		memcpy(RTA_DATA(made), value, length);
	return made;
}

/* What was added since belongs to it. */
static void enclose(struct request *request, struct rtattr *outer)
{
	outer->rta_len = (unsigned short)((uint8_t *)request + request->header.nlmsg_len - (uint8_t *)outer);
}

static struct request begin(unsigned short type)
{
	return (struct request){ .header = {
		.nlmsg_len = NLMSG_LENGTH(0),
		.nlmsg_type = type,
		.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
	} };
}

static void perform(int fd, const struct request *request, const char *what)
{
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
		uint8_t rest[REQUEST_BYTES_MAX + 1024];
	} answer;
	ssize_t length;

	if (send(fd, request, request->header.nlmsg_len, 0) < 0)
		die("asking for %s", what);
	length = recv(fd, &answer, sizeof(answer), 0);
	if (length < (ssize_t)NLMSG_LENGTH(sizeof(answer.error)) || answer.header.nlmsg_type != NLMSG_ERROR)
		die_plainly("asking for %s: expected an answer, found something else", what);
	errno = -answer.error.error;
	if (errno)
		die("making %s", what);
}

/* Asked of the socket, and so of its namespace. */
static struct ifreq named(const char *interface)
{
	struct ifreq request = { 0 };

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	return request;
}

static int index_of(int fd, const char *interface)
{
	struct ifreq request = named(interface);

	if (ioctl(fd, SIOCGIFINDEX, &request))
		die("looking for the interface %s", interface);
	return request.ifr_ifindex;
}

void rtnetlink_raise(int fd, const char *interface)
{
	struct ifreq request = named(interface);

	if (strcmp(interface, "lo")) {
		request.ifr_mtu = MTU;
		if (ioctl(fd, SIOCSIFMTU, &request))
			die("setting the length of packets of the interface %s", interface);
	}
	if (ioctl(fd, SIOCGIFFLAGS, &request))
		die("looking at the interface %s", interface);
	request.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &request))
		die("raising the interface %s", interface);
}

int rtnetlink_await(int fd, const char *interface, int ended)
{
	static uint8_t events[EVENT_BYTES_MAX] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct pollfd either[] = { { .fd = fd, .events = POLLIN }, { .fd = ended, .events = POLLIN } };
	struct ifreq request = named(interface);

	/* An event only says that it is time to look: it may be of another, and may have been lost among many. */
	while (ioctl(fd, SIOCGIFINDEX, &request)) {
		if (poll(either, 2, -1) < 0 && errno != EINTR)
			die("waiting for the interface %s", interface);
		if (either[1].revents)
			return -1;
		if (either[0].revents && recv(fd, events, sizeof(events), 0) < 0 && errno != ENOBUFS)
			die("waiting for the interface %s", interface);
	}
	return 0;
}

void rtnetlink_pair(int fd, const char *interface, const char *peer, int peer_namespace)
{
	struct request request = begin(RTM_NEWLINK);
	struct rtattr *about, *kind, *other;

	memset(extend(&request, sizeof(struct ifinfomsg)), 0, sizeof(struct ifinfomsg));
	attribute(&request, IFLA_IFNAME, interface, strlen(interface) + 1);
	about = attribute(&request, IFLA_LINKINFO, NULL, 0);
	attribute(&request, IFLA_INFO_KIND, "veth", 4);
	kind = attribute(&request, IFLA_INFO_DATA, NULL, 0);
	other = attribute(&request, VETH_INFO_PEER, NULL, 0);
	memset(extend(&request, sizeof(struct ifinfomsg)), 0, sizeof(struct ifinfomsg));
	attribute(&request, IFLA_IFNAME, peer, strlen(peer) + 1);
	attribute(&request, IFLA_NET_NS_FD, &peer_namespace, sizeof(peer_namespace));
	enclose(&request, other);
	enclose(&request, kind);
	enclose(&request, about);
	perform(fd, &request, "a pair of interfaces");
}

void rtnetlink_address(int fd, const char *interface, const struct prefix *address)
{
	struct request request = begin(RTM_NEWADDR);
	struct ifaddrmsg *message = extend(&request, sizeof(*message));

	*message = (struct ifaddrmsg){
		.ifa_family = (uint8_t)address->family,
		.ifa_prefixlen = (uint8_t)address->length,
		.ifa_index = (uint32_t)index_of(fd, interface),
		/* Nobody else is there who could have it already. */
		.ifa_flags = IFA_F_NODAD,
	};
	attribute(&request, IFA_LOCAL, address->address, address_bytes(address));
	attribute(&request, IFA_ADDRESS, address->address, address_bytes(address));
	perform(fd, &request, "an address");
}

static struct request begin_route(const struct prefix *to, uint8_t type, unsigned flags)
{
	struct request request = begin(RTM_NEWROUTE);
	struct rtmsg *message = extend(&request, sizeof(*message));

	*message = (struct rtmsg){
		.rtm_family = (uint8_t)to->family,
		.rtm_dst_len = (uint8_t)to->length,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_STATIC,
		.rtm_scope = RT_SCOPE_UNIVERSE,
		.rtm_type = type,
		.rtm_flags = flags,
	};
	attribute(&request, RTA_DST, to->address, address_bytes(to));
	return request;
}

void rtnetlink_route(int fd, const struct prefix *to, const char *interface, const struct prefix *gateway)
{
	struct request request = begin_route(to, RTN_UNICAST, RTNH_F_ONLINK);
	int index = index_of(fd, interface);

	attribute(&request, RTA_GATEWAY, gateway->address, address_bytes(gateway));
	attribute(&request, RTA_OIF, &index, sizeof(index));
	perform(fd, &request, "a route");
}

void rtnetlink_refuse(int fd, const struct prefix *to)
{
	struct request request = begin_route(to, RTN_UNREACHABLE, 0);

	perform(fd, &request, "a route that refuses");
}
