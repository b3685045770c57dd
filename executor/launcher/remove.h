/* Removes what a build left behind, once nobody is left who could change it. */
#ifndef REMOVE_H
#define REMOVE_H

/* Removes the directory and all below it. Returns -1 with errno set. One that is not there is removed already. */
int remove_tree(const char *path);

#endif
