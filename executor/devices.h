/* The machine's devices, by the names that the host gave them: numbers depend on the order in which they are found. */
#ifndef DEVICES_H
#define DEVICES_H

#include <stddef.h>

/* Opens the virtio-serial port of that name, once the host is at its other end. */
int device_port(const char *name);

/* The path of the disk of that serial. */
void device_disk(const char *serial, char *path, size_t size);

#endif
