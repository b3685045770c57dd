/* As the launcher does for a build that is a process; see launcher/network.c. What fails is said on the console. */
#include "wire.h"

#include <string.h>
#include <unistd.h>

#include "channel.h"
#include "rtnetlink.h"

#define CARD "eth0"

/* Of IP version 4, and of 6. */
struct gateway {
	int is_there;
	struct prefix address;
};

static struct gateway *of(struct gateway gateways[2], const char *text)
{
	return &gateways[!!strchr(text, ':')];
}

void wire_raise(char *words)
{
	struct gateway gateways[2] = { 0 };
	int routes = rtnetlink_open(), arrivals = rtnetlink_listen();
	char *rest = words, *word;

	rtnetlink_await(arrivals, CARD, -1);
	close(arrivals);
	rtnetlink_raise(routes, CARD);
	while ((word = strsep(&rest, " "))) {
		struct prefix prefix = prefix_parse(word + strspn(word, "+-"));
		struct gateway *gateway = of(gateways, word);

		if (*word == '-') {
			rtnetlink_refuse(routes, &prefix);
		} else if (*word != '+') {
			char *next = strsep(&rest, " ");

			if (!next)
				fail_with("raising the network", "an address without a gateway");
			rtnetlink_address(routes, CARD, &prefix);
			*gateway = (struct gateway){ 1, prefix_parse(next) };
		} else if (gateway->is_there) {
			rtnetlink_route(routes, &prefix, CARD, &gateway->address);
		}
	}
	close(routes);
}
