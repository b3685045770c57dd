/* The network card of a machine whose build may have the network. What it leads to is the host's business. */
#ifndef WIRE_H
#define WIRE_H

/*
 * Waits for the card, gives it its addresses and raises it. `words`: for each version of IP an address with the length
 * of its network, and the gateway to everywhere else. They are changed.
 */
void wire_raise(char *words);

#endif
