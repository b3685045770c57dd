/*
 * The executor as the first process of a machine: everything between the kernel and the sandbox.
 *
 * The initramfs has, beside the executor as /init, what the composer (bootstrap/guest/) put there:
 *
 *   /sh                a static shell
 *   /modules/order     names of files beside it, a line each, in the order in which the kernel takes them
 *   /modules/network   the same, of what only a machine with a network needs
 *
 * The machine has a virtio-serial port `drover.0`, which is the channel, and two disks, known by their serial:
 * `store`, an EROFS with the inputs in its root directory, and `scratch`, an empty ext4.
 */
#ifndef PID1_H
#define PID1_H

/* Brings the kernel up and opens the channel: what is the same for every machine, which may be a copy of this one. */
void pid1_start(void);

/*
 * Receives what a machine starts without, chance, the time, and perhaps a network, and makes of it what sandbox.h wants
 * to be started in.
 */
void pid1_wake(void);

#endif
