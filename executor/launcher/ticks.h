/* The counter of the processor, which an emulated x86 has as its own. */
#ifndef TICKS_H
#define TICKS_H

/*
 * How many thousand times a second it counts; 0 where it is not known. A guest would find out by itself, against clocks
 * that it is emulated beside: where it has to wait for a processor meanwhile, it is wrong, by a factor even, and all its
 * time is.
 */
long ticks_kilohertz(void);

#endif
