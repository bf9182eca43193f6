/*
 * t_import: the ways in which an import can be called: no argument to fourteen, variadic, data, the C runtime's leaves.
 * Own declarations only.
 */
typedef unsigned long ULONG;
typedef long NTSTATUS;
typedef unsigned short WCHAR;
typedef unsigned long long U64;

__declspec(dllimport) ULONG DbgPrint(const char *, ...);
__declspec(dllimport) unsigned char KeGetCurrentIrql(void);
__declspec(dllimport) NTSTATUS FltCreateFile(U64, U64, U64, U64, U64, U64, U64, U64, U64, U64, U64, U64, U64, U64);
__declspec(dllimport) void *memcpy(void *, const void *, U64);
__declspec(dllimport) void *memmove(void *, const void *, U64);
__declspec(dllimport) void *memset(void *, int, U64);
__declspec(dllimport) U64 RtlCompareMemory(const void *, const void *, U64);
__declspec(dllimport) U64 strlen(const char *);
__declspec(dllimport) int _stricmp(const char *, const char *);
/* Not dllimport: the symbol is the import slot itself, as in the headers. */
extern void **IoFileObjectType;

#define CASE __declspec(dllexport) __attribute__((noinline)) U64

CASE Fourteen(U64 x) { return (U64)FltCreateFile(x, x + 1, x + 2, x + 3, x + 4, x + 5, x + 6, x + 7, x + 8, x + 9, x + 10, x + 11, x + 12, x + 13); }
CASE Variadic(void) { return DbgPrint("%d %s %I64x %d %d %d %p", 1, "two", 0x123456789abcull, 4, 5, 6, (void *)7); }
CASE Data(void) { return (U64)*IoFileObjectType; }
CASE None(void) { return KeGetCurrentIrql(); }

/* Moves every way and compares; returns how many moves went wrong. */
CASE Leaves(void)
{
    char from[300], to[300];
    U64 wrong = 0;
    for (int i = 0; i < 300; i++) from[i] = (char)(i * 7);
    for (U64 n = 0; n < 290; n++) {
        memset(to, 0x55, sizeof to);
        if (memcpy(to + 3, from, n) != to + 3) wrong++;
        if (RtlCompareMemory(to + 3, from, n) != n) wrong++;
        if (to[2] != 0x55 || to[3 + n] != 0x55) wrong++;
        memcpy(to, from, 300);
        memmove(to + 1, to, n);
        if (RtlCompareMemory(to + 1, from, n) != n) wrong++;
        memcpy(to, from, 300);
        memmove(to, to + 1, n);
        if (RtlCompareMemory(to, from + 1, n) != n) wrong++;
    }
    if (strlen("twelve chars") != 12) wrong++;
    if (_stricmp("AbC", "aBc") != 0 || _stricmp("abd", "abc") <= 0) wrong++;
    return wrong;
}

NTSTATUS DriverEntry(void *driver, void *path) { (void)driver; (void)path; return 0; }
