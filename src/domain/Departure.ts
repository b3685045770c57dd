/**
 * How a client is gone: it has left, or nothing is heard of it any more.
 *
 * Who leaves wants nothing more, and what it waited for ends. Who has fallen silent, its network lost or its machine
 * asleep, did not choose to, and may come back for it.
 */
export type Departure = "left" | "silent"
