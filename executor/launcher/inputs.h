/* What a build finds in its store, where builds are processes of this host. */
#ifndef INPUTS_H
#define INPUTS_H

/* Reads `source NUL target NUL` from stdin until the end, and binds each; targets are below the scratch directory. */
void inputs_bind(void);

#endif
