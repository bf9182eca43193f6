/*
 * t_ntdoor: the door of t_door.c with the Nt and Zw calls only: it needs nothing but ntoskrnl.exe.
 */
#define TDOOR_NT_ONLY
#include "t_door.c"
