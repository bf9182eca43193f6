/*
 * t_five: one driver that makes the five calls (ZwWriteFile, FltWriteFile, KsWriteFile, KsStreamIo, IOCTL_KS_WRITE_STREAM) in its
 * DriverEntry and checks each by its rules.
 */
#include "t_five_filter.h"
#include "t_five_ks.h"

static VOID TestMore(VOID)
{
    TestKsFile();
    TestKsPin();
}
