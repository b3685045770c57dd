/* The network card of a machine whose build may have the network. What it leads to is the host's business. */
#ifndef WIRE_H
#define WIRE_H

/*
 * Waits for the card, raises it, and makes its addresses and routes. `words`, which are changed: for each version of IP
 * an address with the length of its network, and a gateway; then +PREFIX for what is reached by the gateway, and -PREFIX
 * for what is refused at once, as it would be beyond.
 */
void wire_raise(char *words);

#endif
