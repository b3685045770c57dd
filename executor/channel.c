/*
 * Frames on a descriptor. Reading and writing wait: whoever waits for us is slowed down by exactly what slows us.
 */
#include "channel.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { BEAT_MILLISECONDS = 1000 };

static int channel = CHANNEL;
static uint8_t incoming[FRAME_MAX + 1];
static void (*ending)(int status);

/* Milliseconds on the kernel's clock; 0: no signs of life. */
static int64_t next_beat;
static void (*at_beat)(void);

void channel_open(int fd)
{
	channel = fd;
}

int channel_fd(void)
{
	return channel;
}

void channel_of_machine(int fd, void (*end)(int status))
{
	channel = fd;
	ending = end;
}

_Noreturn void channel_end(int status)
{
	if (ending)
		ending(status);
	_exit(status);
}

static int64_t milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

void channel_beat(void (*also)(void))
{
	at_beat = also;
	next_beat = milliseconds() + BEAT_MILLISECONDS;
}

int channel_poll(struct pollfd *events, nfds_t count)
{
	for (;;) {
		int64_t left = next_beat ? next_beat - milliseconds() : -1;
		int ready;

		if (next_beat && left <= 0) {
			channel_write(FRAME_HEARTBEAT, NULL, 0);
			at_beat();
			channel_beat(at_beat);
			continue;
		}
		ready = poll(events, count, (int)left);
		if (ready > 0 || (ready < 0 && errno != EINTR))
			return ready;
	}
}

static void read_whole(uint8_t *to, size_t length)
{
	while (length > 0) {
		struct pollfd more = { .fd = channel, .events = POLLIN };
		ssize_t count;

		channel_poll(&more, 1);
		count = read(channel, to, length);
		if (count < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (count <= 0)
			channel_end(0);
		to += count;
		length -= (size_t)count;
	}
}

struct frame channel_read(void)
{
	uint8_t header[HEADER_BYTES];
	struct frame frame;

	read_whole(header, sizeof(header));
	frame.type = header[0];
	frame.length = header[1] | header[2] << 8 | header[3] << 16 | (uint32_t)header[4] << 24;
	frame.payload = incoming;
	if (frame.length > FRAME_MAX)
		fail_with("reading a frame", "longer than 1 MiB");
	read_whole(incoming, frame.length);
	incoming[frame.length] = 0;
	if (frame.type == FRAME_QUIT)
		channel_end(0);
	return frame;
}

/* A port of whose host nothing is left has no room, and never will. */
static void wait_for_room(void)
{
	struct pollfd room = { .fd = channel, .events = POLLOUT };

	while (poll(&room, 1, -1) < 0 && errno == EINTR)
		;
	if (room.revents & (POLLHUP | POLLERR))
		channel_end(0);
	errno = EAGAIN;
}

static void put_header(uint8_t *to, enum frame_type type, size_t length)
{
	to[0] = (uint8_t)type;
	for (int i = 0; i < 4; i++)
		to[1 + i] = (uint8_t)(length >> 8 * i);
}

static void write_parts(struct iovec *part, int left)
{
	while (left > 0) {
		ssize_t count = writev(channel, part, left);

		if (count < 0 && errno == EAGAIN)
			wait_for_room();
		if (count < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (count < 0)
			channel_end(1);
		while (left > 0 && (size_t)count >= part->iov_len) {
			count -= (ssize_t)part->iov_len;
			part++;
			left--;
		}
		if (left > 0) {
			part->iov_base = (uint8_t *)part->iov_base + count;
			part->iov_len -= (size_t)count;
		}
	}
}

void channel_write(enum frame_type type, const void *payload, size_t length)
{
	uint8_t header[HEADER_BYTES];
	struct iovec parts[2] = { { header, sizeof(header) }, { (void *)payload, length } };

	put_header(header, type, length);
	write_parts(parts, 2);
}

void channel_write_whole(enum frame_type type, uint8_t *frame, size_t length)
{
	struct iovec part = { frame, HEADER_BYTES + length };

	put_header(frame, type, length);
	write_parts(&part, 1);
}

static _Noreturn void tell_and_end(const char *text, int length)
{
	if (channel < 0)
		dprintf(STDERR_FILENO, "drover: %s\n", text);
	else
		channel_write(FRAME_FAILED, text, (size_t)length);
	channel_end(1);
}

_Noreturn void fail(const char *call, const char *about)
{
	char text[1024];

	tell_and_end(text, snprintf(text, sizeof(text), "%s: %.700s: %s", call, about, strerror(errno)));
}

_Noreturn void fail_with(const char *what, const char *about)
{
	char text[1024];

	tell_and_end(text, snprintf(text, sizeof(text), "%s: %.900s", what, about));
}
