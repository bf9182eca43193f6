/*
 * t_fltio: t_five without Kernel Streaming: the checks of ZwWriteFile and FltWriteFile by a minifilter on C:.
 */
#include "t_five_filter.h"

static VOID TestMore(VOID)
{
    DbgPrint("t_fltio: no streams here\n");
}
