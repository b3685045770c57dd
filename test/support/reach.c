/* Connects and prints what it is told: `reach ADDRESS PORT [INTERFACE]`, by that interface if one is named. */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int count, char **words)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV }, *found;
	char told[256] = "";
	int fd;

	if (count < 3 || getaddrinfo(words[1], words[2], &hints, &found))
		return 2;
	fd = socket(found->ai_family, SOCK_STREAM, 0);
	if (count > 3 && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, words[3], (socklen_t)strlen(words[3]) + 1)) {
		printf("not bound: %s\n", strerror(errno));
		return 0;
	}
	if (connect(fd, found->ai_addr, found->ai_addrlen)) {
		printf("%s\n", strerror(errno));
		return 0;
	}
	if (read(fd, told, sizeof(told) - 1) < 0)
		printf("connected\n");
	printf("%s", told);
	return 0;
}
