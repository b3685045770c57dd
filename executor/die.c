/* One line on stderr, then the end. */
#include "die.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

_Noreturn void die(const char *format, ...)
{
	int error = errno;
	va_list values;

	dprintf(2, "drover: ");
	va_start(values, format);
	vdprintf(2, format, values);
	va_end(values);
	dprintf(2, ": %s\n", strerror(error));
	_exit(1);
}

_Noreturn void die_plainly(const char *format, ...)
{
	va_list values;

	dprintf(2, "drover: ");
	va_start(values, format);
	vdprintf(2, format, values);
	va_end(values);
	dprintf(2, "\n");
	_exit(1);
}
