/* The drivers that the kernel leaves to be loaded. */
#ifndef MODULES_H
#define MODULES_H

/*
 * Loads what the file `list` of the directory `modules` names, in that order, and removes the files: they are memory.
 */
void modules_load(int initramfs, const char *list);

#endif
