/*
 * t_fltio: t_five without Kernel Streaming: the checks of ZwWriteFile and FltWriteFile by a minifilter on C:.
 */
#define T_FIVE_NO_KS
#include "t_five.c"
