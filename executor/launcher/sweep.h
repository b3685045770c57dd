/* Ends what runs under ids of ours, whoever started it. */
#ifndef SWEEP_H
#define SWEEP_H

/* Kills what it finds under one of `count` ids from `first` on, and waits for it; returns how many there were. */
int sweep(long first, long count);

#endif
