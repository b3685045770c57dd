/* The device by which pasta, which brings the network to builds that may have it, makes its end of a wire. */
#ifndef TUN_H
#define TUN_H

/*
 * Lets everybody open it, as most systems do: whoever does needs to be root of a network all the same. Only we and those
 * that we start see the difference. We are root, in a mount namespace of our own. Where it cannot be done, builds have no
 * network, and say so.
 */
void tun_ensure(void);

#endif
