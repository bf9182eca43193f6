/*
 * specstrings.h: annotations only, all empty here.
 */
#include <sal.h>
