/*
 * t_ksfile: t_five without streams: the checks of ZwWriteFile, FltWriteFile, and of KsWriteFile on files.
 */
#include "t_five_filter.h"
#include "t_five_ksfile.h"

static VOID TestMore(VOID)
{
    TestKsFile();
}
