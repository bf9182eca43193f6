/*
 * fltkernel.h: the same header under its other spelling.
 */
#include <fltKernel.h>
